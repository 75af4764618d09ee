#!/usr/bin/env python3
"""Find a release of k3s that can be had without a network; print its folder, or in one line why there is none.

The newest ``<version>/`` with the program and the archive of its images counts, in the folder EDGEWRIGHT_K3S_MIRROR,
else in ``edgewright/mirror/k3s`` in the user's cache. The argument says what it is wanted for: ``k3s``; ``kubevirt``,
which needs a release of KubeVirt too, ``kubevirt/<version>/`` beside that folder, with the operator's manifest and an
archive (an OCI layout) of the images that it needs; or ``ingress``, for which Traefik has to be among the release's
images (``k3s-images.txt``). Exit status: 0 found, 1 not.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

IMAGES = "k3s-airgap-images-amd64.tar.zst"
VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)\+k3s(\d+)", re.ASCII)
TRAEFIK = "mirrored-library-traefik"
KUBEVIRT_IMAGES = "kubevirt-images-amd64.tar.zst"
KUBEVIRT_MANIFEST = "kubevirt-operator.yaml"
KUBEVIRT_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)", re.ASCII)


def mirror() -> Path:
    """Return the folder of releases."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EDGEWRIGHT_K3S_MIRROR") or Path(cache) / "edgewright" / "mirror" / "k3s")


def releases() -> list[Path]:
    """Return the folders of all releases of k3s, the newest first."""
    return _complete(mirror(), VERSION, IMAGES, "k3s")


def kubevirt_releases() -> list[Path]:
    """Return the folders of all releases of KubeVirt, the newest first."""
    return _complete(mirror().parent / "kubevirt", KUBEVIRT_VERSION, KUBEVIRT_IMAGES, KUBEVIRT_MANIFEST)


def _complete(folder: Path, version: re.Pattern[str], *files: str) -> list[Path]:
    found = {}
    for release in folder.glob("*/"):
        if (matched := version.fullmatch(release.name)) and all((release / file).is_file() for file in files):
            found[tuple(map(int, matched.groups()))] = release
    return [found[numbers] for numbers in sorted(found, reverse=True)]


def main() -> int:
    """Look and say."""
    found = releases()
    if not found:
        print(f"no release of k3s in {mirror()} (EDGEWRIGHT_K3S_MIRROR names another folder)")
        return 1
    if sys.argv[1:] == ["kubevirt"] and not kubevirt_releases():
        print(f"no release of KubeVirt in {mirror().parent / 'kubevirt'}, beside those of k3s")
        return 1
    names = found[0] / "k3s-images.txt"
    if sys.argv[1:] == ["ingress"] and not (names.is_file() and TRAEFIK in names.read_text(encoding="ascii")):
        print(f"no Traefik among the images of {found[0]}")
        return 1
    print(found[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
