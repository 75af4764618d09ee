"""The Kubernetes API as plain JSON, for the modules that ask it. The one file here that talks to something.

The official client reads the kubeconfig and makes the connections (TLS, client certificates). Its generated methods are
not used: their signatures and their treatment of patches differ between the version that Debian 13 has and the newest.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

try:
    import urllib3
    from kubernetes import client, config

    KUBERNETES_ERROR = ""
except ImportError:
    KUBERNETES_ERROR = traceback.format_exc()

MERGE_PATCH: Final = "application/merge-patch+json"
_LONGEST_ANSWER: Final = 30.0
_PAGE: Final = 500


class ApiError(Exception):
    """The API refused, or did not answer.

    Attributes:
        status: HTTP's, or 0 when there was no answer.
        text: what it says.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}" if status else text)
        self.status = status
        self.text = text

    @property
    def passing(self) -> bool:
        """Tell whether the same request may succeed a little later (an API, or a webhook, that is starting)."""
        return self.status in (0, 429, 500, 502, 503, 504)


class Api:
    """One cluster's API.

    Args:
        kubeconfig: path of the file with its address and this user's certificate.

    Raises:
        ApiError: the file cannot be used.
    """

    def __init__(self, kubeconfig: str) -> None:
        settings = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=settings, persist_config=False
            )
        except (config.ConfigException, OSError, ValueError) as error:
            raise ApiError(0, f"{kubeconfig} is no kubeconfig that can be used: {error}") from None
        # A node's own API is never behind the environment's proxy.
        settings.proxy = None
        self._address = settings.host.rstrip("/")
        self._headers = {"Accept": "application/json"}
        for name in ("authorization", "BearerToken"):  # of older and of newer clients
            if token := settings.get_api_key_with_prefix(name):
                self._headers["Authorization"] = token
        self._pool = client.ApiClient(settings).rest_client.pool_manager

    def ask(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Any:
        """Return the JSON that the API answers.

        Raises:
            ApiError: it refuses, or does not answer.
        """
        try:
            answer = self._pool.request(
                method,
                f"{self._address}{path}",
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._headers, **({"Content-Type": content_type} if body is not None else {})},
                timeout=_LONGEST_ANSWER,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"{self._address} does not answer: {error}") from None
        try:
            data = json.loads(answer.data) if answer.data else {}
        except ValueError:
            data = answer.data.decode(errors="replace")[:200]
        if answer.status >= 400:
            text = data.get("message", "") if isinstance(data, Mapping) else str(data)
            raise ApiError(answer.status, text or f"{method} {path}")
        return data

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object, or nothing when there is none."""
        try:
            found: dict[str, Any] = self.ask("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, path: str, **selectors: str) -> list[dict[str, Any]]:
        """Return all objects of a kind, page by page; none when the cluster does not know the kind."""
        items: list[dict[str, Any]] = []
        following = ""
        while True:
            query = {**selectors, "limit": str(_PAGE), **({"continue": following} if following else {})}
            page = self.get(f"{path}?{urlencode(query)}")
            if page is None:
                return items
            items += page.get("items") or []
            following = page.get("metadata", {}).get("continue") or ""
            if not following:
                return items

    def patch(self, path: str, body: object) -> Any:
        """Merge a patch into an object (RFC 7386)."""
        return self.ask("PATCH", path, body, content_type=MERGE_PATCH)

    def ask_until(self, deadline: Deadline, method: str, path: str, body: object) -> None:
        """Send a request that webhooks have to agree to; after a start they take a while to answer. ``PATCH`` merges.

        Raises:
            ApiError: it is refused, or time is over.
        """
        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        while True:
            try:
                self.ask(method, path, body, content_type=kind)
            except ApiError as error:
                if not error.passing or not deadline.wait():
                    raise
            else:
                return


class Deadline:
    """A point in time until which something is tried again.

    Args:
        seconds: from now.
        pause: seconds between two tries.
    """

    def __init__(self, seconds: float, pause: float = 1.0) -> None:
        self._end = time.monotonic() + seconds
        self._pause = pause

    def wait(self) -> bool:
        """Pause and return true; return false when there is no time for that any more."""
        if time.monotonic() + self._pause > self._end:
            return False
        time.sleep(self._pause)
        return True
