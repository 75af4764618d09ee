#!/usr/bin/env python3
"""Make the disk of the demo's guest with the programs of the node image's package repository, and print its path.

The recipe is the project's own (``image-builder/guests/till``); it runs in a throw-away container. The disk is made
anew only when the recipe changes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "image-builder" / "guests" / "till"
BUILD = (
    "apt-get -qq update && apt-get -qq install --no-install-recommends {packages} >/dev/null && "
    "cd /made && sh /recipe/build.sh /recipe"
)


def main() -> int:
    """Make the disk if this recipe's is not there."""
    content = b"".join(path.read_bytes() for path in sorted(RECIPE.iterdir()))
    made = ROOT / "build" / "molecule" / f"till-{hashlib.sha256(content).hexdigest()[:12]}"
    recipe = yaml.safe_load((RECIPE / "guest.yml").read_text(encoding="utf-8"))
    disk = made / recipe["disk"]
    if not disk.exists():
        made.mkdir(parents=True, exist_ok=True)
        command = ["docker", "run", "--rm", "--network=none", "--env=SOURCE_DATE_EPOCH=1700000000"]
        command.append("--env=DEBIAN_FRONTEND=noninteractive")
        command += [f"--volume={RECIPE}:/recipe:ro", f"--volume={made}:/made", "edgewright/molecule-node:latest"]
        command += ["sh", "-euc", BUILD.format(packages=" ".join(recipe["packages"]))]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode:
            disk.unlink(missing_ok=True)
            return done.returncode
    print(disk)
    return 0


if __name__ == "__main__":
    sys.exit(main())
