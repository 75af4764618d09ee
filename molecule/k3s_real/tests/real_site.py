"""A scenario's site: its playbooks as its operator runs them, and what its one node says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import scenario
from scenario import PROJECT, SCENARIO, Run

if TYPE_CHECKING:
    from pathlib import Path

HERE = PROJECT / "molecule" / "k3s_real"
CONVERGE = HERE / "converge.yml"
WORKLOADS = HERE / "workloads.yml"
NODE = scenario.NODE.replace("_", "-")
TOKEN = os.environ.get("MOLECULE_K3S_TOKEN") or "token-of-a-test-0123456789abcdef"
VERSION = (SCENARIO / "version").read_text()
# What the inventory has that is other than the scenario's; tests go on from each other.
CHANGED: dict[str, Any] = {}
KUBEPODS = "grep -l kubepods /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3"
# The table "inet outside" is the scenario's own. A pod's interfaces go with its network namespace. A namespace can be
# mounted twice and goes at once, and systemd starts k3s again meanwhile, which unmounts too: what is mounted is asked
# for each time.
FORGET = r"""set -e
mounted() {
    cut -d" " -f2 /proc/self/mounts | grep -E "^/(run/(k3s|netns/cni-)|var/lib/kubelet/pods)" | sort -r | head -n 1
}
for _ in $(seq 500); do
    mount=$(mounted)
    [ -n "$mount" ] || break
    umount -l "$mount" 2>/dev/null || :
done
[ -z "$(mounted)" ]
rm -rf /run/k3s /run/flannel /run/containerd /run/netns/cni-*
ls /sys/class/net | grep -E "^(cni|flannel)" | xargs -r -n 1 ip link delete
nft list tables | sed -nE "s/^table (ip6? .*)/delete table \1/p" | nft -f -
"""


def play(playbook: str | Path, *arguments: str, fails: bool = False) -> Run:
    """Run a playbook; it must end as it is said to."""
    return scenario.play(playbook, *arguments, node=NODE, variables=CHANGED, secret=TOKEN, fails=fails)


def pin(*more: str) -> None:
    """Pin the release at hand again, with images of the site's own, and files by ``SOURCE=FILE``."""
    models = [f"file:scaled-{factor}.onnx={SCENARIO}/models/scaled-{factor}.onnx" for factor in (2, 3)]
    tool = [sys.executable, str(HERE / "tools" / "pin_release.py"), f"{SCENARIO}/inventory", f"{SCENARIO}/cache"]
    subprocess.run([*tool, *models, *more], check=True, capture_output=True)


def ready(host: Any, seconds: float = 240) -> None:
    """Wait until the node's own health check is content."""
    until = time.monotonic() + seconds
    while host.run("/etc/edgewright/health.d/k3s").rc != 0:
        assert time.monotonic() < until, host.check_output("journalctl -u k3s -n 40 --no-pager -o cat")
        time.sleep(1)


def started(host: Any) -> str:
    """Return when k3s was started, and how often systemd had to do it again."""
    return str(host.check_output("systemctl show -P ExecMainStartTimestampMonotonic -P NRestarts k3s"))


class Journal:
    """What k3s logs from now on."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.cursor = host.check_output("journalctl -u k3s -n 0 --show-cursor -q | sed -n 's/^-- cursor: //p'")

    def lines(self, pattern: str) -> list[str]:
        """Return the lines in which a pattern is found."""
        said = self.host.check_output("journalctl -u k3s --no-pager -o cat --after-cursor=%s", self.cursor)
        return [line for line in said.splitlines() if re.search(pattern, line)]


def pinned_images(host: Any) -> set[str]:
    """Return the names of the images that containerd has and the kubelet never removes."""
    listed = host.check_output("ctr -n k8s.io images ls").splitlines()[1:]
    return {line.split()[0] for line in listed if "io.cattle.k3s.pinned=pinned" in line}


def left_the_node(host: Any) -> str:
    """Return how many packets have left the node since it was booted."""
    counters = host.check_output("nft list counters | tr -s '\\n\\t ' ' '")
    (packets,) = re.findall(r"counter departures { packets (\d+) ", counters)
    return str(packets)


def power_cycle(host: Any) -> None:
    """Cut the node's power and give it back; nothing has left the node until then."""
    assert left_the_node(host) == "0"
    scenario.power_cycle(NODE)
    until = time.monotonic() + 60
    while host.run("systemctl is-system-running").stdout.strip() not in ("running", "degraded", "starting"):
        assert time.monotonic() < until
        time.sleep(0.5)
    ready(host, 600)


def cut_power(host: Any) -> None:
    """End k3s, containerd and all containers, and leave of them what a power cut leaves: what is on the disk.

    What a node's kernel and /run forget goes too: mounts, interfaces, packet filters, tracked connections.
    """
    host.check_output("systemctl kill --kill-whom=all --signal=KILL k3s.service")
    host.run(f"kill -9 $({KUBEPODS})")
    host.check_output(FORGET)
    host.check_output("/var/lib/rancher/k3s/data/current/bin/aux/conntrack -F")
