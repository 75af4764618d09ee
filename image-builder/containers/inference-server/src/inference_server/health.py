"""``python3 -m inference_server.health``: exit 0 when the server in this container is ready, for podman's HealthCmd."""

from __future__ import annotations

import http.client
import os
import sys

from inference_server.settings import Settings, SettingsError, load

_TIMEOUT_SECONDS = 5


def main() -> int:
    """Ask /v2/health/ready of the server that the same environment configures; print one line."""
    try:
        settings = load(sys.argv[1:], os.environ)
    except SettingsError as error:
        print(error)
        return 2
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked at the loopback
    problem = unready(host, settings)
    print(problem or "ready")
    return 1 if problem else 0


def unready(host: str, settings: Settings) -> str:
    """Return why the server is not ready; empty when it is."""
    connection = http.client.HTTPConnection(host, settings.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {host}:{settings.port}: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"not ready: {host}:{settings.port} answered {status}"


if __name__ == "__main__":
    sys.exit(main())
