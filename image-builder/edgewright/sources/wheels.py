"""Python wheels for a container: pip resolves them for the container's Python and C library, not for this machine's.

pip picks files by the tags it is told, but evaluates environment markers (PEP 508) for the Python that it runs in
(https://pip.pypa.io/en/stable/cli/pip_install/, --python-version). So what it chose is checked here for the target: a
dependency that only the target needs is asked for in another round, one that only this machine needs is dropped.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgewright.download import http_client
from edgewright.exits import NeedsNetworkError
from edgewright.pins import Container, Wheel
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Iterable

# Debian 13: Python 3.13, glibc 2.41 (PEP 600: a wheel for an older glibc runs on a newer one, down to 2.5).
_PYTHON = "3.13"
_GLIBC = 41
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(_GLIBC, 4, -1)),
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
)
_TARGET = {
    "implementation_name": "cpython",
    "implementation_version": "3.13.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.13.0",
    "python_version": _PYTHON,
    "sys_platform": "linux",
}
_NO_NETWORK = ("connection error:", "NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "ProxyError")


@dataclass(frozen=True)
class Found:
    """A wheel that pip chose, and what it depends on (PEP 508 lines)."""

    name: str
    version: str
    url: str
    digest: str
    requires: tuple[str, ...]


def resolve_wheels(where: str, requested: Iterable[str], kept: Iterable[Wheel] = ()) -> Container:
    """Resolve requirements and all they depend on to pinned wheels.

    Args:
        where: what errors call the list.
        requested: requirement lines.
        kept: wheels locked before: their versions are held on to.

    Raises:
        EdgeError: there is no set of wheels that satisfies them on the target.
        NeedsNetworkError: the package index does not answer.
    """
    requested = sorted(set(requested))
    kept = list(kept)
    asked = [Requirement(line) for line in requested]
    constraints = [f"{wheel.name}=={wheel.version}" for wheel in kept if _satisfies(wheel, asked)]
    found = closure(where, requested, constraints)
    known = {wheel.digest: wheel for wheel in kept}
    with http_client() as client:
        wheels = [known.get(each.digest) or _wheel(each, client) for each in found]
    return Container(tuple(requested), tuple(sorted(wheels, key=lambda wheel: wheel.name)))


def _satisfies(wheel: Wheel, asked: list[Requirement]) -> bool:
    mine = (each for each in asked if canonicalize_name(each.name) == wheel.name)
    return all(each.specifier.contains(wheel.version, prereleases=True) for each in mine)


def closure(where: str, requested: list[str], constraints: list[str]) -> list[Found]:
    """Return what the target needs, asking pip again until nothing is missing."""
    asked = list(requested)
    while True:
        found = choose(where, asked, constraints)
        needed, missing = _walk(requested, found)
        if not missing - set(asked):
            return [found[name] for name in sorted(needed)]
        asked += sorted(missing)


def _walk(requested: list[str], found: dict[str, Found]) -> tuple[set[str], set[str]]:
    """Follow the requirements as the target evaluates them; return the names needed and the lines that lack a wheel."""
    todo = [(Requirement(line), "") for line in requested]
    seen: set[tuple[str, str]] = set()
    missing: set[str] = set()
    while todo:
        requirement, extra = todo.pop()
        environment = cast("dict[str, Any]", {**_TARGET, "extra": extra})
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            plain = Requirement(str(requirement))
            plain.marker = None
            missing.add(str(plain))
            continue
        for each in ("", *requirement.extras):
            if (name, each) not in seen:
                seen.add((name, each))
                todo += [(Requirement(line), each) for line in found[name].requires]
    return {name for name, _ in seen}, missing


def choose(where: str, requested: list[str], constraints: Iterable[str] = (), *options: str) -> dict[str, Found]:
    """Let pip choose wheels for the target; return them by normalized name.

    Raises:
        EdgeError: pip finds no solution; says why.
        NeedsNetworkError: the package index does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = ("constraints.txt", "requirements.txt", "report.json", "log.txt")
        held, asked, report, log = (Path(folder) / name for name in names)
        held.write_text("".join(f"{line}\n" for line in constraints))
        asked.write_text("".join(f"{line}\n" for line in requested))
        platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
        argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-input"]
        argv += [
            "--log",
            str(log),
            "--report",
            str(report),
            "--only-binary=:all:",
            "--python-version",
            _PYTHON,
            *platforms,
        ]
        argv += ["--implementation", "cp", "--target", str(Path(folder) / "target"), *options]
        argv += ["--constraint", str(held), "--requirement", str(asked)]
        # Wheels of a folder on this machine have no URL that anybody else could fetch from.
        environment = {"PIP_FIND_LINKS": "", "PIP_NO_INDEX": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        kept = {name: value for name, value in environment.items() if name in os.environ or value}
        try:
            run(argv, env=kept)
        except ToolError as error:
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise _explain(where, error, said) from error
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {each.name: each for each in (_found(where, entry) for entry in installed)}


def _explain(where: str, error: ToolError, log: str) -> EdgeError:
    if "No module named pip" in error.output:
        remedy = "Run 'make setup', or 'python -m ensurepip' in that environment."
        return EdgeError(Problem(sys.executable, "this Python has no pip", remedy=remedy))
    if any(word in log for word in _NO_NETWORK):  # on the terminal pip only says that it found no versions
        remedy = "Check the network and the proxy (https_proxy, pip's own configuration)."
        return NeedsNetworkError(Problem(where, "the Python package index does not answer", remedy=remedy))
    said = [line.removeprefix("ERROR: ") for line in error.output.splitlines() if line.startswith("ERROR: ")]
    found = " ".join(said or error.output.split())
    return EdgeError(
        Problem(where, f"no wheels for Python {_PYTHON} on x86-64 Linux satisfy this", found, remedy="Change the list.")
    )


def _found(where: str, entry: dict[str, Any]) -> Found:
    # https://pip.pypa.io/en/stable/reference/installation-report/ version 1
    metadata = entry["metadata"]
    url = entry["download_info"]["url"]
    digest = entry["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")
    name = canonicalize_name(metadata["name"])
    if not url.startswith(("http://", "https://")) or not digest:
        what = "a wheel must come from an index with SHA-256 digests, so that others can fetch it too"
        raise EdgeError(Problem(f"{where}: {name}", what, url, remedy="Publish it on an index that pip is told of."))
    return Found(name, metadata["version"], url, f"sha256:{digest}", tuple(metadata.get("requires_dist", ())))


def _wheel(found: Found, client: httpx.Client) -> Wheel:
    filename = unquote(urlsplit(found.url).path.rpartition("/")[2])
    size = size_of(found.url, client)
    return Wheel(found.name, found.version, filename, found.digest, size, (found.url,))


def size_of(url: str, client: httpx.Client) -> int:
    """Ask a server for the size of a file in bytes.

    Raises:
        NeedsNetworkError: it does not say.
    """
    try:
        response = client.head(url)
        response.raise_for_status()
        return int(response.headers["Content-Length"])
    except (httpx.HTTPError, KeyError, ValueError) as error:
        remedy = "Run the command again."
        raise NeedsNetworkError(Problem(url, f"the server does not tell the size ({error})", remedy=remedy)) from error
