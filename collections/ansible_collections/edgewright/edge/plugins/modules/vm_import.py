#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: make a site's disks from a virtual machine of another home."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_import
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Make a site's disks from a virtual machine of another home
description:
  - Reads the source as M(edgewright.edge.vm_source_info) does, checks all that can be checked, and that there is enough
    free space, and only then converts each disk with C(qemu-img) to a sparse image of the size the guest knows.
  - Digests of a package's manifest (C(.mf)) are verified while its disks are read. A disk gets its name only when it is
    whole and right; until then it is C(.<disk>.partial), and what fails leaves nothing.
  - A disk that is finished is not made again. C(<disk>.import.json) beside it says which source it was made of.
  - How far it is shows in C(import.progress) in the machine's folder, and in the system log.
extends_documentation_fragment: [edgewright.edge.virtual_machine_source]
options:
  dest:
    description: Folder in which the machine gets a folder with its disks, C(<name>/disk0.qcow2) or C(<name>/disk0.img).
    type: path
    required: true
  force:
    description: Whether disks are made anew, and replace those that are there, whatever these were made of.
    type: bool
    default: false
  need_manifest:
    description: Whether an OVF or OVA without a manifest is refused.
    type: bool
    default: false
  inject_drivers:
    description:
      - Whether C(virt-v2v-in-place) puts virtio drivers into the converted guest, which then uses them. It must be
        installed, and knows RHEL, SUSE, Debian, Ubuntu and Windows.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: All checks are made, digests of disks excepted. Of a compressed or split disk, nothing inside is seen.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
    details: Shows the disks that were made.
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: full
    details: With O(force=true) disks are made anew each time.
"""

EXAMPLES = r"""
- name: Old till's disks are in the inventory
  edgewright.edge.vm_import:
    src: /mnt/usb/till/till.ova
    dest: "{{ inventory_dir }}/disks"
    timezone: Europe/Berlin
    need_manifest: true
  delegate_to: localhost
  register: till
"""

RETURN = r"""
kind:
  description: What the source is, V(ovf), V(ova), V(libvirt) or V(disk).
  returned: success
  type: str
vm:
  description: The machine, as an item of C(edge_virtual_machines). It is C(run_policy) V(halted).
  returned: success
  type: dict
report:
  description: What became of each field of the source, with C(field), C(outcome) and C(why).
  returned: success
  type: list
  elements: dict
refusals:
  description: What O(runtime) has against the machine, with remedies. Empty when it runs as it is.
  returned: success
  type: list
  elements: str
disks:
  description: The disks, in the order of the machine.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it is.
      type: str
    format:
      description: V(qcow2) or V(raw).
      type: str
    size:
      description: Bytes the guest sees. Null in check mode where only a packed disk itself knows.
      type: int
    source:
      description: Files it was made of, with C(name) and C(sha256). Empty for one that is not made yet.
      type: list
      elements: dict
"""

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.machine_import import MachineImport
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine_source import ARGUMENTS, read_options

if TYPE_CHECKING:
    from types import FrameType

_OWN = {
    "dest": {"type": "path", "required": True},
    "force": {"type": "bool", "default": False},
    "need_manifest": {"type": "bool", "default": False},
    "inject_drivers": {"type": "bool", "default": False},
}


class Progress:
    """Tells how far it is: in a file, once a second, and in the system's log, every tenth.

    Args:
        path: the file, in a folder that exists as soon as there is something to tell.
        module: has the log.
    """

    def __init__(self, path: Path, module: AnsibleModule) -> None:
        self._path = path
        self._module = module
        self._next = 0.0
        self._tenth = (-1, "")

    def __call__(self, disk: str, percent: float) -> None:
        """Take the state of a disk."""
        line = f"{disk}: {percent:.0f} %"
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            self._path.write_text(f"{line}\n", encoding="utf-8")
        if (tenth := (int(percent // 10), disk)) != self._tenth:
            self._tenth = tenth
            self._module.log(f"{self._path.parent.name}: {line}")

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    # Leaves through all that removes what is half done.
    sys.exit("vm_import was told to stop; nothing half done is left")


def _diff(unmade: list[str], disks: list[dict[str, Any]]) -> dict[str, str]:
    lines = [f"{disk['path']}: {disk['format']}, {disk['size']} bytes\n" for disk in disks if disk["path"] in unmade]
    return {"before": "", "after": "".join(lines)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**ARGUMENTS, **_OWN}, supports_check_mode=True)
    parameters = module.params
    try:
        source, options, folders = read_options(parameters)
        work = MachineImport(
            source,
            Path(parameters["dest"]),
            options,
            folders=folders,
            force=parameters["force"],
            need_manifest=parameters["need_manifest"],
            inject=parameters["inject_drivers"],
        )
        unmade = work.unmade()
        if not module.check_mode:
            signal.signal(signal.SIGTERM, _stop)
            progress = Progress(Path(parameters["dest"]) / work.name / "import.progress", module)
            try:
                work.run(progress)
            finally:
                progress.close()
        seen, disks = work.seen(), work.disks()
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except OSError as error:
        module.fail_json(msg=f"{error.filename or parameters['dest']}: {error.strerror or error}")
    for refusal in seen.refusals:
        module.warn(refusal)
    module.exit_json(changed=bool(unmade), disks=disks, diff=_diff(unmade, disks), **seen.as_dict())


if __name__ == "__main__":
    main()
