"""Container images from registries, by skopeo: manifests, configurations and layers, byte for byte.

Credentials are skopeo's own business: it reads the containers' auth file (``$REGISTRY_AUTH_FILE``, else the one that
``skopeo login`` writes), so none ever passes through here. skopeo itself waits as long as a 429 asks for; whatever else
may pass is tried again here, because its own ``--retry-times`` differs from release to release.
"""

from __future__ import annotations

import ipaddress
import random
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.http_retry import Patience, Permanent, Transient
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Sequence

# A server that accepts a connection and then says nothing: skopeo would wait for ever. Its waiting for a 429, five
# times up to a minute, must fit.
_ANSWER_TIMEOUT = 400  # seconds, for a manifest
_SLOWEST = 20_000  # bytes a second, for layers

_MESSAGE = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_NEVER = (
    "manifest unknown", "name unknown", "repository name not known", "unauthorized", "authentication required",
    "denied", "invalid username/password", "x509:", "server gave http response to https client",
    "unsupported manifest", "not found", "statuscode: 404", "status code from registry 404",
    "status code from registry 403", "status code from registry 401", "name invalid", "no policy",
)  # fmt: skip
_NO_ANSWER = ("dial tcp", "no such host", "i/o timeout", "network is unreachable", "connection refused")


class Damaged(Permanent):
    """The bytes that came are not those of the digest that was asked for."""


class Registries:
    """The registries that skopeo reaches. Safe to use from several threads.

    Images are named without transport: ``registry.lan:5000/library/busybox:1.37.0`` or ``…@sha256:<hex>``. ``insecure``
    allows plain HTTP; a registry on the loopback may always use it.

    All methods raise ``Permanent`` when the registry refuses or has no such thing, ``Damaged`` when it sends other
    bytes than it was asked for, and ``Transient`` when it or the network failed as often as ``patience`` allows. A
    registry that could not be reached is not asked again.
    """

    def __init__(self, patience: Patience | None = None, log: Path | None = None) -> None:
        self._patience = patience or Patience()
        self._log = log
        self._silent: dict[str, str] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let nobody wait for another try any more."""
        self._stopped.set()

    def manifest(self, image: str, *, insecure: bool = False) -> bytes:
        """Return an image's manifest or index as the registry has it."""
        return self._ask(image, ["inspect", "--raw", _tls("--tls-verify", image, insecure), f"docker://{image}"])

    def config(self, image: str, *, insecure: bool = False) -> bytes:
        """Return an image's configuration as the registry has it."""
        options = ["--config", "--raw", _tls("--tls-verify", image, insecure)]
        return self._ask(image, ["inspect", *options, f"docker://{image}"])

    def copy(self, image: str, folder: Path, *, size: int, insecure: bool = False) -> None:
        """Bring an image's layers, as they are, into ``folder``/blobs/sha256/<hex>; what lies there is not asked for.

        ``size`` is about how many bytes will come. The layout ``folder``/oci that skopeo writes is of no use: manifests
        of Docker's media types are translated in it, which is why those are read with ``manifest`` and ``config``.
        """
        argv = [
            "copy", "--quiet", "--remove-signatures", "--dest-oci-accept-uncompressed-layers",
            _tls("--src-tls-verify", image, insecure), "--dest-shared-blob-dir", "blobs",
            f"docker://{image}", "oci:oci",
        ]  # fmt: skip
        self._ask(image, argv, cwd=folder, seconds=_ANSWER_TIMEOUT + size // _SLOWEST)

    def _ask(
        self, image: str, argv: Sequence[str], *, cwd: Path | None = None, seconds: int = _ANSWER_TIMEOUT
    ) -> bytes:
        registry = image.partition("/")[0]
        for failed in range(1, self._patience.attempts + 1):
            if self._stopped.is_set():
                break
            if registry in self._silent:
                raise Transient(self._silent[registry])
            try:
                command = ["skopeo", *_policy(), f"--command-timeout={seconds}s", *argv]
                return run(command, cwd=cwd, log=self._log)
            except ToolError as error:
                reason = explain(error)
                if isinstance(reason, Permanent) or error.returncode in {127, -2, -15}:
                    raise reason from error
                if failed == self._patience.attempts:
                    if any(sign in str(reason) for sign in _NO_ANSWER):
                        self._silent[registry] = str(reason)
                    raise reason from error
            pause = self._patience.backoff * 2 ** (failed - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            if self._stopped.wait(min(pause, self._patience.longest)):
                break
        raise Transient("the run was stopped")


def explain(error: ToolError) -> Permanent | Transient:
    """Say in words for the user why skopeo failed, and whether trying again can help."""
    if error.returncode == 127:
        return Permanent("skopeo is not installed: run `sudo apt-get install skopeo`")
    found = _MESSAGE.search(error.output)
    text = re.sub(r"\\(.)", r"\1", found[1]) if found else (error.output.strip() or f"exit status {error.returncode}")
    # "Error parsing image name "docker://…": reading manifest …", "initializing source docker://…: reading manifest …"
    text = re.sub(r'^(Error )?(parsing image name|initializing source) "?docker://\S+: ', "", text)
    text = re.sub(r"^(\d{4}/\d\d/\d\d \S+ )", "", text)
    lower = text.lower()
    if "did not match" in lower or "does not match" in lower:
        return Damaged(text)
    return Permanent(text) if any(sign in lower for sign in _NEVER) else Transient(text)


def is_loopback(image: str) -> bool:
    """Tell whether an image's registry is this machine itself."""
    registry = image.partition("/")[0]
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _tls(option: str, image: str, insecure: bool) -> str:
    return f"{option}={'false' if insecure or is_loopback(image) else 'true'}"


def _policy() -> list[str]:
    """Obey the machine's policy of signatures where it has one; digests in the lock vouch for the bytes in any case."""
    places = (Path("~/.config/containers/policy.json").expanduser(), Path("/etc/containers/policy.json"))
    return [] if any(place.is_file() for place in places) else ["--insecure-policy"]
