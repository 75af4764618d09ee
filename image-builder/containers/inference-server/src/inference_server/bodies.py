"""HTTP request bodies, read up to a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from inference_server.errors import RequestError, mismatch

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        RequestError: 413 longer than ``limit`` bytes, 415 compressed, 400 broken off.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() not in {"identity", ""}:
        raise RequestError(
            f"header Content-Encoding: found {encoding[:40]!r}; expected identity",
            status=415,
            kind="unsupported_encoding",
        )
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and (len(announced) > 12 or int(announced) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            if chunk:
                chunks.append(chunk)
    except ClientDisconnect:
        raise RequestError("body: the connection ended before the body did", kind="bad_transfer") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def json_length(request: Request) -> int | None:
    """Return the Inference-Header-Content-Length header: how much of the body is JSON; None when it is not given."""
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise mismatch("header Inference-Header-Content-Length", repr(text[:40]), "the length of the JSON in bytes")
    return int(text)


def _too_large(limit: int) -> RequestError:
    return RequestError(f"body: is larger than the limit of {limit} bytes", status=413, kind="body_too_large")
