"""The disk in a container image: KubeVirt's container disks, which have one file in their folder ``/disk``.

Layers are read as they are pinned, and only that one file is written. An image's later layers may replace or delete
what earlier ones have (OCI image specification 1.1, layer.md, "Whiteouts").
"""

from __future__ import annotations

import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.tools.qemu import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOLDER = "disk"
_HIDDEN = ".wh."
_OPAQUE = ".wh..wh..opq"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20
_HOLE = 4096
_EXPECTED = "an image with one file in its folder /disk, as KubeVirt's container disks are"


@dataclass(frozen=True)
class Found:
    """The disk: in which layer it is, its name there, and its bytes."""

    layer: int
    name: str
    size: int


def find_disk(layers: Sequence[Path], reference: str) -> Found:
    """Return where an image's disk is.

    Args:
        layers: files of the store, from the lowest up.
        reference: the image's name, for errors.

    Raises:
        EdgeError: a layer cannot be read, or there is not just one disk in the image.
    """
    there: dict[str, Found | None] = {}
    for number, path in enumerate(layers):
        with _opened(path, reference) as archive:
            for member in archive:
                _apply(member, number, there)
    disks = {name: found for name, found in there.items() if found is not None}
    if len(there) != 1 or not disks:
        names = ", ".join(f"/{FOLDER}/{name}" for name in sorted(there)[:5])
        raise EdgeError(
            Problem(
                f"image {reference}",
                "is no container disk",
                found=names or "nothing there",
                expected=_EXPECTED,
                remedy="Correct the image's name, or build it anew: FROM scratch, ADD --chown=107:107 disk.img /disk/.",
            )
        )
    return next(iter(disks.values()))


def _apply(member: tarfile.TarInfo, number: int, there: dict[str, Found | None]) -> None:
    """Take over what a layer's member says of the folder; ``None`` is what is there and no file."""
    path = PurePosixPath("/", member.name).relative_to("/")
    if len(path.parts) == 1:
        # The folder itself is hidden, or replaced by something that is no folder.
        if path.name == f"{_HIDDEN}{FOLDER}" or (path.name == FOLDER and not member.isdir()):
            there.clear()
        return
    if path.parts[0] != FOLDER:
        return
    name = "/".join(path.parts[1:])
    if name == _OPAQUE:
        there.clear()
    elif path.name.startswith(_HIDDEN):
        hidden = name[: -len(path.name)] + path.name.removeprefix(_HIDDEN)
        for known in [known for known in there if known == hidden or known.startswith(f"{hidden}/")]:
            del there[known]
    elif not member.isdir():
        there[name] = Found(number, member.name, member.size) if member.isfile() else None


def extract_disk(layers: Sequence[Path], reference: str, target: Path) -> Found:
    """Write an image's disk, as it is in there, into a sparse file.

    Raises:
        EdgeError: there is no such disk, or its layer is damaged.
    """
    found = find_disk(layers, reference)
    with _opened(layers[found.layer], reference) as archive:
        # The last of one name is what counts, and a stream cannot go back to it.
        for member in archive:
            if member.name == found.name and member.isfile() and (source := archive.extractfile(member)):
                with target.open("wb") as file:
                    _copy_sparse(source, file)
    if target.stat().st_size != found.size:
        raise _damaged(reference, "the disk ends too early")
    return found


def _copy_sparse(source: IO[bytes], target: IO[bytes]) -> None:
    size = 0
    while block := source.read(_BLOCK):
        for at in range(0, len(block), _HOLE):
            piece = block[at : at + _HOLE]
            if piece.count(0) != len(piece):
                target.seek(size + at)
                target.write(piece)
        size += len(block)
    target.truncate(size)


@contextmanager
def _opened(path: Path, reference: str) -> Iterator[tarfile.TarFile]:
    """Open a layer to be read once from its beginning: plain, or packed with gzip or zstd."""
    try:
        with path.open("rb") as file:
            packed = file.read(4) == _ZSTD
        if not packed:
            with tarfile.open(path, "r|*") as archive:
                yield archive
            return
        words = [find_program("zstd", "zstd"), "-dcq", "--", str(path)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as unpacker:
            try:
                with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
                    yield archive
            finally:
                unpacker.kill()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise _damaged(reference, str(error)) from error


def _damaged(reference: str, found: str) -> EdgeError:
    remedy = "Run `edgewright fetch --verify`; if that finds nothing, the image itself is broken."
    return EdgeError(Problem(f"image {reference}", "a layer cannot be read", found=found, remedy=remedy))
