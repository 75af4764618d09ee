"""What this machine must have before anything can be built here: programs, user namespaces, id ranges."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems

_IDS = 65536 - 1  # uid 0 of a tree is the caller; 1…65535 come from the caller's block (tools.sandbox)
_UNSHARE = (2, 38)  # the first util-linux whose unshare(1) has --map-auto


@dataclass(frozen=True)
class Program:
    """A program and the Debian or Ubuntu package that brings it."""

    name: str
    package: str
    purpose: str


BUILD = (
    Program("mmdebstrap", "mmdebstrap", "makes the trees of Debian packages"),
    Program("unshare", "util-linux", "gives the build a root user of its own"),
)
UNPRIVILEGED = (
    Program("newuidmap", "uidmap", "maps the ids of a tree to an ordinary user's"),
    Program("newgidmap", "uidmap", "maps the ids of a tree to an ordinary user's"),
)
IMAGES = (Program("skopeo", "skopeo", "fetches container images from registries"),)
BOOT = (Program("qemu-system-x86_64", "qemu-system-x86", "runs the image"),)


def missing_for_build() -> list[Problem]:
    """Return what keeps this machine and this user from building, each with its remedy."""
    ordinary = os.geteuid() != 0
    problems = Problems()
    problems.found += _missing(BUILD + (UNPRIVILEGED if ordinary else ()))
    if ordinary:
        if shutil.which("unshare") and (version := _unshare_version()) and version < _UNSHARE:
            problems.add(
                "this machine",
                "unshare is too old",
                found=".".join(map(str, version)),
                expected="2.38 or newer",
                remedy="Use Debian 12, Ubuntu 24.04 or newer, or build as root.",
            )
        for file in (Path("/etc/subuid"), Path("/etc/subgid")):
            _check_ids(file, problems)
        _check_namespaces(problems)
    return problems.found


def missing_for_images() -> list[Problem]:
    """Return what keeps this machine from locking and fetching container images of registries."""
    return _missing(IMAGES)


def missing_for_boot() -> list[Problem]:
    """Return what keeps this machine from booting an image in QEMU."""
    problems = _missing(BOOT)
    if not any(Path(folder).glob("OVMF_CODE*") for folder in ("/usr/share/OVMF", "/usr/share/edk2/x64")):
        problems.append(
            Problem(
                "this machine",
                "the firmware for virtual UEFI machines is missing",
                remedy="Run `sudo apt-get install ovmf` (only needed to boot images here).",
            )
        )
    return problems


def _missing(programs: tuple[Program, ...]) -> list[Problem]:
    # an ordinary user's PATH on Debian has no sbin
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return [
        Problem(
            "this machine",
            f"{program.name} is missing ({program.purpose})",
            remedy=f"Run `sudo apt-get install {program.package}`.",
        )
        for program in programs
        if shutil.which(program.name, path=path) is None
    ]


def _unshare_version() -> tuple[int, ...] | None:
    said = subprocess.run(["unshare", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    return tuple(map(int, match.groups())) if match else None


def _check_ids(file: Path, problems: Problems) -> None:
    """Check that the user has a block of ids in /etc/subuid or /etc/subgid (subuid(5): ``name-or-uid:first:count``)."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    counts = []
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            owner, _, block = line.partition(":")
            if owner in {user, str(os.geteuid())}:
                counts.append(int(block.rpartition(":")[2]))
    if not counts or max(counts) < _IDS:
        option = "--add-subuids" if file.name == "subuid" else "--add-subgids"
        problems.add(
            str(file),
            f"user {user} has no block of ids",
            found=f"{max(counts)} ids" if counts else "none",
            expected=f"a block of at least {_IDS}",
            remedy=f"Run `sudo usermod {option} 100000-165535 {user}` (choose a block that nobody has).",
        )


def _check_namespaces(problems: Problems) -> None:
    """Ask the kernel itself: distributions forbid user namespaces in several ways (sysctl, AppArmor)."""
    try:
        tried = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return
    if tried.returncode != 0:
        problems.add(
            "this machine",
            "the kernel gives this user no user namespaces",
            found=tried.stderr.strip(),
            remedy="Ubuntu: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; or build as root.",
        )
