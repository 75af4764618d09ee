# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: virtual machines of a site to libvirt domains."""

from __future__ import annotations

DOCUMENTATION = r"""
name: libvirt_domains
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render a site's virtual machines as libvirt domains
description:
  - Checks the list C(edge_virtual_machines) and renders each machine as libvirt domain XML, in the order they start.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, virtualization
options:
  _input:
    description: The list C(edge_virtual_machines).
    type: list
    elements: dict
    required: true
  site:
    description: The site's name, C(edge_site). UUIDs and MAC addresses that are not given are derived from it.
    type: str
    required: true
  virtualization:
    description: What the node can do, C(edge_virtualization).
    type: str
    choices: [kvm, emulation]
    default: kvm
"""

EXAMPLES = r"""
- name: Domain definitions are in place
  ansible.builtin.copy:
    content: "{{ item.xml }}"
    dest: "/etc/edgewright/virtual-machines/{{ item.name }}.xml"
    mode: "0644"
  loop: "{{ edge_virtual_machines | edgewright.edge.libvirt_domains(edge_site, edge_virtualization) }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: One dictionary a machine, in start order.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the machine and of the domain.
      type: str
    uuid:
      description: UUID of the domain.
      type: str
    xml:
      description: The domain, as C(virsh define) takes it.
      type: str
    disks:
      description:
        - Its disks in order. Each has C(path) on the node, C(source), C(format) (C(raw) or C(qcow2)) and C(size) in
          bytes, which is null where the artifact's own size stays.
      type: list
      elements: dict
    serial_log:
      description: File that holds what the machine writes to its serial console.
      type: str
    stop_timeout:
      description: Seconds the machine gets to shut down.
      type: int
    run_policy:
      description: V(always), V(manual) or V(halted).
      type: str
    previous:
      description: Name of the machine that starts before this one; null for the first.
      type: str
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"libvirt_domains": late_filter("libvirt_domains")}
