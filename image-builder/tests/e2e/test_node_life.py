"""One node's life on a disk of 4 GiB with no network: first boot, a reboot, a power cut.

Each boot is looked at once, when it is healthy; the tests compare what was seen, in whatever order they run.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgewright.virtual_node import STATUS_PORT

from . import operator_secrets, pcap
from .asked_model import Inference, infer
from .booted_node import MINUTE
from .conftest import edgewright
from .disk_image import boot_entries, extract, partition, partitions, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.store import Store

    from .booted_node import Node
    from .conftest import Build, MakeNode

GIB = 1 << 30
DISK_SIZE = 4 * GIB
STORE = "/var/lib/containers/storage"
ETC = "/var/lib/edgewright/etc/till-01/upper"
TILL_CONSOLE = "/var/log/libvirt/qemu/till-serial.log"
# What is asked of each boot, on the node, when all that a boot starts has been started.
QUESTIONS = {
    "settled": "systemctl is-system-running --wait || :",
    # good: blessed just now; clean: no longer counted (systemd-bless-boot.service(8)).
    "blessed": "until /usr/lib/systemd/systemd-bless-boot status | grep -qwE 'good|clean'; do sleep 1; done;"
    " ls /boot/EFI/Linux",
    "failed": "systemctl list-units --state=failed --output=json",
    "machine_id": "cat /etc/machine-id",
    "host_keys": "cat /etc/ssh/ssh_host_*_key.pub",
    "hostname": "hostname",
    "shadow": "cat /etc/shadow",
    "vm": "virsh --quiet --connect qemu:///system domstate till",
    "vm_console": f"cat {TILL_CONSOLE}",
    "etc": f"cd {ETC} && {{ find . -printf '%p %y %m %u %l\\n'; find . -type f -exec sha256sum {{}} +; }} | sort",
    "seeds": "cd /var/lib/edgewright && find models -type f -exec sha256sum {} + | sort; cat etc/till-01/seeded || :",
    "secret": f"stat --format '%a %U:%G %Y' {operator_secrets.PATH}; sha256sum <{operator_secrets.PATH}",
    "seed": "systemctl show --property ConditionResult edgewright-seed.service;"
    " journalctl --boot --unit edgewright-seed.service --output cat",
    "note": "cat /etc/edgewright-note 2>/dev/null || :",
    # What containers write themselves goes below diff/, where podman makes empty files to mount its own over; an
    # imported image would lie there too, or be listed.
    "own_files": f"find {STORE}/overlay -xdev -path '*/diff/*' -type f -size +0; find {STORE} -xdev -name images.json",
    "own_bytes": f"du --one-file-system --summarize --block-size=1 {STORE}",
    "analysis": "systemd-analyze time",
}
# What no boot after the first can change (and podman takes an emulated node seconds to answer).
FIRST_QUESTIONS = {
    "addresses": "ip -json address show",
    "routes": "ip -json route show",
    "mounts": "findmnt --json --list --bytes --output TARGET,SOURCE,FSTYPE,OPTIONS,SIZE",
    "images": "podman images --format json",
    "containers": "podman ps --format json",
    "medium": "ls -A /boot/edgewright",
    "ports": "nft --json list table inet edgewright-published-ports",
}


@dataclass
class Boot:
    """What was seen of one boot."""

    status: dict[str, Any]
    recognised: tuple[str, str]
    answers: dict[str, str]
    entries: list[str] = field(default_factory=list)

    def json(self, name: str) -> Any:
        """Return an answer that is JSON."""
        return json.loads(self.answers[name])

    @property
    def tally(self) -> int:
        """How often the old till in the VM says it was started."""
        return len(re.findall(r"starts so far: (\|+)", self.answers["vm_console"])[-1])

    def mount(self, target: str) -> dict[str, Any]:
        """Return the uppermost mount on a path."""
        found: dict[str, Any] = [fs for fs in self.json("mounts")["filesystems"] if fs["target"] == target][-1]
        return found


def look(node: Node, starts: int, questions: Mapping[str, str]) -> Boot:
    """Wait until the node is healthy and its guest is up, and see how it is."""
    recognised = node.wait_recognised()
    status = node.wait_healthy()
    # Its console's log goes on from the boot before: that it is ready was said there too. A guest that runs, which is
    # what the node's health asks for, may still be in its firmware.
    ready = f"until grep -qF 'till: ready, starts so far: {'|' * starts}' {TILL_CONSOLE}; do sleep 1; done"
    return Boot(status, recognised, node.ask({"ready": ready, **questions}, timeout=20 * MINUTE))


@pytest.fixture(scope="module")
def node(demo: Build, make_node: MakeNode, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The machine, with a capture of every frame on its link; a secret of its operator's waits on its disk."""
    capture = kept / "node-life.pcap"
    node = make_node("node-life", demo.image, demo.host("till-01"), disk_size=DISK_SIZE, capture=capture)
    folder = tmp_path_factory.mktemp("secrets")
    inventory, password = operator_secrets.with_secret(demo.inventory, "till-01", folder)
    seed = folder / "seed.tar"
    said = edgewright("seed", "-i", inventory, "--vault-password-file", password, "-o", seed)
    assert operator_secrets.SECRET.strip() not in said.stdout + said.stderr
    edgewright("flash", demo.image, node.disk, "--to-file", "--seed", seed)
    os.truncate(node.disk, DISK_SIZE)
    return node


