"""Real sources of virtual machines in small, as what is mutated: of each kind and format that an import reads."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.tests.unit.machine_sources import (
    MIB,
    convert,
    efi_disk,
    raw_disk,
    source,
    stream_optimized,
)

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 4096
_ALONE = (
    ("qcow2", "qcow2", ()),
    ("packed.qcow2", "qcow2", ("-c",)),
    ("old.qcow2", "qcow2", ("-o", "compat=0.10")),
    ("sparse.vmdk", "vmdk", ()),
    ("stream.vmdk", "vmdk", ("-o", "subformat=streamOptimized")),
    ("dynamic.vhd", "vpc", ()),
    ("fixed.vhd", "vpc", ("-o", "subformat=fixed")),
    ("disk.vhdx", "vhdx", ()),
    ("disk.vdi", "vdi", ()),
)


@dataclass(frozen=True)
class Sample:
    """One source: its files by name, and the one that an import is told.

    Attributes:
        name: what it is.
        main: the file to import; for an OVA, of which ``files`` are the members, the archive.
        files: contents.
        archive: whether it is an OVA.
    """

    name: str
    main: str
    files: dict[str, bytes]
    archive: bool = False

    def write(self, folder: Path) -> Path:
        """Write it into an empty folder; return the path to import."""
        if self.archive:
            (folder / self.main).write_bytes(tar(self.files))
            return folder / self.main
        for name, data in self.files.items():
            write_sparse(folder / name, data)
        return folder / self.main


def tar(files: dict[str, bytes], kinds: dict[str, bytes] | None = None) -> bytes:
    """Return an archive whose checksums are right, whatever its members are called; ``kinds`` are types of members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            header.type = (kinds or {}).get(name, tarfile.REGTYPE)
            header.linkname = "../canary" if header.type in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def write_sparse(path: Path, data: bytes) -> None:
    """Write a file and leave its zeros out: samples of disks are mostly holes."""
    with path.open("wb") as file:
        for at in range(0, len(data), _BLOCK):
            block = data[at : at + _BLOCK]
            if block.strip(b"\0"):
                file.seek(at)
                file.write(block)
        file.truncate(len(data))


def manifest(files: dict[str, bytes]) -> bytes:
    """Return an OVF manifest that is right."""
    lines = [f"SHA256({name})= {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items()]
    return "".join(lines).encode("utf-8", "surrogateescape")


def samples(folder: Path) -> list[Sample]:
    """Make all samples with qemu-img, sfdisk and mtools in an empty folder."""
    system, data = efi_disk(folder / "system.raw"), raw_disk(folder / "data.raw", 4 * MIB, at=MIB)
    found = [Sample("raw", "disk.img", {"disk.img": system.read_bytes()})]
    for name, form, options in _ALONE:
        disk = convert(system, folder / f"alone.{form}", form, *options)
        found.append(Sample(name, f"disk.{form}", {f"disk.{form}": disk.read_bytes()}))
        disk.unlink()
    for form in ("Flat", "Sparse"):
        parts = folder / form
        parts.mkdir()
        convert(data, parts / "disk.vmdk", "vmdk", "-o", f"subformat=twoGbMaxExtent{form}")
        found.append(
            Sample(f"extents of {form}", "disk.vmdk", {path.name: path.read_bytes() for path in parts.iterdir()})
        )
    one = stream_optimized(system, folder / "one.vmdk").read_bytes()
    two = stream_optimized(data, folder / "two.vmdk").read_bytes()
    vmware = {"till.ovf": _small(source("vmware.ovf")), "till-1.vmdk": one, "till-2.vmdk": two}
    signed = {**vmware, "till.mf": manifest(vmware)}
    found += [
        Sample("OVF of VMware", "till.ovf", signed),
        Sample("OVA of VMware", "till.ova", signed, archive=True),
        Sample("OVA without manifest", "till.ova", vmware, archive=True),
    ]
    found.append(_in_chunks(vmware))
    envelope = source("virtualbox.ovf")
    found.append(Sample("OVA of VirtualBox", "xp.ova", {"xp.ovf": envelope, _disk_of(envelope): one}, archive=True))
    qcow2 = convert(system, folder / "system.qcow2", "qcow2").read_bytes()
    domain = {"erp.xml": source("libvirt.xml"), "system.qcow2": qcow2, "data.img": data.read_bytes()}
    found.append(Sample("libvirt domain", "erp.xml", domain))
    return found


def hostile_images(folder: Path, canary: Path) -> list[Sample]:
    """Make images that are whole, and whose data is elsewhere: a backing file, a data file, an extent."""
    made = []
    for name, options in (
        ("backing.qcow2", ["-b", str(canary), "-F", "raw"]),
        ("data.qcow2", ["-o", f"data_file={folder / 'outside.raw'},data_file_raw=on"]),
    ):
        path = folder / name
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "1M"], check=True)
        made.append(Sample(name, name, {name: path.read_bytes()}))
    for number, extent in enumerate((str(canary), "../canary", "canary/../../canary", f"nbd:unix:{canary}")):
        text = '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        text += f'RW 2048 FLAT "{extent}" 0\nddb.adapterType = "ide"\n'
        made.append(Sample(f"extent {number}", "disk.vmdk", {"disk.vmdk": text.encode()}))
    return made


def _small(envelope: bytes) -> bytes:
    return envelope.replace(b'ovf:capacity="16"', b'ovf:capacity="4"')


def _disk_of(envelope: bytes) -> str:
    return envelope.partition(b'ovf:href="')[2].partition(b'"')[0].decode()


def _in_chunks(files: dict[str, bytes]) -> Sample:
    """Return a package whose first disk is compressed and cut into chunks."""
    packed = gzip.compress(files["till-1.vmdk"], mtime=0)
    chunk = len(packed) // 3 + 1
    more = f' ovf:size="{len(packed)}" ovf:chunkSize="{chunk}" ovf:compression="gzip"'
    old = b'<File ovf:href="till-1.vmdk" ovf:id="file1"/>'
    envelope = files["till.ovf"].replace(old, old[:-2] + more.encode() + b"/>")
    chunks = {f"till-1.vmdk.{number:09d}": packed[number * chunk : (number + 1) * chunk] for number in range(3)}
    return Sample("OVF in chunks", "till.ovf", {"till.ovf": envelope, **chunks, "till-2.vmdk": files["till-2.vmdk"]})
