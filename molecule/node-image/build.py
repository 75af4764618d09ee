#!/usr/bin/env python3
"""Make the container images that the Molecule scenarios use as nodes, and print their names.

``latest`` is a blank node: a Debian 13 tree with systemd and Python, as a freshly installed machine has them. The
packages that the roles will ask for are not installed, but lie in a package repository inside the image, so that a
scenario needs no network. The others have the packages of some roles: for scenarios that are not about a blank
node, where installing them would be most of the time. An image is named by the hash of its inputs and made only when
they change. Usage: ``python molecule/node-image/build.py``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = "collections/ansible_collections/edgewright/edge/roles/{role}/vars/packages.yml"
# What the roles ask for, and what the scenarios make a guest's disk with.
LISTS = (LIST.format(role="*"), "image-builder/guests/*/guest.yml")
FILES = ROOT / "molecule" / "node-image" / "root"
NAME = "edgewright/molecule-node"
# The packages of these roles are in the image of this name.
WITH_PACKAGES = {"k3s": ("k3s", "kubevirt")}
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


def packages(*patterns: str) -> list[str]:
    """Return all packages of the lists."""
    names: set[str] = set()
    for path in (found for pattern in patterns for found in ROOT.glob(pattern)):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        names.update(*(value for key, value in data.items() if key.endswith("packages")))
    return sorted(names)


def files() -> list[str]:
    """Return the files that a node has besides its packages."""
    return sorted(str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file())


def command() -> list[str]:
    """Return the command that writes the tree as a tar archive to its output."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(BLANK)}",
        '--aptopt=APT::Install-Recommends "false"',
        f"--customize-hook={DOWNLOAD.format(packages=' '.join([*ASKING, *packages(*LISTS)]))}",
        f"--customize-hook={INDEX}",
        f"--customize-hook={UNSAFE}",
        *(f'--customize-hook=install -D --mode=644 {FILES / name} "$1/{name}"' for name in files()),
        '--customize-hook=chroot "$1" systemctl --quiet enable like-a-machine.service',
        "--skip=cleanup/apt/lists",
        # After mmdebstrap's own cleaning, which would empty the file again.
        f"--customize-hook={SOURCE}",
        "trixie",
        "-",
        MIRROR,
    ]


def named(inputs: object) -> str:
    """Return the name of the image that is made of these inputs."""
    text = repr(inputs).replace(str(ROOT), "")
    return f"{NAME}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def docker(*words: str, **options: Any) -> None:
    """Have the engine do something; what it prints is of no interest."""
    subprocess.run(["docker", *words], check=True, stdout=subprocess.DEVNULL, **options)


def is_there(image: str) -> bool:
    """Say whether the engine has an image."""
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


def make_blank(argv: list[str], image: str) -> None:
    """Make the blank node's image."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as tree:
        docker("import", "-", image, stdin=tree.stdout)
    if tree.returncode:
        docker("image", "rm", image)
        raise subprocess.CalledProcessError(tree.returncode, argv)


def make_with_packages(blank: str, names: list[str], image: str) -> None:
    """Make the image of a node that has these packages already, from the repository inside the blank one."""
    container = image.replace("/", "-").replace(":", "-")
    install = ["apt-get", "--yes", "--quiet=2", "--no-install-recommends", "install", *names]
    docker("rm", "--force", container, stderr=subprocess.DEVNULL)  # of a run that was killed; mostly there is none
    try:
        environment = ["--env", "DEBIAN_FRONTEND=noninteractive"]
        docker("run", "--name", container, "--network", "none", *environment, blank, *install)
        docker("commit", container, image)
    finally:
        docker("rm", "--force", container)


def main() -> int:
    """Make the images that are not there."""
    docker("version")  # says that no engine runs, before anything is begun
    argv = command()
    blank = named([argv, *((FILES / name).read_text(encoding="utf-8") for name in files())])
    if not is_there(blank):
        print(f"making {blank}", file=sys.stderr)
        make_blank(argv, blank)
    docker("tag", blank, f"{NAME}:latest")
    print(blank)
    for tag, roles in WITH_PACKAGES.items():
        names = packages(*(LIST.format(role=role) for role in roles))
        image = named([blank, names])
        if not is_there(image):
            print(f"making {image}", file=sys.stderr)
            make_with_packages(blank, names, image)
        docker("tag", image, f"{NAME}:{tag}")
        print(image)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:  # which has said why
        sys.exit(f"error: {error.cmd[0]} failed with exit status {error.returncode}")
