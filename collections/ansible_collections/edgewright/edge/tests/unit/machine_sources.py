"""Sources of virtual machines, made with qemu-img, sfdisk and mtools, and by hand as their vendors write them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

SOURCES = Path(__file__).parent / "plugins" / "module_utils" / "sources"
MIB = 1024**2


def source(name: str, *changes: tuple[str, str]) -> bytes:
    """Return a description by hand, with texts in it replaced; each must be there."""
    text = (SOURCES / name).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def raw_disk(path: Path, size: int = 64 * MIB, *, at: int = 8 * MIB, content: bytes = b"a guest's data") -> Path:
    """Make a sparse raw disk with something in it."""
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(content)
    return path


def efi_disk(path: Path, *, loader: bool = True, size: int = 64 * MIB) -> Path:
    """Make a raw disk with a GPT, an EFI system partition by mtools, and a Linux partition by mkfs."""
    raw_disk(path, size, at=size - 8 * MIB)
    table = "label: gpt\nstart=2048, size=65536, type=uefi\nstart=69632, size=16384, type=linux\n"
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    esp = f"{path}@@1M"
    subprocess.run(["mformat", "-i", esp, "-T", "65536", "-h", "16", "-s", "63", "::"], check=True)
    subprocess.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], check=True)
    if loader:
        program = path.with_suffix(".efi")
        program.write_bytes(b"MZ a loader")
        subprocess.run(["mcopy", "-i", esp, program, "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", f"offset={34 * MIB}", path, "8M"], check=True)
    return path


def convert(disk: Path, target: Path, form: str, *options: str) -> Path:
    """Convert a raw disk with qemu-img."""
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, *options, disk, target], check=True)
    return target


def stream_optimized(disk: Path, target: Path) -> Path:
    """Make the VMDK that OVF packages have."""
    return convert(disk, target, "vmdk", "-o", "subformat=streamOptimized")


def ova(path: Path, files: dict[str, bytes], *, manifest: str = "sha256") -> Path:
    """Make an OVA; the manifest has the name of the first file, with another suffix."""
    members = dict(files)
    if manifest:
        lines = [
            f"{manifest.upper()}({name})= {hashlib.new(manifest, data).hexdigest()}" for name, data in files.items()
        ]
        members[f"{Path(next(iter(files))).stem}.mf"] = "".join(f"{line}\n" for line in lines).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def same_disk(one: Path, one_format: str, other: Path, other_format: str) -> bool:
    """Tell whether a guest would see the same in both, by qemu-img; a larger one may only have zeros more."""
    command: list[str | Path] = ["qemu-img", "compare", "-f", one_format, "-F", other_format, one, other]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
