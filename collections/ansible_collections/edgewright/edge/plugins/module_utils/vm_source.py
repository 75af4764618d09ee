"""A virtual machine in its old form, opened to be read: OVF folder, OVA, libvirt XML, or a disk alone."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.bare_disk import machine_of_disk
from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents, disk_contents
from ansible_collections.edgewright.edge.plugins.module_utils.disk_image import HEAD, TAIL, extents, image_format
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain_xml import LibvirtDomain
from ansible_collections.edgewright.edge.plugins.module_utils.ova_archive import members
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import read_envelope
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import OvfMachine
from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage
from ansible_collections.edgewright.edge.plugins.module_utils.vm_manifest import (
    LARGEST,
    Digest,
    mismatch,
    missing,
    read_manifest,
)
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import LARGEST as LARGEST_XML

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
        ImportedMachine,
        ImportOptions,
        SourceDisk,
    )

_MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class Piece:
    """A file, or a part of one: ``size`` bytes from ``offset``; ``name`` is what a manifest calls it."""

    name: str
    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Content:
    """A disk's content: pieces one after the other, compressed as a whole or not; none for an empty disk."""

    disk: SourceDisk
    pieces: tuple[Piece, ...]

    @property
    def plain(self) -> bool:
        """Whether QEMU can read it where it is."""
        return len(self.pieces) == 1 and not self.disk.gzip

    def image(self) -> SourceImage:
        """Return the image in the one piece there is.

        Raises:
            EdgeError: its descriptor names files elsewhere, or files that are not there.
        """
        (piece,) = self.pieces
        whole = piece.offset == 0 and piece.size == piece.path.stat().st_size
        return source_image(piece.path, 0 if whole else piece.offset, 0 if whole else piece.size, self.disk.format)


def source_image(path: Path, offset: int, size: int, form: str = "") -> SourceImage:
    """Return the image in a file, or in the part of it from ``offset``; ``size`` 0 is the whole file.

    Args:
        path: the file.
        offset: where it begins.
        size: its bytes.
        form: ``raw`` if the source says so: then nothing in the disk can make it another format.

    Raises:
        EdgeError: a VMDK descriptor names files elsewhere, or files that are not there.
    """
    length = size or path.stat().st_size
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(min(HEAD, length))
        file.seek(offset + max(0, length - TAIL))
        tail = file.read(min(TAIL, length))
    found = "raw" if form == "raw" else image_format(head, tail)
    if found == "vmdk" and (names := extents(head, where=str(path))):
        problems = Problems()
        if size or length > HEAD:
            problems.add(str(path), "is a VMDK descriptor where a disk should be", remedy="Unpack the package first.")
        for name in names:
            extent = path.parent / name
            if extent.is_symlink() or not extent.is_file():
                problems.add(str(extent), "is missing: an extent of the disk", remedy="Copy it there.")
        problems.raise_if_any()
    return SourceImage(path, found, offset, size)


