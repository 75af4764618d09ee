#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: put a backup of a virtual machine back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_restore
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Put a backup of a virtual machine back
description:
  - Verifies a backup of M(edgewright.edge.vm_backup) to the last byte, and that it fits the machine as it is declared
    now. Nothing changes unless all is right.
  - The machine must be off; QEMU's own locks on its disks say whether it is. Its folder may be empty, as on a blank
    node.
  - The disks are made beside the present ones first, and exchanged by renames when all of them are whole. What the
    machine had is kept in C(replaced-by-restore-<time>) beside its disks; the newest two stay.
  - UEFI variables and the TPM's state go back too. The definition does not; it is the inventory's.
requirements:
  - qemu-img
extends_documentation_fragment:
  - edgewright.edge.backup
  - edgewright.edge.machine_backup
attributes:
  check_mode:
    details: It verifies the backup all the same, also where there is no libvirt.
  idempotent:
    details: Each run puts the backup back.
options:
  backup:
    description: Path of the backup.
    type: path
    required: true
  name:
    description: Name of the machine that the backup must be of.
    type: str
    required: true
  site:
    description: Name of the site that the backup must be of.
    type: str
    required: true
  xml:
    description: The machine's definition, as the filter P(edgewright.edge.libvirt_domains#filter) gives it.
    type: str
  disks:
    description:
      - Files of the disks of a machine that is no libvirt domain (on KubeVirt), in order. They are raw, and belong to
        the user that KubeVirt runs QEMU as.
    type: list
    elements: path
  keep_replaced:
    description: Whether what the machine had is kept. Otherwise it is deleted, once the backup is in its place.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Backup is whole, and of this machine
  edgewright.edge.vm_restore:
    backup: /home/op/.local/share/edgewright/vm-backups/shop/shop-till-20261126T021500Z
    name: till
    site: "{{ edge_site }}"
    xml: "{{ (edge_virtual_machines | edgewright.edge.libvirt_domains(edge_site) | first).xml }}"
  check_mode: true
  delegate_to: localhost
"""

RETURN = r"""
backup:
  description: Path of the backup.
  returned: success
  type: str
created:
  description: When it was made, UTC.
  returned: success
  type: str
  sample: 20261126T021500Z
consistency:
  description: How its disks are, see M(edgewright.edge.vm_backup).
  returned: success
  type: str
node:
  description: Name of the node it was made on.
  returned: success
  type: str
disks:
  description: Paths of the disks that were made, or would be.
  returned: success
  type: list
  elements: str
replaced:
  description: Folder of what the machine had; empty when there was nothing or it was deleted.
  returned: when not in check mode
  type: str
left_out:
  description: What is in the backup and has no place on this runtime, as UEFI variables on KubeVirt.
  returned: success
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils import machine_backup
from ansible_collections.edgewright.edge.plugins.module_utils.backup_folder import digest, members, read
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.machine_places import MachinePlaces, Place
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import DISK_OWNERS

ARGUMENTS: dict[str, dict[str, Any]] = {
    "backup": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "site": {"type": "str", "required": True},
    "xml": {"type": "str"},
    "disks": {"type": "list", "elements": "path"},
    "keep_replaced": {"type": "bool", "default": True},
    "libvirt_state": {"type": "path", "default": "/var/lib/libvirt"},
}


def _places(parameters: dict[str, Any]) -> MachinePlaces:
    name, state = parameters["name"], Path(parameters["libvirt_state"])
    if parameters["disks"]:
        disks = [Place(Path(disk), "raw", DISK_OWNERS["k3s"]) for disk in parameters["disks"]]
        return MachinePlaces(name, disks)
    return MachinePlaces.of_domain(parameters["xml"], name, state)


def use(module: AnsibleModule) -> dict[str, Any]:
    """Verify the backup, and put it back unless in check mode."""
    parameters = module.params
    folder = Path(parameters["backup"])
    places = _places(parameters)
    backup = read(folder)
    machine_backup.check_members(backup, {name: digest(folder / name) for name in members(folder)}, where=str(folder))
    problems = Problems()
    with problems.collecting():
        places.check_fit(backup, parameters["site"], where=str(folder))
    with problems.collecting():
        places.check_images(folder, backup, needed=not module.check_mode)
    with problems.collecting():
        places.check_off()
    problems.raise_if_any()
    told: dict[str, Any] = {
        "backup": str(folder),
        "created": backup.created,
        "consistency": backup.consistency,
        "node": backup.node,
        "disks": [str(disk.path) for disk in places.disks],
        "left_out": places.left_out(backup),
    }
    if not module.check_mode:
        replaced = places.put_back(folder, backup, keep=parameters["keep_replaced"])
        told["replaced"] = str(replaced) if replaced else ""
    return told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_one_of=[("xml", "disks")],
        mutually_exclusive=[("xml", "disks")],
        supports_check_mode=True,
    )
    os.umask(0o077)
    try:
        result = use(module)
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['backup']}: {error.strerror or error}")
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
