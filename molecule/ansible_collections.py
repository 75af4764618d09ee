#!/usr/bin/env python3
"""Provide the Ansible collections that Molecule's docker driver needs, without asking Ansible Galaxy.

They ride in the wheel of PyPI's ``ansible`` package; only their folders are taken out of it, once, into
``build/molecule/collections``. Prints that folder. Usage: ``python molecule/ansible_collections.py``, or with another
folder and the names of other collections: ``python molecule/ansible_collections.py FOLDER community/general…``.
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


def complete(target: Path, names: tuple[str, ...]) -> bool:
    """Return whether the collections of this very wheel are there."""
    stamp = target / "wheel"
    there = all((target / "ansible_collections" / name).is_dir() for name in names)
    return there and stamp.is_file() and stamp.read_text(encoding="utf-8") == WHEEL


def extract(wheel: Path, target: Path, names: tuple[str, ...]) -> None:
    """Take the collections' folders out of the wheel."""
    prefixes = tuple(f"ansible_collections/{name}/" for name in names)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target, [name for name in archive.namelist() if name.startswith(prefixes)])


def main() -> None:
    """Download and extract into a temporary folder, then rename: a half-made folder is never used."""
    target = Path(sys.argv[1]).absolute() if sys.argv[1:] else TARGET
    names = tuple(sys.argv[2:]) or COLLECTIONS
    if not complete(target, names):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            work = Path(temporary)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), WHEEL]
            subprocess.run(command, check=True)
            made = work / "collections"
            extract(next(work.glob("*.whl")), made, names)
            (made / "wheel").write_text(WHEEL, encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    print(target)


if __name__ == "__main__":
    main()
