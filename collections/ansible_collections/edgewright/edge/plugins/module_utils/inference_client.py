"""A client of the Open Inference Protocol v2 over REST that waits for a server and asks it one question at a time."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Final

_LONGEST_REQUEST: Final = 30.0
_PAUSE: Final = 0.5


class ProbeError(Exception):
    """The service is not as it should be; the message says how.

    Attributes:
        status: what it answered (HTTP); 0 where there was no answer, or none that can be read.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class InferenceClient:
    """A server that is asked until a deadline, whatever proxy the environment names.

    Args:
        url: its root.
        timeout: seconds from now; 0 asks once.
        longest: seconds that one answer may take.
        authorities: file of certificate authorities (PEM) that vouch for it, instead of those that the system knows.
    """

    def __init__(
        self, url: str, timeout: float, *, longest: float = _LONGEST_REQUEST, authorities: str | None = None
    ) -> None:
        self._root = url.rstrip("/")
        self._timeout = timeout
        self._longest = longest
        self._deadline = time.monotonic() + timeout
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authorities)))
        self._opener = urllib.request.build_opener(*handlers)

    def wait_ready(self, route: str) -> None:
        """Ask a route for readiness until it says yes.

        Raises:
            ProbeError: it did not in time; says what the last answer was.
        """
        while True:
            try:
                self.ask(route)
            except ProbeError as error:
                if time.monotonic() + _PAUSE >= self._deadline:
                    waited = f" within {self._timeout:g} s" if self._timeout else ""
                    raise ProbeError(f"not ready{waited}: {error}", error.status) from None
                time.sleep(_PAUSE)
            else:
                return

    def infer(self, route: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what a model, or one of its versions, answers to tensors.

        Raises:
            ProbeError: it refuses them or does not answer, or its answer is no JSON object.
        """
        body = self.ask(f"{route}/infer", {"inputs": inputs})
        try:
            answer = json.loads(body)
        except ValueError:
            raise ProbeError(f"the answer is not JSON: {body[:200].decode(errors='replace')}", 200) from None
        if not isinstance(answer, dict):
            raise ProbeError("the answer is not a JSON object", 200)
        return answer

    def ask(self, route: str, question: dict[str, Any] | None = None) -> bytes:
        """Return the body of the answer to a GET, or to a POST of ``question`` as JSON.

        Raises:
            ProbeError: no answer, or one that is not 200.
        """
        address = f"{self._root}/{route}"
        body = None if question is None else json.dumps(question).encode()
        request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 (checked)
        remaining = self._deadline - time.monotonic()
        longest = self._longest if not self._timeout else max(1.0, min(self._longest, remaining))
        try:
            with self._opener.open(request, timeout=longest) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise ProbeError(f"{address} answered {error.code}: {_refusal(error)}", error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise ProbeError(f"{address} gave no answer ({getattr(error, 'reason', error)})") from None


def _refusal(error: urllib.error.HTTPError) -> str:
    """Return what comes with a refusal; one whose body does not come to its end is a refusal all the same."""
    try:
        with error:
            return _told(error.read(2000))
    except (OSError, http.client.HTTPException) as reason:
        return f"nothing ({reason})"


def _told(body: bytes) -> str:
    """Return what a refusal says: the protocol's ``{"error": …}``, or the body as it is."""
    text = body.decode(errors="replace").strip()
    try:
        told = json.loads(text)
    except ValueError:
        return text[:300] or "nothing"
    return str(told["error"]) if isinstance(told, dict) and "error" in told else text[:300]
