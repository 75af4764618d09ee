#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: back a virtual machine up, running or not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_backup
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Back a virtual machine up, running or not
description:
  - Makes a folder with a copy of each disk (qcow2), of the UEFI variables and the TPM's state, with the domain's
    definition and a manifest with the SHA-256 of all of them. M(edgewright.edge.vm_restore) verifies it and puts it
    back.
  - A running domain goes on. libvirt copies its disks as all of them are at one moment (a push backup). For this moment
    the file systems of the guest are frozen if its agent answers, and thawed whatever happens. The guest stays on its
    own disks all the time, and nothing of a backup that fails or is cut short is left at it.
  - Disks of a machine that is off are copied while QEMU's own locks keep it from starting.
  - The folder appears under its name only when it is complete. It holds whatever the machine holds and has mode 0700.
requirements:
  - qemu-img
  - python3-libvirt, unless O(disks) is given
extends_documentation_fragment:
  - edgewright.edge.backup
  - edgewright.edge.machine_backup
attributes:
  idempotent:
    details: Each run makes a backup.
options:
  name:
    description: Name of the machine.
    type: str
    required: true
  site:
    description: Name of the site, which begins the backup's name.
    type: str
    required: true
  node:
    description: Name of this node.
    type: str
    required: true
  directory:
    description:
      - Folder of the backups. It is made with mode 0711, for QEMU itself writes the disks of a running machine.
    type: path
    required: true
  keep:
    description: How many backups of the machine stay in O(directory). The one just made always does.
    type: int
    default: 7
  freeze:
    description:
      - V(auto) freezes the guest's file systems if it has an agent that does, and otherwise copies the disks as a power
        cut would leave them.
      - V(require) fails rather than that.
      - V(never) does not ask the agent.
    type: str
    choices: [auto, require, never]
    default: auto
  compress:
    description: Whether the copies are compressed. It takes time, and for a running machine its disks' space once more.
    type: bool
    default: true
  disks:
    description:
      - Files of the disks of a machine that is no libvirt domain (on KubeVirt), in order. They are raw, and it must be
        off.
      - Without it, they are those of the libvirt domain O(name).
    type: list
    elements: path
  uri:
    description: Connection to libvirt.
    type: str
    default: qemu:///system
"""

EXAMPLES = r"""
- name: Till is backed up
  edgewright.edge.vm_backup:
    name: till
    site: "{{ edge_site }}"
    node: "{{ inventory_hostname }}"
    directory: /var/lib/edgewright/vm-backups
    keep: 7
  register: backup
"""

RETURN = r"""
backup:
  description: Path of the backup.
  returned: success
  type: str
  sample: /var/lib/edgewright/vm-backups/shop-till-20261126T021500Z
files:
  description: Paths of its files.
  returned: when not in check mode
  type: list
  elements: str
size:
  description: Bytes that they have together.
  returned: when not in check mode
  type: int
created:
  description: When it was made, UTC.
  returned: success
  type: str
  sample: 20261126T021500Z
consistency:
  description:
    - V(offline) when the machine was off, V(filesystem) when its file systems were frozen, V(crash) when the disks are
      as a power cut would leave them. In check mode, what it would be if a connected agent does as it is told.
  returned: success
  type: str
frozen_filesystems:
  description: How many file systems were frozen.
  returned: when not in check mode
  type: int
not_frozen:
  description: Why the guest was not frozen; empty when it was, or was off.
  returned: when not in check mode
  type: str
removed:
  description: Backups that had to go, or would have.
  returned: success
  type: list
  elements: str
"""

import datetime
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils import machine_backup
from ansible_collections.edgewright.edge.plugins.module_utils.backup_folder import BackupFolder
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.machine_copy import LibvirtMachine, PlainMachine
from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage

if TYPE_CHECKING:
    from types import FrameType

try:
    import libvirt  # type: ignore[import-not-found]

    LIBVIRT_ERROR = ""
except ImportError:
    libvirt = None
    LIBVIRT_ERROR = traceback.format_exc()

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "site": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "keep": {"type": "int", "default": 7},
    "freeze": {"type": "str", "choices": ["auto", "require", "never"], "default": "auto"},
    "compress": {"type": "bool", "default": True},
    "disks": {"type": "list", "elements": "path"},
    "libvirt_state": {"type": "path", "default": "/var/lib/libvirt"},
    "uri": {"type": "str", "default": "qemu:///system"},
}


def _machine(parameters: dict[str, Any]) -> LibvirtMachine | PlainMachine:
    if parameters["disks"]:
        return PlainMachine([SourceImage(Path(disk), "raw") for disk in parameters["disks"]])
    connection = libvirt.open(parameters["uri"])
    found = [each for each in connection.listAllDomains() if each.name() == parameters["name"]]
    if not found:
        raise EdgeError(
            Problem(
                parameters["name"],
                "there is no such domain",
                expected=", ".join(sorted(each.name() for each in connection.listAllDomains())),
            )
        )
    return LibvirtMachine(libvirt, found[0], Path(parameters["libvirt_state"]), freeze=parameters["freeze"])


def make(module: AnsibleModule) -> dict[str, Any]:
    """Make a backup and let those go that are too many."""
    parameters = module.params
    site, name, keep = parameters["site"], parameters["name"], parameters["keep"]
    machine_backup.check_names(site, name)
    if keep < 1:
        raise EdgeError(Problem("keep", "keeps no backup", found=str(keep), expected="a number from 1"))
    machine = _machine(parameters)
    machine.check()
    created = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    planned = machine_backup.MachineBackup(
        site, name, parameters["node"], created, machine.consistency(), machine.disks()
    )
    folder = BackupFolder(Path(parameters["directory"]), planned)
    folder.check(machine.space(compress=parameters["compress"]), by_qemu=machine.running)
    told: dict[str, Any] = {"backup": str(folder.path), "created": created, "consistency": planned.consistency}
    if module.check_mode:
        return told | {"removed": [str(path) for path in folder.superfluous(keep)]}
    with folder.alone():
        folder.take_back()
        machine.abandon(folder.path.parent)
        with folder.being_made() as work:
            count, why = machine.copy(work, compress=parameters["compress"])
            made = folder.finish(machine.consistency_made(count))
        # Only now: until it was alone, another run may have removed some of them.
        told["removed"] = [str(path) for path in folder.superfluous(keep)]
        folder.remove(told["removed"])
    files = sorted(path for path in folder.path.rglob("*") if path.is_file())
    return told | {
        "consistency": made.consistency,
        "files": [str(path) for path in files],
        "size": sum(path.stat().st_size for path in files),
        "frozen_filesystems": count,
        "not_frozen": why,
    }


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    # Leaves through all that thaws the guest, ends the job and removes what is half made.
    sys.exit("vm_backup was told to stop; nothing half made is left")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if libvirt is None and not module.params["disks"]:
        module.fail_json(msg=missing_required_lib("python3-libvirt"), exception=LIBVIRT_ERROR)
    if libvirt is not None:
        # libvirt prints every error on stderr otherwise, besides raising it.
        libvirt.registerErrorHandler(lambda *_: None, None)
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        result = make(module)
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['directory']}: {error.strerror or error}")
    except Exception as error:
        if libvirt is None or not isinstance(error, libvirt.libvirtError):
            raise
        module.fail_json(msg=f"{module.params['name']}: libvirt at {module.params['uri']} refuses: {error}")
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
