#!/usr/bin/env python3
"""Make the disks of a guest that has an agent (``molecule/shared/guests/office``), and print their folder.

The packages are Debian's, only unpacked; the recipe runs in that tree. The disks are made anew only when the recipe
changes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "molecule" / "shared" / "guests" / "office"
DISKS = ("disk0.raw", "disk1.raw")
MIRROR = os.environ.get("EDGEWRIGHT_DEBIAN_MIRROR", "http://deb.debian.org/debian")


def make(target: Path) -> None:
    """Unpack the tree, run the recipe in it, keep the disks."""
    packages = ",".join((RECIPE / "packages.txt").read_text(encoding="utf-8").split())
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        # mmdebstrap's hooks may run as another user.
        Path(work).chmod(0o777)
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}"]
        command += ['--aptopt=APT::Install-Recommends "false"']
        command.append(f'--extract-hook=mkdir -p "$1/recipe" "$1/made" && cp "{RECIPE}"/* "$1/recipe/"')
        command.append(
            '--extract-hook=chroot "$1" sh -c "cd /made && PATH=/usr/sbin:/usr/bin sh /recipe/build.sh /recipe"'
        )
        command += [f'--extract-hook=cp --sparse=always "$1/made/{disk}" "{work}/"' for disk in DISKS]
        subprocess.run([*command, "trixie", "/dev/null", MIRROR], stdout=sys.stderr, check=True)
        Path(work).chmod(0o755)
        made = target.with_suffix(".made")
        made.mkdir(exist_ok=True)
        for disk in DISKS:
            (Path(work) / disk).rename(made / disk)
        made.rename(target)


def main() -> None:
    """Make the disks if those of this recipe are not there."""
    content = b"".join(path.read_bytes() for path in sorted(RECIPE.iterdir()))
    target = ROOT / "build" / "molecule" / f"office-{hashlib.sha256(content).hexdigest()[:12]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        make(target)
    print(target)


if __name__ == "__main__":
    main()
