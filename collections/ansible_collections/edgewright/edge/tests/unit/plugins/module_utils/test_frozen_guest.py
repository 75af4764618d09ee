"""That no guest stays frozen, by stand-ins for libvirt and virsh; real guests are Molecule's (``virtual_machines``)."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import frozen_guest


class Libvirt:
    """What of the binding is used."""

    VIR_ERR_INTERNAL_ERROR = 1
    VIR_ERR_AGENT_UNRESPONSIVE = 86
    VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK = -2

    class libvirtError(Exception):  # noqa: N801 - as libvirt calls it
        def __init__(self, code):
            super().__init__(f"error {code}")
            self.code = code

        def get_error_code(self):
            return self.code


class Domain:
    """A guest whose agent answers, or fails with an error."""

    def __init__(self, error=0):
        self.error = error

    def connect(self):
        return self

    def getURI(self):  # noqa: N802 - as libvirt calls it
        return "test:///guest"

    def name(self):
        return "till"

    def agentSetResponseTimeout(self, _seconds):  # noqa: N802 - as libvirt calls it
        pass

    def answer(self):
        if self.error:
            raise Libvirt.libvirtError(self.error)
        return 2

    fsFreeze = fsThaw = answer  # noqa: N815 - as libvirt calls it


@pytest.fixture
def thaws(tmp_path, monkeypatch):
    """A virsh whose third call succeeds; gives what it was asked. Nothing sleeps."""
    log = tmp_path / "log"
    log.touch()
    for name, text in (("virsh", f'echo "$*" >>{log}; [ "$(wc -l <{log})" -ge 3 ]'), ("sleep", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda: log.read_text().splitlines()


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (0, 0),
        # The agent may freeze yet: it is asked until it answers.
        (Libvirt.VIR_ERR_AGENT_UNRESPONSIVE, 3),
        # It answered that it does not freeze.
        (Libvirt.VIR_ERR_INTERNAL_ERROR, 1),
    ],
)
def test_a_guest_is_thawed_however_late_its_agent_answers(thaws, error, calls):
    with frozen_guest.frozen(Libvirt, Domain(error)) as (count, why):
        assert (count, bool(why)) == ((0, True) if error else (2, False))
    assert thaws() == ["--quiet --connect test:///guest domfsthaw till"] * calls


def test_a_guest_is_thawed_though_the_block_fails(thaws):
    with pytest.raises(RuntimeError), frozen_guest.frozen(Libvirt, Domain()):
        raise RuntimeError
    assert thaws() == []


def test_the_stand_by_thaws_when_its_master_dies(thaws):
    command = ["sh", "-c", frozen_guest._STAND_BY, "test:///guest", "till"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    assert len(thaws()) == 3
