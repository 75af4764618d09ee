"""That no guest stays frozen, by stand-ins for libvirt and virsh; real guests are Molecule's (``virtual_machines``)."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import frozen_guest
from ansible_collections.edgewright.edge.tests.unit.libvirt_stand_in import LIBVIRT, LibvirtError


def guest(error=0):
    """A guest whose agent answers, or fails with an error."""

    def answer():
        if error:
            raise LibvirtError(error)
        return 2

    return SimpleNamespace(
        connect=lambda: SimpleNamespace(getURI=lambda: "test:///guest"),
        name=lambda: "till",
        agentSetResponseTimeout=lambda _seconds: None,
        fsFreeze=answer,
        fsThaw=answer,
    )


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
        (LIBVIRT.VIR_ERR_AGENT_UNRESPONSIVE, 3),
        # It answered that it does not freeze.
        (LIBVIRT.VIR_ERR_INTERNAL_ERROR, 1),
    ],
)
def test_a_guest_is_thawed_however_late_its_agent_answers(thaws, error, calls):
    with frozen_guest.frozen(LIBVIRT, guest(error)) as (count, why):
        assert (count, bool(why)) == ((0, True) if error else (2, False))
    assert thaws() == ["--quiet --connect test:///guest domfsthaw till"] * calls


def test_a_guest_is_thawed_though_the_block_fails(thaws):
    with pytest.raises(RuntimeError), frozen_guest.frozen(LIBVIRT, guest()):
        raise RuntimeError
    assert thaws() == []


def test_the_stand_by_thaws_when_its_master_dies(thaws):
    command = ["sh", "-c", frozen_guest._STAND_BY, "test:///guest", "till"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    assert len(thaws()) == 3
