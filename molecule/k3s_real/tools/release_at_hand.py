#!/usr/bin/env python3
"""Find a release of k3s that can be had without a network; print its folder, or in one line why there is none.

The newest ``<version>/`` with the program and the archive of its images counts, in the folder EDGEWRIGHT_K3S_MIRROR,
else in ``edgewright/mirror/k3s`` in the user's cache. Exit status: 0 found, 1 not.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

IMAGES = "k3s-airgap-images-amd64.tar.zst"
VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)\+k3s(\d+)", re.ASCII)


def mirror() -> Path:
    """Return the folder of releases."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EDGEWRIGHT_K3S_MIRROR") or Path(cache) / "edgewright" / "mirror" / "k3s")


def releases() -> list[Path]:
    """Return the folders of all releases, the newest first."""
    found = {}
    for images in mirror().glob(f"*/{IMAGES}"):
        folder = images.parent
        if (matched := VERSION.fullmatch(folder.name)) and (folder / "k3s").is_file():
            found[tuple(map(int, matched.groups()))] = folder
    return [found[version] for version in sorted(found, reverse=True)]


def main() -> int:
    """Look and say."""
    found = releases()
    if not found:
        print(f"no release of k3s in {mirror()} (EDGEWRIGHT_K3S_MIRROR names another folder)")
        return 1
    print(found[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