class VmSource:
    """A source, opened.

    Args:
        path: an ``.ovf``, an ``.ova``, a libvirt domain in XML, or a disk image.
        options: the operator's.
        folders: where disks of a libvirt domain may lie, besides the folder of the XML.

    Raises:
        EdgeError: it is none of these, or says what the model cannot take.
    """

    def __init__(self, path: Path, options: ImportOptions, folders: Sequence[Path] = ()) -> None:
        self.path = path
        self.kind = ""
        self.manifest: dict[str, Digest] | None = None
        self._options = options
        self._folders = folders
        self._members: dict[str, Piece] = {}
        self._machine: OvfMachine | LibvirtDomain | None = None
        try:
            self._open()
        except OSError as error:
            raise EdgeError(Problem(str(path), f"cannot be read ({error.strerror or error})")) from error

    def contents(self) -> list[Content]:
        """Return where each disk's content is.

        Raises:
            EdgeError: all files that are missing, shorter than they should be, or elsewhere than they may be.
        """
        problems = Problems()
        made: list[Content] = []
        if self._machine is None:
            piece = Piece(self.path.name, self.path, 0, self.path.stat().st_size)
            return [Content(self._bare.disks[0], (piece,))]
        for disk in self._machine.devices.sources:
            with problems.collecting():
                made.append(Content(disk, tuple(self._pieces(disk))))
        problems.raise_if_any()
        if self.manifest is not None:
            missing(self.manifest, (piece.name for each in made for piece in each.pieces), where=self._manifest_name)
        return made

    def look(self, image: SourceImage) -> DiskContents:
        """Return what a disk shows.

        Raises:
            EdgeError: QEMU cannot read it.
        """
        size = image.info().virtual_size
        with tempfile.TemporaryDirectory(prefix="edgewright-import-") as scratch:
            return disk_contents(image.reader(size, Path(scratch)), size)

    def imported(self, contents: DiskContents | None) -> ImportedMachine:
        """Return the machine; ``contents`` is what its first disk shows, where that can be read.

        Raises:
            EdgeError: all that the model cannot take.
        """
        return self._bare if self._machine is None else self._machine.imported(contents)

    def _open(self) -> None:
        if not self.path.is_file():
            raise EdgeError(
                Problem(str(self.path), "is no file", expected="an .ovf, an .ova, a libvirt XML or a disk image")
            )
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, size - TAIL))
            form = image_format(head, file.read(TAIL))
        suffix = self.path.suffix.lower()
        if suffix == ".ova" or (form == "raw" and head[257:262] == b"ustar"):
            self._open_ova(size)
        elif suffix == ".ovf":
            self._open_ovf()
        elif suffix == ".xml" or (form == "raw" and b"<domain" in head[:4096]):
            self.kind = "libvirt"
            self._machine = LibvirtDomain(_bytes(self.path, LARGEST_XML), self._options, where=str(self.path))
        elif form == "raw" and b"<" in head[:16] and b"Envelope" in head[:4096]:
            self._open_ovf()
        else:
            self._open_disk()

    def _open_disk(self) -> None:
        self.kind = "disk"
        if not self.path.stat().st_size:
            raise EdgeError(Problem(str(self.path), "is empty", remedy="Copy the disk again."))
        image = source_image(self.path, 0, 0)
        self._bare = machine_of_disk(
            str(self.path), self.path.stem, image.info(), self.look(image), self._options, where=str(self.path)
        )

    def _open_ova(self, size: int) -> None:
        self.kind = "ova"
        with self.path.open("rb") as archive:
            found = members(archive, size, where=str(self.path))
        self._members = {name: Piece(name, self.path, each.offset, each.size) for name, each in found.items()}
        envelopes = [name for name in found if name.lower().endswith(".ovf")]
        if len(envelopes) != 1:
            raise EdgeError(
                Problem(str(self.path), "must have one .ovf file in it", found=", ".join(envelopes) or "none")
            )
        manifests = [name for name in found if name == f"{envelopes[0][:-4]}.mf"]
        self._read(self._members[envelopes[0]], self._members[manifests[0]] if manifests else None)

    def _open_ovf(self) -> None:
        self.kind = "ovf"
        manifest = self.path.with_suffix(".mf")
        piece = Piece(manifest.name, manifest, 0, manifest.stat().st_size) if manifest.is_file() else None
        self._read(Piece(self.path.name, self.path, 0, self.path.stat().st_size), piece)

    def _read(self, envelope: Piece, manifest: Piece | None) -> None:
        where = str(self.path) if self.kind == "ovf" else f"{self.path}: {envelope.name}"
        data = _piece_bytes(envelope, LARGEST_XML)
        if manifest is not None:
            self._manifest_name = f"{self.path}: {manifest.name}"
            self.manifest = read_manifest(_piece_bytes(manifest, LARGEST), where=self._manifest_name)
            missing(self.manifest, [envelope.name], where=self._manifest_name)
            expected = self.manifest[envelope.name]
            found = hashlib.new(expected.algorithm, data, usedforsecurity=False).hexdigest()
            if found != expected.value:
                raise mismatch(envelope.name, expected, found, where=str(self.path))
        self._machine = OvfMachine(read_envelope(data, where=where), self._options, where=where)

    def _pieces(self, disk: SourceDisk) -> list[Piece]:
        if not disk.file:
            if disk.capacity is None:
                raise EdgeError(
                    Problem(str(self.path), "has a disk that is no file", remedy="Copy it into a file first.")
                )
            return []
        if self.kind == "libvirt":
            return [self._libvirt_piece(disk.file)]
        if not disk.chunk_size:
            piece = self._package_piece(disk.file)
            if disk.size is not None and piece.size != disk.size:
                raise self._wrong_size(piece, disk.size)
            return [piece]
        pieces: list[Piece] = []
        total = disk.size
        while len(pieces) < _MOST_CHUNKS:
            name = f"{disk.file}.{len(pieces):09d}"
            if total is None and pieces and pieces[-1].size < disk.chunk_size:
                break
            if total is not None and len(pieces) * disk.chunk_size >= total:
                break
            piece = self._package_piece(name)
            last = total is not None and (len(pieces) + 1) * disk.chunk_size >= total
            expected = total - len(pieces) * disk.chunk_size if last and total is not None else disk.chunk_size
            if piece.size != expected and (total is not None or piece.size > disk.chunk_size):
                raise self._wrong_size(piece, expected)
            pieces.append(piece)
        return pieces

    def _package_piece(self, name: str) -> Piece:
        if self.kind == "ova":
            if name not in self._members:
                raise EdgeError(Problem(f"{self.path}: {name}", "is not in the archive", remedy="Export it again."))
            return self._members[name]
        path = self.path.parent / name
        if not path.is_file():
            raise EdgeError(Problem(str(path), "is missing", remedy="Copy all files of the package into one folder."))
        if not path.resolve().is_relative_to(self.path.parent.resolve()):
            raise EdgeError(
                Problem(str(path), "is a link that leaves the package", remedy="Copy the file itself there.")
            )
        return Piece(name, path, 0, path.stat().st_size)

    def _libvirt_piece(self, written: str) -> Piece:
        beside = self.path.parent.resolve()
        allowed = [beside, *(folder.resolve() for folder in self._folders)]
        for path in (Path(written), *(folder / Path(written).name for folder in allowed)):
            if path.is_file() and any(path.resolve().is_relative_to(folder) for folder in allowed):
                return Piece(path.name, path, 0, path.stat().st_size)
        raise EdgeError(
            Problem(
                f"{self.path}: {written}",
                "is no file in a folder where disks may lie",
                expected=f"it in one of {', '.join(map(str, allowed))}",
                remedy="Copy it beside the XML, or name its folder in 'disk_folders'.",
            )
        )

    def _wrong_size(self, piece: Piece, expected: int) -> EdgeError:
        return EdgeError(
            Problem(
                f"{self.path}: {piece.name}",
                "is not as large as the envelope says",
                found=f"{piece.size} bytes",
                expected=f"{expected} bytes",
                remedy="Copy the package again.",
            )
        )


def _piece_bytes(piece: Piece, most: int) -> bytes:
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        return file.read(min(piece.size, most + 1))


def _bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)
