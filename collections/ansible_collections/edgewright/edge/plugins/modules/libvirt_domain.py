#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: one libvirt domain, its definition and whether it runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_domain
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Define, start, stop and remove a libvirt domain
description:
  - Manages one libvirt domain that the filter P(edgewright.edge.libvirt_domains#filter) rendered.
  - What libvirt adds to a definition on its own (addresses, controllers, firmware paths) is no difference. What
    somebody changed by hand is one, and the domain gets its definition back.
  - A running domain gets the link states of its network cards at once, and all other changes when it starts next.
  - Disks are never touched. NVRAM and the TPM's state are kept when a domain is removed, like its disks.
requirements:
  - python3-libvirt
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
    details: Definitions are shown as the filter renders them.
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: full
options:
  name:
    description: Name of the domain.
    type: str
    required: true
  xml:
    description:
      - Its definition, as the filter gives it. Required for O(state=present).
      - Without it, an existing domain keeps the definition it has.
    type: str
  state:
    description:
      - V(present) defines it, and leaves it running or off as it is.
      - V(running) starts it too.
      - V(shutdown) defines it if O(xml) is given, asks the guest to shut down, and switches it off after
        O(stop_timeout).
      - V(destroyed) is the same, but switches it off at once, as pulling the plug does.
      - V(absent) stops it like V(shutdown) and removes its definition.
    type: str
    choices: [present, running, shutdown, destroyed, absent]
    default: present
  stop_timeout:
    description: Seconds that the guest gets to shut down.
    type: int
    default: 60
  uri:
    description: Connection to libvirt.
    type: str
    default: qemu:///system
"""

EXAMPLES = r"""
- name: Domains are defined
  edgewright.edge.libvirt_domain:
    name: "{{ item.name }}"
    xml: "{{ item.xml }}"
  loop: "{{ edge_virtual_machines | edgewright.edge.libvirt_domains(edge_site, edge_virtualization) }}"
  loop_control:
    label: "{{ item.name }}"

- name: Till is off
  edgewright.edge.libvirt_domain:
    name: till
    state: shutdown
    stop_timeout: 180
"""

RETURN = r"""
uuid:
  description: UUID of the domain.
  returned: when the domain is there, or would be
  type: str
running:
  description: Whether it runs now, or would.
  returned: success
  type: bool
restart_needed:
  description: Whether it runs with another definition than it has now, so that it takes a stop and a start to get it.
  returned: success
  type: bool
"""

import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_definition import (
    domain_from_xml,
    normal_form,
    runs_as_defined,
    same_definition,
    with_links_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import libvirt  # type: ignore[import-not-found]

    LIBVIRT_ERROR = ""
except ImportError:
    libvirt = None
    LIBVIRT_ERROR = traceback.format_exc()

_PAUSE = 0.5


class Domain:
    """One domain of a connection, there or not.

    Args:
        connection: libvirt's.
        name: of the domain.
        act: false in check mode: then nothing is done, and what would be is reported.
    """

    def __init__(self, connection: Any, name: str, *, act: bool) -> None:
        self._connection = connection
        self._act = act
        found: list[Any] = [each for each in connection.listAllDomains() if each.name() == name]
        self.handle: Any = found[0] if found else None
        self.changed = False
        self.redefined = False
        self.running = self._asked("isActive")
        self.before = self._definition()
        # Not isUpdated(): that is about changes made to the running domain, and false after it was defined anew.
        self.outdated = bool(self.running and self.before and not runs_as_defined(self._live(), self.before))
        self.after = self.before

    def define(self, xml: str) -> None:
        """Give it this definition, unless it has it."""
        if self.before and same_definition(self.before, xml):
            return
        self.changed = self.redefined = True
        self.outdated = self.running and not runs_as_defined(self._live(), xml)
        self.after = xml
        if self._act:
            self.handle = self._connection.defineXML(xml)

    def link(self, xml: str) -> None:
        """Plug and pull the cables of its network cards as the definition has them, if it runs."""
        if not self.running:
            return
        live, cards = with_links_of(xml, self._live())
        for card in cards:
            self._do(partial(self._update, card))
        self.outdated = not runs_as_defined(live, xml)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        self._do(self._start)
        self.running = True

    def stop(self, timeout: int) -> None:
        """Stop it, unless it is off: the guest has ``timeout`` seconds, then it is switched off; 0 at once."""
        if not self.running:
            return
        self._do(lambda: self._stop(timeout))
        self.running = self.outdated = False

    def undefine(self) -> None:
        """Remove its definition, if there is one."""
        if self.handle is None:
            return
        if self.before:
            flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            if "firmware='efi'" in self.before or "<nvram" in self.before:
                flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
            if "<tpm" in self.before:
                flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
            self._do(lambda: self.handle.undefineFlags(flags))
        self.after = ""

    def uuid(self) -> str:
        """Return its UUID, or that of the definition it would get; empty when it is gone."""
        if not self.after:
            return ""
        if self.redefined:
            return domain_from_xml(self.after)[0].uuid
        return str(self.handle.UUIDString())

    def _asked(self, question: str) -> bool:
        return self.handle is not None and bool(getattr(self.handle, question)())

    def _definition(self) -> str:
        if self.handle is None or not self.handle.isPersistent():
            return ""
        return str(self.handle.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def _live(self) -> str:
        return "" if self.handle is None else str(self.handle.XMLDesc())

    def _do(self, action: Callable[[], Any]) -> None:
        self.changed = True
        if self._act:
            action()

    def _update(self, device: str) -> None:
        self.handle.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def _start(self) -> None:
        self.handle.create()

    def _stop(self, timeout: int) -> None:
        deadline = time.monotonic() + timeout
        if timeout:
            self.handle.shutdown()
        while self.handle.isActive() and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        if self.handle.isActive():
            self.handle.destroy()


def apply(domain: Domain, parameters: dict[str, Any]) -> None:
    """Bring a domain into the state asked for.

    Raises:
        EdgeError: it should have a state, but is not there and no definition is given.
    """
    state, xml = parameters["state"], parameters["xml"]
    if state == "absent":
        domain.stop(parameters["stop_timeout"])
        domain.undefine()
        return
    if xml:
        domain.define(xml)
        if state in {"present", "running"}:
            domain.link(xml)
    elif domain.handle is None and state == "running":
        raise EdgeError(
            Problem(parameters["name"], "there is no such domain", remedy="Give its definition with 'xml'.")
        )
    if state == "running":
        domain.start()
    elif state == "shutdown":
        domain.stop(parameters["stop_timeout"])
    elif state == "destroyed":
        domain.stop(0)


def _check_xml(name: str, xml: str) -> None:
    vm, _ = domain_from_xml(xml)
    if vm.name != name:
        raise EdgeError(Problem("xml", "is the definition of another domain", found=vm.name, expected=name))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "xml": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["present", "running", "shutdown", "destroyed", "absent"],
                "default": "present",
            },
            "stop_timeout": {"type": "int", "default": 60},
            "uri": {"type": "str", "default": "qemu:///system"},
        },
        required_if=[("state", "present", ["xml"])],
        supports_check_mode=True,
    )
    if libvirt is None:
        module.fail_json(msg=missing_required_lib("python3-libvirt"), exception=LIBVIRT_ERROR)
    # libvirt prints every error on stderr otherwise, besides raising it.
    libvirt.registerErrorHandler(lambda *_: None, None)
    parameters = module.params
    try:
        if parameters["xml"]:
            _check_xml(parameters["name"], parameters["xml"])
        connection = libvirt.open(parameters["uri"])
        domain = Domain(connection, parameters["name"], act=not module.check_mode)
        apply(domain, parameters)
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except libvirt.libvirtError as error:
        module.fail_json(msg=f"{parameters['name']}: libvirt at {parameters['uri']} refuses: {error}")
    result: dict[str, Any] = {"running": domain.running, "restart_needed": domain.outdated}
    if uuid := domain.uuid():
        result["uuid"] = uuid
    if domain.before != domain.after:
        texts = (normal_form(xml) if xml else "" for xml in (domain.before, domain.after))
        result["diff"] = dict(zip(("before", "after"), texts, strict=True))
    module.exit_json(changed=domain.changed, **result)


if __name__ == "__main__":
    main()
