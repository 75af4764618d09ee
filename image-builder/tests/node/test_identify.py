"""The script that finds out which inventory host a machine is, as the initrd runs it but on made-up machines."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.node_index import index_text
from edgewright.paths import node_dir

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = node_dir() / "dracut/90edgewright/edgewright-identify"
UUID_A, UUID_B = "5f2b0a3e-3f0e-4d0a-9d57-0d9a3d0f6a01", "5f2b0a3e-3f0e-4d0a-9d57-0d9a3d0f6a02"
HOSTS = {
    "alpha": {"edge_node": {"mac": ["52:54:00:00:00:0A", "52:54:00:00:00:1a"], "dmi_uuid": [UUID_A]}},
    "beta": {"edge_node": {"mac": ["52:54:00:00:00:0b"], "dmi_serial": ["Till 42"]}},
    "gamma": {"edge_node": {"dmi_serial": ["SN-GAMMA"], "dmi_uuid": [UUID_B]}},
    "delta": {},
}


@dataclass
class Computer:
    """A machine as the script sees it: sysfs, kernel command line, ESP."""

    macs: list[str] = field(default_factory=lambda: ["00:00:00:00:00:00"])
    serial: str | None = ""
    uuid: str | None = ""
    node_file: bytes | None = None
    arguments: str = "root=/dev/mapper/root quiet"

    def identify(
        self, folder: Path, shell: str, hosts: dict[str, dict[str, object]] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the script on this machine; the index is the one that the builder would make."""
        for number, mac in enumerate(self.macs):
            card = folder / f"sys/class/net/eth{number}"
            card.mkdir(parents=True)
            (card / "address").write_text(mac + "\n")
        dmi = folder / "sys/class/dmi/id"
        dmi.mkdir(parents=True)
        for name, value in (("product_serial", self.serial), ("product_uuid", self.uuid)):
            if value is not None:
                (dmi / name).write_text(value + "\n")
        node_file = folder / "node"
        if self.node_file is not None:
            node_file.write_bytes(self.node_file)
        (folder / "cmdline").write_text(self.arguments + "\n")
        (folder / "index").write_text(index_text(HOSTS if hosts is None else hosts))
        return subprocess.run(
            [shell, str(SCRIPT), str(folder / "index"), str(node_file)],
            env={"SYSFS": str(folder / "sys"), "CMDLINE": str(folder / "cmdline"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    """Debian's sh, and the one that dracut puts into an initrd where it finds it."""
    program = shutil.which(str(request.param))
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    return program


RECOGNISED = {
    "mac": (Computer(macs=["00:00:00:00:00:00", "52:54:00:00:00:0a"]), "alpha mac"),
    "mac, second one of a host": (Computer(macs=["52:54:00:00:00:1a"]), "alpha mac"),
    "two cards of one host": (Computer(macs=["52:54:00:00:00:0a", "52:54:00:00:00:1a"]), "alpha mac"),
    "mac in upper case": (Computer(macs=["52:54:00:00:00:0B"]), "beta mac"),
    "serial": (Computer(serial="SN-GAMMA"), "gamma serial"),
    "serial in other case and with blanks around": (Computer(serial="  sn-gamma  "), "gamma serial"),
    "serial with a blank in it": (Computer(serial="Till 42"), "beta serial"),
    "uuid in upper case": (Computer(uuid=UUID_B.upper()), "gamma uuid"),
    "node file": (Computer(node_file=b"delta\n"), "delta node file"),
    "node file written on Windows": (Computer(node_file=b"\xef\xbb\xbfdelta\r\n"), "delta node file"),
    "node file without a newline": (Computer(node_file=b"delta"), "delta node file"),
    "node file with blanks and empty lines": (Computer(node_file=b"\n\r\n  delta  \r\n"), "delta node file"),
    "kernel argument": (Computer(arguments="quiet edgewright.node=delta ro"), "delta kernel argument"),
    "kernel argument, the only one": (Computer(arguments="edgewright.node=delta"), "delta kernel argument"),
    "no firmware tables at all": (Computer(serial=None, uuid=None, node_file=b"delta"), "delta node file"),
    "an empty node file decides nothing": (
        Computer(node_file=b"\r\n", arguments="edgewright.node=beta"),
        "beta kernel argument",
    ),
    "an empty kernel argument decides nothing": (
        Computer(arguments="edgewright.node= edgewright.node=beta"),
        "beta kernel argument",
    ),
    "mac before serial": (Computer(macs=["52:54:00:00:00:0b"], serial="SN-GAMMA"), "beta mac"),
    "serial before uuid": (Computer(serial="Till 42", uuid=UUID_A), "beta serial"),
    "uuid before node file": (Computer(uuid=UUID_A, node_file=b"delta"), "alpha uuid"),
    "node file before kernel argument": (
        Computer(node_file=b"delta", arguments="edgewright.node=alpha"),
        "delta node file",
    ),
}


@pytest.mark.parametrize(("computer", "answer"), RECOGNISED.values(), ids=RECOGNISED.keys())
def test_recognises_a_machine_by_the_first_source_that_names_a_host(
    computer: Computer, answer: str, shell: str, tmp_path: Path
) -> None:
    done = computer.identify(tmp_path, shell)
    assert (done.stdout, done.returncode) == (f"{answer}\n", 0), done.stderr


REFUSED = {
    "nothing matches": (Computer(macs=["52:54:00:00:00:ff"], serial="X1"), ["no host", "52:54:00:00:00:ff", "'X1'"]),
    "no network card": (Computer(macs=[]), ["no host"]),
    "empty firmware tables": (Computer(serial="", uuid=""), ["no host"]),
    "cards of two hosts": (
        Computer(macs=["52:54:00:00:00:0a", "52:54:00:00:00:0b"]),
        ["two hosts", "by mac", "alpha", "beta"],
    ),
    "cards of two hosts, and a node file": (
        Computer(macs=["52:54:00:00:00:0a", "52:54:00:00:00:0b"], node_file=b"delta"),
        ["two hosts", "by mac"],
    ),
    "unknown name in the node file": (Computer(node_file=b"omega\n"), ["node file", "'omega'", "not in this image"]),
    "unknown name in the node file, known one in the kernel argument": (
        Computer(node_file=b"omega\n", arguments="edgewright.node=delta"),
        ["node file", "'omega'"],
    ),
    "unknown name in the kernel argument": (
        Computer(arguments="edgewright.node=omega"),
        ["kernel argument", "'omega'"],
    ),
    "beginning of a name": (Computer(arguments="edgewright.node=delt"), ["'delt'"]),
    "a path for a name": (Computer(arguments="edgewright.node=../alpha"), ["'../alpha'"]),
    "an argument that only looks like it": (Computer(arguments="x.edgewright.node=delta"), ["no host"]),
}


@pytest.mark.parametrize(("computer", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_says_why_a_machine_is_no_host_and_names_none(
    computer: Computer, words: list[str], shell: str, tmp_path: Path
) -> None:
    done = computer.identify(tmp_path, shell)
    assert (done.stdout, done.returncode) == ("", 1)
    assert all(word in done.stderr for word in words), done.stderr


def test_hosts_that_share_a_serial_number_are_a_contradiction(shell: str, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, object]] = {name: {"edge_node": {"dmi_serial": ["SHARED"]}} for name in ("one", "two")}
    done = Computer(serial="SHARED").identify(tmp_path, shell, hosts)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.strip() == "two hosts of the inventory claim this machine by serial: one two"


def test_an_inventory_in_which_no_host_claims_anything_can_still_be_named(shell: str, tmp_path: Path) -> None:
    done = Computer(node_file=b"solo").identify(tmp_path, shell, {"solo": {}})
    assert (done.stdout, done.returncode) == ("solo node file\n", 0), done.stderr
