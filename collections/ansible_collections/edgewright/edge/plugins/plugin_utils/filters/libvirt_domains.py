# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``libvirt_domains`` does: virtual machines of a site to libvirt domains."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml, serial_log
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import disk_path, order, virtual_machines


def libvirt_domains(machines: object, site: str, virtualization: str = "kvm") -> list[dict[str, Any]]:
    """Render ``edge_virtual_machines``; every problem of every machine is in the one error."""
    problems = Problems()
    domains: list[dict[str, Any]] = []
    try:
        declared = virtual_machines(machines, where="edge_virtual_machines", site=site)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    numbers = {vm.name: number for number, vm in enumerate(declared)}
    previous: str | None = None
    for vm in order(declared):
        where = f"edge_virtual_machines[{numbers[vm.name]}]"
        try:
            xml = domain_xml(vm, virtualization=virtualization, where=where)
        except EdgeError as error:
            problems.extend(error)
            continue
        domains.append(
            {
                "name": vm.name,
                "uuid": vm.uuid,
                "xml": xml,
                "disks": [
                    {
                        "path": disk_path(vm.name, number),
                        "source": disk.source,
                        "format": disk.format,
                        "size": disk.size,
                    }
                    for number, disk in enumerate(vm.disks)
                ],
                "serial_log": serial_log(vm.name),
                "stop_timeout": vm.stop_timeout,
                "run_policy": vm.run_policy,
                "previous": previous,
            }
        )
        previous = vm.name
    try:
        problems.raise_if_any()
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    return domains
