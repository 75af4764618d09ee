#!/usr/bin/env python3
"""Make the container image that the Molecule scenarios use as a blank node, and print its name.

It is a Debian 13 tree with systemd and Python, as a freshly installed machine has them. The packages that the roles
will ask for are not installed, but lie in a package repository inside the image, so that a scenario needs no network.
The image is named by the hash of its inputs and made only when they change. Usage:
``python molecule/node-image/build.py``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LISTS = (  # package lists: what the roles ask for, and what the scenarios make a guest's disk with
    "collections/ansible_collections/edgewright/edge/roles/*/vars/packages.yml",
    "image-builder/guests/*/guest.yml",
)
NAME = "edgewright/molecule-node"
MIRROR = os.environ.get("EDGEWRIGHT_DEBIAN_MIRROR", "http://deb.debian.org/debian")
# runc: podman inside a container on a host with the old control groups needs it in place of crun. openssl: the stand-in
# for k3s makes its certificates with it.
BLANK = ("apt-utils", "dbus", "openssl", "procps", "python3", "python3-apt", "runc", "systemd", "systemd-sysv", "udev")
ASKING = ("curl",)  # what scenarios ask with and no role needs
REPOSITORY = "/srv/packages"
# mmdebstrap(1), HOOKS: the tree is $1; apt is told about it by APT_CONFIG.
DOWNLOAD = (
    'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" '
    "apt-get --yes --quiet=2 --no-install-recommends --download-only install {packages}"
)
INDEX = (
    f'mkdir -p "$1{REPOSITORY}" && mv "$1"/var/cache/apt/archives/*.deb "$1{REPOSITORY}/" && '
    f'chroot "$1" sh -c "cd {REPOSITORY} && apt-ftparchive packages . >Packages && apt-ftparchive release . >Release"'
)
SOURCE = (
    f'echo "deb [trusted=yes] file:{REPOSITORY} ./" >"$1/etc/apt/sources.list" && '
    'find "$1/var/lib/apt/lists" -type f -delete && chroot "$1" apt-get --quiet=2 update'
)
# A test's containers are thrown away: their packages need not survive a power cut.
UNSAFE = 'echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io"'


def packages() -> list[str]:
    """Return all packages of the lists."""
    names = set(ASKING)
    for path in (found for pattern in LISTS for found in ROOT.glob(pattern)):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        names.update(*(value for key, value in data.items() if key.endswith("packages")))
    return sorted(names)


def command() -> list[str]:
    """Return the command that writes the tree as a tar archive to its output."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(BLANK)}",
        '--aptopt=APT::Install-Recommends "false"',
        f"--customize-hook={DOWNLOAD.format(packages=' '.join(packages()))}",
        f"--customize-hook={INDEX}",
        f"--customize-hook={UNSAFE}",
        "--skip=cleanup/apt/lists",
        # After mmdebstrap's own cleaning, which would empty the file again.
        f"--customize-hook={SOURCE}",
        "trixie",
        "-",
        MIRROR,
    ]


def main() -> int:
    """Make the image if there is none of these inputs."""
    argv = command()
    inputs = repr(argv).replace(str(ROOT), "").encode()
    image = f"{NAME}:{hashlib.sha256(inputs).hexdigest()[:12]}"
    there = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0
    if not there:
        print(f"making {image}", file=sys.stderr)
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as tree:
            subprocess.run(["docker", "import", "-", image], stdin=tree.stdout, stdout=subprocess.DEVNULL, check=True)
        if tree.returncode:
            subprocess.run(["docker", "image", "rm", image], stdout=subprocess.DEVNULL, check=True)
            print(f"mmdebstrap failed with exit status {tree.returncode}", file=sys.stderr)
            return 1
    subprocess.run(["docker", "tag", image, f"{NAME}:latest"], check=True)
    print(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
