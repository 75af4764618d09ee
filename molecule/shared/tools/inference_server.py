#!/usr/bin/env python3
"""Make the container image of the project's inference server as an archive that podman loads, and print its path.

The recipe is the project's own (``image-builder/containers/inference-server``); here it is made by mmdebstrap, pip and
docker, without the image builder. The archive is made anew only when the recipe changes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from edgewright import __version__

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "image-builder" / "containers" / "inference-server"
IMAGE = f"localhost/edgewright/inference-server:{__version__}"
MIRROR = os.environ.get("EDGEWRIGHT_DEBIAN_MIRROR", "http://deb.debian.org/debian")
# Debian 13's python3.
PYTHON = ("--python-version=3.13", "--implementation=cp", "--abi=cp313", "--only-binary=:all:")
PLATFORMS = ("--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_27_x86_64", "--platform=manylinux2014_x86_64")
SITE = "/usr/lib/python3/dist-packages"
SHARED = Path("ansible_collections/edgewright/edge/plugins/module_utils")


def inputs() -> list[Path]:
    """Return the files that the image is made of."""
    return [RECIPE / "container.yml", RECIPE / "requirements.txt", *sorted((RECIPE / "src").rglob("*.py")), *shared()]


def shared() -> list[Path]:
    """Return the files of the collection that the server's programs import."""
    recipe = yaml.safe_load((RECIPE / "container.yml").read_text(encoding="utf-8"))
    return [ROOT / "collections" / SHARED / f"{name}.py" for name in recipe["module_utils"]]


def changes(recipe: dict[str, Any]) -> list[str]:
    """Return the recipe's settings as docker takes them."""
    lines = [f"ENV {name}={value}" for name, value in recipe["env"].items()]
    lines += [f"USER {recipe['user']}", f"WORKDIR {recipe['working_dir']}", f"EXPOSE {recipe['exposed_ports'][0]}"]
    lines.append("ENTRYPOINT [" + ", ".join(f'"{word}"' for word in recipe["entrypoint"]) + "]")
    return [f"--change={line}" for line in lines]


def make(archive: Path) -> None:
    """Make the tree, import it, save it."""
    recipe = yaml.safe_load((RECIPE / "container.yml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(dir=archive.parent) as work:
        wheels = [sys.executable, "-m", "pip", "install", "--quiet", "--target", work, *PYTHON, *PLATFORMS]
        subprocess.run([*wheels, "--requirement", str(RECIPE / recipe["requirements"])], check=True)
        # mmdebstrap's hooks may run as another user.
        Path(work).chmod(0o755)
        hooks = [f'cp -rT "{work}" "$1{SITE}"', *(f'cp -rT "{RECIPE / a}" "$1{b}"' for a, b in recipe["copy"].items())]
        hooks += [f'install -D -m 0644 "{file}" "$1{SITE}/{SHARED}/{file.name}"' for file in shared()]
        tree = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(recipe['packages'])}"]
        tree += [*(f"--customize-hook={hook}" for hook in hooks), "trixie", "-", MIRROR]
        with subprocess.Popen(tree, stdout=subprocess.PIPE) as made:
            command = ["docker", "import", *changes(recipe), "-", IMAGE]
            subprocess.run(command, stdin=made.stdout, stdout=subprocess.DEVNULL, check=True)
        if made.returncode:
            raise subprocess.CalledProcessError(made.returncode, tree)
        subprocess.run(["docker", "save", "--output", f"{work}.tar", IMAGE], check=True)
        subprocess.run(["docker", "image", "rm", IMAGE], stdout=subprocess.DEVNULL, check=True)
        Path(f"{work}.tar").rename(archive)


def main() -> None:
    """Make the archive if this recipe's is not there."""
    digest = hashlib.sha256(b"".join([__version__.encode(), *(path.read_bytes() for path in inputs())])).hexdigest()
    archive = ROOT / "build" / "molecule" / f"inference-server-{digest[:12]}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        make(archive)
    print(archive)


if __name__ == "__main__":
    main()