def holds_secret(node: Node, folder: Path) -> bool:
    """Tell whether the secret can be found anywhere on the medium's FAT partition, deleted files included."""
    esp = extract(node.disk, partition(node.image, "esp"), folder / "esp")
    found = operator_secrets.SECRET.encode() in esp.read_bytes()
    esp.unlink()
    return found


def keep_capture(node: Node, boot: str) -> Path:
    """Put a boot's capture aside: QEMU begins the file anew at each start."""
    assert node.capture is not None
    return node.capture.replace(node.capture.with_name(f"node-life-{boot}.pcap"))


@dataclass(frozen=True)
class Life:
    """Three boots and what happened between them."""

    first: Boot
    second: Boot
    third: Boot
    page: dict[str, Any]
    inference: Inference
    etc_after_change: str
    tables: tuple[str, str]
    acknowledged: tuple[str, str]
    state_check: str
    captures: tuple[Path, ...]
    secret_on_medium: tuple[bool, bool]


@pytest.fixture(scope="module")
def life(node: Node, demo: Build, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Live through it."""
    scratch = tmp_path_factory.mktemp("partitions")
    secret_before = holds_secret(node, scratch)
    node.start()
    first = look(node, 1, QUESTIONS | FIRST_QUESTIONS)
    page = node.wait_status()
    inference = infer(node, demo, store)
    after_change = node.ask({"write": "echo kept >/etc/edgewright-note && sync", "etc": QUESTIONS["etc"]})
    node.machine.powerdown(10 * MINUTE)
    captures = [keep_capture(node, "first")]
    first.entries = boot_entries(node.disk)
    secret_after = holds_secret(node, scratch)
    table = run("sfdisk", "--dump", node.disk)

    node.start()
    second = look(node, 2, QUESTIONS)
    # Something is always being written when the power goes; only what was synced has a right to be there afterwards.
    busy = "(while :; do dd if=/dev/zero of=/var/lib/busy bs=1M count=32 status=none; done) >/dev/null 2>&1 &"
    write = "dd if=/dev/urandom of=/var/lib/acknowledged bs=64k count=40 conv=fsync status=none"
    written = node.ask({"sum": f"{busy}\n{write} && sha256sum </var/lib/acknowledged"})["sum"]
    node.machine.kill()
    captures.append(keep_capture(node, "second"))
    second_table = run("sfdisk", "--dump", node.disk)

    node.start()
    third = look(node, 2, QUESTIONS)
    survived = node.ask({"sum": "sha256sum </var/lib/acknowledged"})["sum"]
    node.machine.powerdown(10 * MINUTE)
    captures.append(keep_capture(node, "third"))
    state = extract(node.disk, partition(node.disk, "state"), scratch / "state")
    check = run("e2fsck", "-f", "-n", state)
    state.unlink()
    return Life(
        first,
        second,
        third,
        page,
        inference,
        etc_after_change=after_change["etc"],
        tables=(table, second_table),
        acknowledged=(written, survived),
        state_check=check,
        captures=tuple(captures),
        secret_on_medium=(secret_before, secret_after),
    )


def test_the_node_knows_its_name_by_its_mac_address(life: Life) -> None:
    assert life.first.recognised == ("till-01", "mac")
    assert life.first.status["identity"] == {"node": "till-01", "by": "mac"}
    assert (life.first.status["node"], life.first.status["site"]) == ("till-01", "demo")
    assert life.first.answers["hostname"] == "till-01"


def test_every_health_check_passes_and_no_unit_failed(life: Life) -> None:
    for boot in (life.first, life.second, life.third):
        checks = {check["name"]: check["healthy"] for check in boot.status["health"]["checks"]}
        assert checks == {"units": True, "inference-file-type": True, "seed": True, "vm-till": True}
        assert boot.json("failed") == []
        assert boot.answers["settled"] == "running"


def test_it_has_the_address_of_the_inventory_and_no_way_out(life: Life) -> None:
    addresses = [
        info["local"]
        for link in life.first.json("addresses")
        if link["ifname"].startswith("en")
        for info in link["addr_info"]
        if info["family"] == "inet"
    ]
    assert addresses == ["10.0.2.15"]
    assert [route for route in life.first.json("routes") if route["dst"] == "default"] == []


def test_the_model_answers_as_onnxruntime_does(life: Life) -> None:
    inference = life.inference
    assert len({int(row.argmax()) for row in inference.direct}) > 1, "the questions must have different answers"
    np.testing.assert_array_equal(inference.as_json, inference.as_binary)
    # Scores are from 0 to 1. The node's processor may have other vector instructions, whose sums round otherwise.
    np.testing.assert_allclose(inference.as_binary, inference.direct, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(inference.as_binary.argmax(axis=1), inference.direct.argmax(axis=1))


def test_the_old_till_runs_and_shows_its_prompt_on_its_serial_port(life: Life) -> None:
    assert life.first.answers["vm"] == "running"
    assert "TILL 3.1" in life.first.answers["vm_console"]
    assert "till> " in life.first.answers["vm_console"]
    (machine,) = life.page["virtual_machines"]
    assert (machine["name"], machine["state"]) == ("till", "running")
    assert any("till: ready" in line for line in machine["console_tail"])


def test_the_state_has_grown_to_the_end_of_the_disk(life: Life) -> None:
    assert life.first.mount("/var")["size"] > DISK_SIZE - 2.3 * GIB
    for table in life.tables:
        last = re.findall(r"start= *(\d+), size= *(\d+),.*name=\"state\"", table)
        end = sum(int(number) for number in last[0]) * 512
        # The backup of the table takes the last 33 sectors; repart aligns to 4 KiB (UEFI specification, 5.3.2).
        assert DISK_SIZE - (1 << 20) <= end <= DISK_SIZE - 33 * 512


def test_the_root_is_read_only_and_etc_is_an_overlay_on_the_state(life: Life) -> None:
    assert (life.first.mount("/")["fstype"], life.first.mount("/")["source"]) == ("erofs", "/dev/mapper/root")
    assert "ro" in life.first.mount("/")["options"].split(",")
    assert f"upperdir=/sysroot{ETC}" in life.first.mount("/etc")["options"]


def test_podman_uses_the_image_in_the_root_and_imports_nothing(life: Life) -> None:
    (image,) = life.first.json("images")
    assert image["ReadOnly"] is True
    (container,) = life.first.json("containers")
    assert (container["Names"], container["State"]) == (["file-type"], "running")
    assert container["ImageID"] == image["Id"]
    for boot in (life.first, life.second, life.third):
        assert boot.answers["own_files"] == ""
        # podman's own database and lock files; the image has 250 MB.
        assert int(boot.answers["own_bytes"].split()[0]) < 2_000_000


def test_the_kernel_takes_the_rules_for_published_ports_and_none_stays_closed(life: Life) -> None:
    items = life.first.json("ports")["nftables"]
    hooks = {item["chain"].get("hook") for item in items if "chain" in item}
    assert hooks == {"prerouting", "output", None}
    rules = [item["rule"]["expr"] for item in items if "rule" in item]
    assert sum({"reject": {"type": "tcp reset"}} in rule for rule in rules) == 1
    (closed,) = [item["set"] for item in items if "set" in item]
    assert "elem" not in closed


def test_a_healthy_boot_is_blessed_and_no_longer_counted(life: Life, demo: Build) -> None:
    assert boot_entries(demo.image) == [f"edgewright_{demo.manifest['version']}+5.efi"]
    assert life.first.entries == [f"edgewright_{demo.manifest['version']}.efi"]
    assert life.second.answers["blessed"].split() == life.first.entries


def test_there_is_no_password_and_root_is_locked(life: Life) -> None:
    passwords = {line.split(":")[0]: line.split(":")[1] for line in life.first.answers["shadow"].splitlines()}
    assert passwords["root"] in {"*", "!*", "!"}
    assert {name: word for name, word in passwords.items() if not re.fullmatch(r"[!*]+", word)} == {}


def test_the_node_made_its_own_machine_id_and_host_keys(life: Life) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", life.first.answers["machine_id"])
    assert {line.split()[0] for line in life.first.answers["host_keys"].splitlines()} >= {"ssh-ed25519"}


def test_a_secret_comes_by_the_seed_for_root_alone(life: Life) -> None:
    mode, digest = life.first.answers["secret"].splitlines()
    assert mode.split()[:2] == ["600", "root:root"]
    assert digest.split()[0] == hashlib.sha256(operator_secrets.SECRET.encode()).hexdigest()
    assert f"imported {operator_secrets.PATH}" in life.first.answers["seed"]


def test_nothing_of_the_seed_stays_on_the_medium(life: Life) -> None:
    assert life.first.answers["medium"] == ""
    assert life.secret_on_medium == (True, False)


def test_later_boots_import_nothing(life: Life) -> None:
    for boot in (life.second, life.third):
        assert boot.answers["secret"] == life.first.answers["secret"]
        assert boot.answers["seed"].splitlines()[0] == "ConditionResult=no"
        assert "imported" not in boot.answers["seed"]


def test_a_reboot_changes_nothing(life: Life) -> None:
    for name in ("machine_id", "host_keys", "hostname", "seeds", "shadow"):
        assert life.second.answers[name] == life.first.answers[name], name
    assert life.second.answers["etc"] == life.etc_after_change
    assert life.tables[0] == life.tables[1]
    assert life.second.recognised == life.first.recognised


def test_a_change_in_etc_outlives_a_reboot(life: Life) -> None:
    assert life.first.answers["note"] == ""
    assert life.second.answers["note"] == "kept"


def test_the_old_till_keeps_count_on_its_own_disk(life: Life) -> None:
    assert life.first.tally == 1
    assert life.second.tally == life.first.tally + 1
    assert life.third.tally >= life.second.tally


def test_after_a_power_cut_the_node_comes_back_with_what_was_synced(life: Life) -> None:
    written, survived = life.acknowledged
    assert survived == written
    for name in ("machine_id", "host_keys", "seeds", "note"):
        assert life.third.answers[name] == life.second.answers[name], name
    assert life.third.answers["vm"] == "running"
    assert "clean" in life.state_check or re.search(r"state: \d+/\d+ files", life.state_check), life.state_check


def test_no_packet_seeks_the_outside_in_any_boot(life: Life) -> None:
    network = ipaddress.IPv4Network("10.0.2.0/24")
    for capture in life.captures:
        frames = pcap.frames(capture)
        listed = run("tcpdump", "--no-promiscuous-mode", "-nnt", "-r", capture).splitlines()
        assert len([line for line in listed if line.startswith(("IP", "ARP"))]) >= len(frames) > 0
        sent = [frame for frame in frames if frame.source_mac == "52:54:00:ed:9e:01"]
        assert any(frame.source_port == STATUS_PORT for frame in sent), "the node's own answers are not in the capture"
        offenders = sorted({problem for frame in sent if (problem := pcap.seeks_outside(frame, network))})
        assert offenders == [], capture.name


def test_the_figures_of_the_boots_are_kept(life: Life, kept: Path) -> None:
    figures = {
        name: {"analysis": boot.answers["analysis"], "uptime_when_healthy": boot.status["uptime"]}
        for name, boot in (("first", life.first), ("second", life.second), ("after power cut", life.third))
    }
    (kept / "boot.json").write_text(json.dumps(figures, indent=2) + "\n")
    assert all(re.search(r"Startup finished in .* = ", each["analysis"]) for each in figures.values())


def test_partitions_are_those_of_the_image_but_for_the_state(node: Node, demo: Build, life: Life) -> None:
    del life
    assert partitions(node.disk)[:-1] == partitions(demo.image)[:-1]
