"""A copy of an inventory in which one host has a vaulted secret file of its operator's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/etc/uplink/keys/site.key"
SECRET = "the key of the site's uplink: 2b7e151628aed2a6abf7158809cf4f3c\n"


def with_secret(inventory: Path, host: str, folder: Path) -> tuple[Path, Path]:
    """Copy an inventory into ``folder`` and give a host the secret; return the copy and the vault's password file."""
    copy = folder / "inventories" / inventory.name
    shutil.copytree(inventory, copy)
    password = folder / "password"
    password.write_text("open sesame\n")
    words = [sys.executable, "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", str(password)]
    vaulted = subprocess.run(
        [*words, SECRET], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    ).stdout
    block = "".join(f"      {line.strip()}\n" for line in vaulted.splitlines()[1:])
    with (copy / "host_vars" / f"{host}.yml").open("a") as file:
        file.write(f"base__secret_files:\n  - path: {PATH}\n    content: !vault |\n{block}")
    return copy, password
