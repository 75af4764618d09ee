"""Asking another server over HTTPS: as one who joins with a token, or as an administrator with a kubeconfig."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from k3s.tokens import Token

_TIMEOUT = 10


class Client:
    """Asks one URL; the answer is (status code, decoded JSON or bytes)."""

    def __init__(self, url: str, context: ssl.SSLContext, authorization: str = "") -> None:
        self.url, self._context, self._authorization = url.rstrip("/"), context, authorization

    @classmethod
    def joining(cls, url: str, token: Token, user: str) -> Client:
        """Return one who proves a token; raises TokenError for another cluster's, OSError when nobody answers."""
        with urllib.request.urlopen(f"{url}/cacerts", context=_trusting(), timeout=_TIMEOUT) as answer:  # noqa: S310 - of the test's own
            authority = answer.read()
        token.check(hashlib.sha256(authority).hexdigest())
        context = ssl.create_default_context(cadata=authority.decode())
        context.check_hostname = False
        secret = base64.b64encode(f"{token.user or user}:{token.password}".encode()).decode()
        return cls(url, context, f"Basic {secret}")

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Client:
        """Return one with a kubeconfig's certificate."""
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster, user = data["clusters"][0]["cluster"], data["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]))
            file.flush()
            context.load_cert_chain(file.name)
        return cls(cluster["server"], context)

    def request(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Ask; raises OSError when nobody answers."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body or None
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)  # noqa: S310 (settings allow https only)
        for name, value in (headers or {}).items():
            if name.lower() in ("content-type", "k3s-node-name", "k3s-node-password"):
                request.add_header(name, value)
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                return answer.status, _decoded(answer)
        except urllib.error.HTTPError as error:
            return error.code, _decoded(error)


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _decoded(answer: Any) -> Any:
    content = answer.read()
    return json.loads(content) if answer.headers.get_content_type() == "application/json" else content
