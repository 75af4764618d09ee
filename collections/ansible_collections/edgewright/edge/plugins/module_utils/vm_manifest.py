"""Manifest of an OVF package (``.mf``): a digest of every file (DSP0243, 5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST: Final = 1024**2
_LINE: Final = re.compile(r"(?P<algorithm>SHA-?(?:1|256|512)) ?\((?P<name>[^)]+)\) ?= ?(?P<digest>[0-9A-Fa-f]+)")
_LENGTHS: Final = {"sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True)
class Digest:
    """A digest: ``sha1``, ``sha256`` or ``sha512``, and its hexadecimal digits in lower case."""

    algorithm: str
    value: str


def read_manifest(data: bytes, *, where: str) -> dict[str, Digest]:
    """Return the digest of each file by name.

    Raises:
        EdgeError: all lines that are no digest, and files with two.
    """
    problems = Problems()
    digests: dict[str, Digest] = {}
    for number, line in enumerate(data[:LARGEST].decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        algorithm = match["algorithm"].lower().replace("-", "") if match else ""
        if match is None or len(match["digest"]) != _LENGTHS[algorithm]:
            problems.add(
                f"{where}:{number}", "is no digest", found=repr(line[:100]), expected="SHA256(<file>)= <64 hex digits>"
            )
        elif match["name"] in digests:
            problems.add(f"{where}:{number}", "names a file a second time", found=repr(match["name"]))
        else:
            digests[match["name"]] = Digest(algorithm, match["digest"].lower())
    if len(data) > LARGEST:
        problems.add(where, "is too large for a manifest", found=f"{len(data)} bytes")
    problems.raise_if_any()
    return digests


def missing(manifest: dict[str, Digest], needed: Iterable[str], *, where: str) -> None:
    """Check that a manifest has all files that are read.

    Raises:
        EdgeError: all that it does not have.
    """
    problems = Problems()
    for name in needed:
        if name not in manifest:
            problems.add(where, "has no digest of a file of the package", found=repr(name), remedy="Export it again.")
    problems.raise_if_any()


def mismatch(name: str, expected: Digest, found: str, *, where: str) -> EdgeError:
    """Return the error that a file is not what the manifest says."""
    return EdgeError(
        Problem(
            f"{where}: {name}",
            f"is not what the manifest says ({expected.algorithm})",
            found=found,
            expected=expected.value,
            remedy="Copy the package again; if it stays so, export it again.",
        )
    )
