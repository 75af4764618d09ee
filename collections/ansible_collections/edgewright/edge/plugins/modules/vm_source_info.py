#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a virtual machine of another home would be here."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_source_info
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: What a virtual machine of another home would be here
description:
  - Reads a virtual machine as VMware, VirtualBox, libvirt or Hyper-V left it, and returns it as
    C(edge_virtual_machines) takes it, with the outcome of every field of the source.
  - Looks into the first disk for what the description does not say, which is partition table, EFI system partition and
    family of the operating system. Needs C(qemu-img) for that.
  - M(edgewright.edge.vm_import) makes the disks.
extends_documentation_fragment: [edgewright.edge.virtual_machine_source]
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: It changes nothing.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: N/A
    details: It changes nothing.
  idempotent:
    description: Run again, it gives the same result, unless something outside has changed.
    support: full
"""

EXAMPLES = r"""
- name: Old till is looked at
  edgewright.edge.vm_source_info:
    src: /mnt/usb/till/till.ova
    timezone: Europe/Berlin
  register: till

- name: What would change is shown
  ansible.builtin.debug:
    msg: "{{ till.report | selectattr('outcome', 'ne', 'kept') }}"
"""

RETURN = r"""
kind:
  description: What the source is, V(ovf), V(ova), V(libvirt) or V(disk).
  returned: success
  type: str
vm:
  description:
    - The machine, as an item of C(edge_virtual_machines). It is C(run_policy) V(halted). C(uuid) and MAC addresses that
      the source has not are left out, and derived from the site's and the machine's name then.
  returned: success
  type: dict
report:
  description: What became of each field of the source.
  returned: success
  type: list
  elements: dict
  contains:
    field:
      description: Path of an XML element or attribute, or the key of the model that no field spoke of.
      type: str
    outcome:
      description: V(kept), V(changed) or V(dropped).
      type: str
    why:
      description: The key that has it, or why it was changed or dropped.
      type: str
refusals:
  description: What O(runtime) has against the machine, with remedies. Empty when it runs as it is.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.machine_import import look
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine_source import ARGUMENTS, read_options


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        seen = look(*read_options(module.params))
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['src']}: {error.strerror or error}")
    for warning in (*seen.warnings, *seen.refusals):
        module.warn(warning)
    module.exit_json(changed=False, **seen.as_dict())


if __name__ == "__main__":
    main()
