"""Run the image playbook inside the node's root, with the tools tree's own ansible-core.

Ansible, its inventory and its modules run *in* the root (connection ``local``), so no connection plugin and no copy of
Python modules is needed, and host and root cannot disagree about versions: both trees are the same Debian.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.paths import collections_dir, playbooks_dir
from edgewright.tools.sandbox import Mount, Sandbox, bind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TOOLS = "/run/edgewright/tools"
_CACHE = "/run/edgewright/cache"


def run_image_playbook(
    tree: Sandbox,
    tools: Path,
    *,
    inventory: Sequence[Path],
    host: str,
    phase: str,
    vault_password_file: Path | None,
    variables: Sequence[str] = (),
    store: Path | None = None,
    log: Path,
) -> None:
    """Run one phase of the roles for one host in ``tree``.

    Args:
        tree: the node's root.
        tools: the tools tree.
        inventory: the inventory sources on this machine, all in one folder.
        host: the host to limit the run to.
        phase: ``install``, ``configure`` or ``seed``.
        vault_password_file: for inventories with vaulted values.
        variables: further ``key=value`` extra variables.
        store: the content-addressed store, for roles that place pinned artifacts.
        log: takes Ansible's output.

    Raises:
        ToolError: a task failed.
    """
    folder = inventory[0].resolve().parent
    seen = f"/run/edgewright/inventories{folder.parent}"
    mounts: tuple[Mount, ...] = (
        bind(tools, _TOOLS),
        bind(collections_dir(), "/run/edgewright/collections"),
        bind(playbooks_dir(), "/run/edgewright/playbooks"),
        # An inventory may reach beside itself, so its neighbours come along.
        bind(folder.parent, seen),
    )
    environment = {
        "PYTHONPATH": f"{_TOOLS}/usr/lib/python3/dist-packages",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",  # noqa: S108 - a fresh tmpfs of the sandbox
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible-local",  # noqa: S108 - as HOME
        "ANSIBLE_REMOTE_TEMP": "/tmp/ansible-remote",  # noqa: S108 - as HOME
        "ANSIBLE_COLLECTIONS_PATH": "/run/edgewright/collections",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_GATHERING": "explicit",
        # Nothing listens in the sandbox that could be asked for a fact.
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
    }
    command = [
        "python3",
        "-m",
        "ansible",
        "playbook",
        *(f"--inventory={seen}/{folder.name}/{source.name}" for source in inventory),
        "--limit",
        host,
        "--connection",
        "local",
        "--extra-vars",
        "ansible_python_interpreter=/usr/bin/python3",
        "--extra-vars",
        f"edgewright_image_phase={phase}",
    ]
    if store is not None:
        mounts += (bind(store, f"{_CACHE}/store"),)
        environment["EDGEWRIGHT_CACHE"] = _CACHE
    for variable in variables:
        command += ["--extra-vars", variable]
    if vault_password_file is not None:
        mounts += (bind(vault_password_file.resolve(), "/run/edgewright/vault-password"),)
        command += ["--vault-password-file", "/run/edgewright/vault-password"]
    command.append("/run/edgewright/playbooks/image.yml")
    sandbox = replace(tree, mounts=(*tree.mounts, *mounts), env={**tree.env, **environment})
    sandbox.run([os.fspath(word) for word in command], log=log)
