"""Disk images through ``qemu-img``: what they are, pieces of what the guest sees, and copies in another format.

The format is always said and never guessed by QEMU, and images are only read with this: a source is never opened to be
written.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from ansible_collections.edgewright.edge.plugins.module_utils.disk_image import ImageInfo, image_info
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LONGEST = 300
_BLOCK = 64 * 1024
_SECTOR = 512
_PATIENCE = 2  # seconds without progress until the source is looked at


@dataclass(frozen=True)
class SourceImage:
    """An image in a file, or in a part of one (a member of an OVA): ``size`` bytes from ``offset``; 0 is to the end."""

    path: Path
    format: str
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """The image as QEMU takes it: a ``json:`` block node."""
        return "json:" + json.dumps(self._node())

    def quick_name(self) -> str:
        """Return the image as QEMU reads all of it fastest: through io_uring, where kernel and QEMU have it.

        A compressed image is many small reads, and each of them costs a thread's turn otherwise. A file that ends
        within a sector is read without: there, QEMU 7.2 waits forever for the sector's rest (10.0 does not).
        """
        if self.is_cut_off():
            return self.name
        quick = "json:" + json.dumps(self._node(aio="io_uring"))
        try:
            _run(["info", quick], str(self.path))
        except EdgeError:
            return self.name
        return quick

    def is_cut_off(self) -> bool:
        """Tell whether the file ends within a sector, now; one that is gone does not."""
        try:
            return self.path.stat().st_size % _SECTOR != 0
        except OSError:
            return False

    def _node(self, **how: str) -> dict[str, Any]:
        file: dict[str, Any] = {"driver": "file", "filename": str(self.path), **how}
        if self.offset or self.size:
            file = {"driver": "raw", "offset": self.offset, "size": self.size, "file": file}
        return {"driver": self.format, "file": file}

    def info(self) -> ImageInfo:
        """Return what the image is.

        Raises:
            EdgeError: QEMU cannot read it, or it is no whole disk by itself.
        """
        told = _run(["info", "--output=json", self.name], str(self.path))
        found = json.loads(told.decode("utf-8", "replace"))
        return image_info({**found, "format": self.format}, where=str(self.path))

    def measure(self, form: str) -> int:
        """Return the bytes that a copy in another format takes on disk.

        Raises:
            EdgeError: QEMU cannot read it.
        """
        told = json.loads(_run(["measure", "--output=json", "-O", form, self.name], str(self.path)))
        return int(told["required"])

    def reader(self, size: int, scratch: Path) -> Callable[[int, int], bytes]:
        """Return a function that reads what the guest sees, in blocks that are kept.

        Args:
            size: bytes of the disk.
            scratch: folder for one block at a time.
        """
        blocks: dict[int, bytes] = {}
        piece = scratch / "block"

        def block(number: int) -> bytes:
            if number not in blocks:
                length = min(_BLOCK, size - number * _BLOCK) // 512 * 512
                node = {"driver": "raw", "offset": number * _BLOCK, "size": length, "file": self._node()}
                name = "json:" + json.dumps(node)
                _run(["convert", "-O", "raw", name, str(piece)], str(self.path))
                blocks[number] = piece.read_bytes()
                piece.unlink()
            return blocks[number]

        def read(offset: int, length: int) -> bytes:
            end = min(offset + length, size // 512 * 512)
            if offset < 0 or offset >= end:
                return b""
            whole = b"".join(block(number) for number in range(offset // _BLOCK, -(-end // _BLOCK)))
            begin = offset % _BLOCK
            return whole[begin : begin + end - offset]

        return read


def convert(
    source: SourceImage,
    target: Path,
    form: str,
    progress: Callable[[float], None],
    *,
    compress: bool = False,
) -> None:
    """Write a sparse copy in another format; ``progress`` is told percents.

    Args:
        source: read, never written.
        target: a file that is there; it is written over.
        form: ``qcow2`` or ``raw``.
        progress: is called while it goes on.
        compress: make a qcow2 smaller, with zstd.

    Raises:
        EdgeError: QEMU cannot read the source to its end, or cannot write.
    """
    how = ["-c", "-o", "compression_type=zstd"] if compress else []
    name = source.quick_name()
    command = ["qemu-img", "convert", "-p", *how, "-O", form, name, f"file:{target}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()) as process:
        try:
            told = b""
            for piece in _pieces(cast("IO[bytes]", process.stdout)):
                # See quick_name: what has ended within a sector since then is waited for as long.
                if not piece and name != source.name and source.is_cut_off():
                    _refuse_cut_off(source)
                told = (told + piece)[-200:]
                if found := re.findall(rb"\((\d+\.\d+)/100%\)", told):
                    progress(float(found[-1]))
            _, complaint = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failed(str(source.path), "convert", complaint)


def _pieces(output: IO[bytes]) -> Iterator[bytes]:
    """Yield what a program says, and nothing (``b""``) whenever it has been silent for a while."""
    while True:
        piece = b""
        if select.select([output], [], [], _PATIENCE)[0] and not (piece := os.read(output.fileno(), 4096)):
            return
        yield piece


def _refuse_cut_off(source: SourceImage) -> NoReturn:
    raise EdgeError(
        Problem(
            str(source.path),
            "was changed while it was read: it ends within a sector now",
            remedy="Wait until whatever writes it is done, then run this again.",
        )
    )


def in_use(path: Path) -> bool:
    """Tell whether something has a disk open to write it, as a machine that runs has: QEMU locks it.

    Raises:
        EdgeError: QEMU cannot tell.
    """
    try:
        # Reads a sector, for 'info' and 'measure' do not mind the lock; as raw, for a damaged image can be asked too.
        if path.stat().st_size >= _SECTOR:
            with tempfile.TemporaryDirectory() as scratch:
                sector = SourceImage(path, "raw", size=_SECTOR)
                _run(["convert", "-O", "raw", sector.name, f"file:{scratch}/sector"], str(path))
    except EdgeError as error:
        # "Failed to get shared "write" lock", "Is another process using the image …?" (QEMU's block/file-posix.c)
        if "Is another process using" in str(error):
            return True
        raise
    return False


def create(target: Path, form: str, size: int) -> None:
    """Make an empty image of ``size`` bytes.

    Raises:
        EdgeError: QEMU cannot.
    """
    _run(["create", "-q", "-f", form, f"file:{target}", str(size)], str(target))


def resize(target: Path, form: str, size: int) -> None:
    """Make an image larger: ``size`` bytes.

    Raises:
        EdgeError: QEMU cannot.
    """
    _run(["resize", "-q", "-f", form, f"file:{target}", str(size)], str(target))


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _run(arguments: list[str], where: str) -> bytes:
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], capture_output=True, check=False, timeout=_LONGEST, env=_environment()
        )
    except FileNotFoundError:
        remedy = "Install it: on Debian, 'apt-get install qemu-utils'."
        raise EdgeError(Problem("qemu-img", "is not installed where this runs", remedy=remedy)) from None
    except subprocess.TimeoutExpired:
        raise EdgeError(Problem(where, f"qemu-img {arguments[0]} took longer than {_LONGEST} s")) from None
    if done.returncode:
        raise _failed(where, arguments[0], done.stderr)
    return done.stdout


def _failed(where: str, verb: str, complaint: bytes) -> EdgeError:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    said = lines[-1].rpartition("}: ")[2].removeprefix("qemu-img: ")[:300] if lines else "nothing"
    return EdgeError(
        Problem(
            where,
            f"qemu-img {verb} fails: {said}",
            remedy="Copy the disk again; if it is in use, shut its machine down first.",
        )
    )
