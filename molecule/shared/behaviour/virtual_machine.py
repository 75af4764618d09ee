"""What a virtual machine does on every runtime. A scenario's class inherits the tests and says what its runtime is.

The guest is the till of image-builder/guests/till, which counts its starts on its own disk. The tests go on from each
other, in their order.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import parse

if TYPE_CHECKING:
    from scenario import Run

GREETING = "TILL 3.1 (c) 1998"
STARTS = re.compile(r"till: ready, starts so far: (\|+)")
# Others may run the same guest.
NAME = "register"


class Runtime(ABC):
    """What a scenario says of its runtime."""

    @abstractmethod
    def machine(self) -> dict[str, Any]:
        """Return the machine as the inventory has it, with the hardware that the runtime gives, and a network card."""

    @abstractmethod
    def apply(self, machines: list[dict[str, Any]]) -> Run:
        """Run the site's roles with these machines in the inventory."""

    @abstractmethod
    def console(self, host: Any, name: str) -> str:
        """Return what a machine has written to its serial port, of its last start at least."""

    @abstractmethod
    def process(self, host: Any, name: str) -> str:
        """Return the number of the machine's QEMU process; empty if it is off."""

    @abstractmethod
    def link_states(self, host: Any, name: str) -> list[str]:
        """Return ``up`` or ``down`` for each network card that a running machine has, as the hypervisor says."""

    @abstractmethod
    def stop(self, host: Any, name: str) -> None:
        """Stop a machine as its operator does, and return when it is off."""

    @abstractmethod
    def start(self, host: Any, name: str) -> None:
        """Start a machine as its operator does."""

    @abstractmethod
    def power_cycle(self, host: Any) -> None:
        """Cut the node's power, and give it back."""

    @abstractmethod
    def disk(self, name: str) -> str:
        """Return where a machine's first disk is on the node."""


def links_of(domain: str) -> list[str]:
    """Return ``up`` or ``down`` for each network card of a libvirt domain: runtimes have one below them."""
    cards = parse(domain.encode(), where="domain").iterfind("devices/interface")
    links = [card.find("link") for card in cards]
    return ["up" if link is None else str(link.get("state")) for link in links]


class VirtualMachineBehaviour:
    """The tests. ``runtime`` is the scenario's."""

    runtime: ClassVar[Runtime]

    def wait_for_start(self, host: Any, number: int, seconds: float = 180) -> None:
        """Wait until the guest has said that it has started so often, and not more."""
        until = time.monotonic() + seconds
        while len((STARTS.findall(said := self.runtime.console(host, NAME)) or [""])[-1]) < number:
            assert time.monotonic() < until, said[-2000:]
            time.sleep(1)
        assert STARTS.findall(said)[-1] == "|" * number
        assert GREETING in said

    def wait_until_off(self, host: Any, name: str, seconds: float = 60) -> None:
        """Wait until no process of a machine is left."""
        until = time.monotonic() + seconds
        while self.runtime.process(host, name):
            assert time.monotonic() < until
            time.sleep(0.5)

    def test_a_declared_machine_speaks_on_its_console(self, host: Any) -> None:
        self.runtime.apply([self.runtime.machine()])
        self.wait_for_start(host, 1)

    def test_a_second_run_changes_nothing(self, host: Any) -> None:
        before = self.runtime.process(host, NAME)
        assert self.runtime.apply([self.runtime.machine()]).changed == 0
        assert self.runtime.process(host, NAME) == before

    def test_a_cable_is_pulled_and_plugged_while_the_machine_runs(self, host: Any) -> None:
        machine = self.runtime.machine()
        before = self.runtime.process(host, NAME)
        for state in ("down", "up"):
            self.runtime.apply([{**machine, "nics": [{**nic, "link_state": state} for nic in machine["nics"]]}])
            assert self.runtime.link_states(host, NAME) == [state] * len(machine["nics"])
        assert self.runtime.process(host, NAME) == before

    def test_a_killed_machine_returns_by_itself(self, host: Any) -> None:
        host.check_output("kill -9 %s", self.runtime.process(host, NAME))
        self.wait_for_start(host, 2)

    def test_a_machine_stops_and_starts_for_its_operator(self, host: Any) -> None:
        began = time.monotonic()
        self.runtime.stop(host, NAME)
        # It hears no button: it is switched off when its time is over.
        assert time.monotonic() - began >= self.runtime.machine()["stop_timeout"]
        self.wait_until_off(host, NAME)
        time.sleep(20)  # longer than what is killed stays away
        assert self.runtime.process(host, NAME) == ""
        self.runtime.start(host, NAME)
        self.wait_for_start(host, 3)

    def test_a_run_starts_what_its_operator_has_stopped(self, host: Any) -> None:
        self.runtime.stop(host, NAME)
        assert self.runtime.apply([self.runtime.machine()]).changed == 1
        self.wait_for_start(host, 4)

    def test_machines_come_back_after_a_power_cut_and_halted_ones_stay_off(self, host: Any) -> None:
        attic = {**self.runtime.machine(), "name": "attic", "run_policy": "halted", "start_order": 30}
        self.runtime.apply([self.runtime.machine(), attic])
        assert self.runtime.process(host, "attic") == ""
        self.runtime.power_cycle(host)
        self.wait_for_start(host, 5, 600)
        assert self.runtime.process(host, "attic") == ""

    def test_a_machine_that_is_no_longer_declared_is_gone_and_its_disk_is_kept(self, host: Any) -> None:
        self.runtime.apply([])
        self.wait_until_off(host, NAME)
        assert host.file(self.runtime.disk(NAME)).exists
        self.runtime.apply([self.runtime.machine()])
        self.wait_for_start(host, 6)
