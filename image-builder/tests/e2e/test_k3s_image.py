"""The image of a node that runs k3s, booted with no network; only where a release of k3s is at hand.

No release can be downloaded by a test that must work without a network. A folder laid out like the release page, with
``<version>/{k3s,k3s-images.txt,sha256sum-amd64.txt,k3s-airgap-images-amd64.tar.zst}``, is taken from
EDGEWRIGHT_K3S_MIRROR, else from ``mirror/k3s`` in the cache.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB
from edgewright.paths import default_cache, project_root
from edgewright.question import FileTypeModel, ask

from .booted_node import MINUTE
from .conftest import Build, edgewright

if TYPE_CHECKING:
    from edgewright.store import Store

    from .booted_node import Node
    from .conftest import MakeNode

INVENTORY = Path(__file__).parents[1] / "inventories" / "box-on-k3s"
# Under emulation, beside other work, k3s alone takes minutes.
PATIENCE = 30 * MINUTE
long_test = pytest.mark.skipif(
    not os.environ.get("EDGEWRIGHT_LONG_TESTS"),
    reason="power cuts of a k3s node take half an hour under emulation; EDGEWRIGHT_LONG_TESTS=1 makes them",
)
# Health asks the service itself; that Kubernetes knows of it is asked by these.
AVAILABLE = "kubectl -n edgewright wait --for=condition=Available deployment/file-type --timeout=300s"


@pytest.fixture(scope="module")
def release() -> Path:
    """The folder of the newest release at hand."""
    mirror = Path(os.environ.get("EDGEWRIGHT_K3S_MIRROR") or default_cache() / "mirror" / "k3s")
    found = sorted(mirror.glob("*/k3s-airgap-images-amd64.tar.zst"))
    if not found:
        pytest.skip(f"no release of k3s with its images in {mirror} (EDGEWRIGHT_K3S_MIRROR names another folder)")
    return found[-1].parent


@pytest.fixture(scope="module")
def build(release: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The image, locked and fetched from the mirror alone as far as k3s is concerned."""
    inventory = Path(shutil.copytree(INVENTORY, tmp_path_factory.mktemp("inventories") / "box-on-k3s"))
    images = tmp_path_factory.mktemp("images")
    subprocess.run(["tar", "--zstd", "-xf", release / "k3s-airgap-images-amd64.tar.zst", "-C", images], check=True)
    settings = inventory / "group_vars" / "all.yml"
    variables: dict[str, Any] = yaml.safe_load(settings.read_text())
    variables["edge_kubernetes"]["k3s"] = release.name
    variables["edge_mirrors"] = [
        {"prefix": "https://github.com/k3s-io/k3s/releases/download/", "location": f"file:{release.parent}/"},
        {"prefix": "docker.io/", "location": f"oci:{images}/"},
    ]
    settings.write_text(yaml.safe_dump(variables))
    edgewright("lock", "-i", inventory)
    edgewright("fetch", "-i", inventory)
    edgewright("build", "-i", inventory, "--output", kept / "box-on-k3s")
    return Build(inventory, kept / "box-on-k3s")


@pytest.fixture(scope="module")
def node(build: Build, make_node: MakeNode) -> Node:
    """The machine, healthy."""
    box = make_node("box-on-k3s", build.image, build.host("box-01"), memory=4 * GIB, cpus=2, disk_size=8 * GIB)
    box.start()
    box.wait_healthy(PATIENCE)
    return box


def test_the_node_is_ready_and_nothing_has_failed(node: Node) -> None:
    told = node.ask(
        {
            "ready": "kubectl wait --for=condition=Ready node/box-01 --timeout=60s",
            "failed": "systemctl --failed --no-legend --plain",
            "default route": "ip -o route show default",
        },
        timeout=PATIENCE,
    )
    assert told["ready"] == "node/box-01 condition met"
    assert told["failed"] == ""
    assert "dev dummy0" in told["default route"]


def test_the_model_answers_from_a_pod_whose_image_came_with_the_node(node: Node, build: Build, store: Store) -> None:
    told = node.ask({"available": AVAILABLE, "images": "crictl images --output json"}, timeout=PATIENCE)
    assert "condition met" in told["available"]
    assert "localhost/edgewright/inference-server" in told["images"]
    source = build.host("box-01")["edge_inference_services"][0]["models"][0]["source"]
    magika = FileTypeModel.of(build.lock, store, source)
    features = magika.features((project_root() / "pyproject.toml").read_bytes())
    label, _ = magika.answer(ask(node.url(8080), "magika", features, timeout=5 * MINUTE))
    assert label == "toml"


def test_all_images_come_from_the_verified_root(node: Node) -> None:
    told = node.ask(
        {
            "registry": "systemctl is-active edgewright-registry.service",
            "folder": "findmnt --noheadings --output SOURCE,FSTYPE --target /usr/lib/edgewright/registry",
            "archives": "ls /var/lib/rancher/k3s/agent/images 2>/dev/null || :",
        },
        timeout=PATIENCE,
    )
    assert told["registry"] == "active"
    assert "erofs" in told["folder"]
    assert told["archives"] == ""


def test_a_broken_containerd_store_is_rebuilt_on_site(node: Node) -> None:
    """As a power cut leaves it: the database of images is half a file."""
    ruin = (
        "systemctl stop k3s && pkill containerd-shim; sleep 2; "
        "truncate -s 100 /var/lib/rancher/k3s/agent/containerd/io.containerd.metadata.v1.bolt/meta.db; sync; "
        "systemctl start k3s"
    )
    node.ask({"ruin": ruin}, timeout=PATIENCE)
    node.wait_healthy(PATIENCE)
    told = node.ask({"available": AVAILABLE, "repair": "journalctl --boot --unit k3s --output cat"}, timeout=PATIENCE)
    assert "condition met" in told["available"]
    assert "containerd's store was broken" in told["repair"]


# timedatectl sets the hardware clock too. timesyncd takes the time from the file when the clock is behind it.
SET_CLOCK = (
    "systemctl stop systemd-timesyncd && timedatectl set-time '{time}' && "
    "touch /var/lib/systemd/timesync/clock && systemctl start systemd-timesyncd"
)
YEAR = "%Y-%m-%d %H:%M:%S"


def cut_power(node: Node, clock: datetime.datetime) -> None:
    """Kill all of k3s, set the hardware clock alone, and reboot without a word to anybody (sysrq's b)."""
    boot = node.wait_status()["boot_id"]
    cut = "pkill -KILL k3s; pkill -KILL containerd; systemctl stop systemd-timesyncd; "
    cut += f"timedatectl set-time '{clock:{YEAR}}'; "
    # The shell of this session is to end first.
    cut += "systemd-run --quiet --on-active=2 sh -c 'echo b >/proc/sysrq-trigger'"
    node.ask({"cut": cut}, timeout=PATIENCE)
    node.wait_rebooted(boot, PATIENCE)


def clock_of(node: Node) -> datetime.datetime:
    """Return the time that a node believes in."""
    return datetime.datetime.fromtimestamp(int(node.ask({"clock": "date +%s"})["clock"]), datetime.UTC)


@long_test
def test_power_cut_and_a_clock_that_is_far_ahead(node: Node) -> None:
    """All certificates have expired then. Those made anew are not valid yet once the clock is right again."""
    now = datetime.datetime.now(datetime.UTC)
    cut_power(node, now + datetime.timedelta(days=400))
    node.wait_healthy(PATIENCE)
    assert clock_of(node) > now + datetime.timedelta(days=399)
    assert "condition met" in node.ask({"available": AVAILABLE}, timeout=PATIENCE)["available"]

    node.ask({"set": SET_CLOCK.format(time=f"{datetime.datetime.now(datetime.UTC):{YEAR}}")}, timeout=PATIENCE)
    asked = "until kubectl wait --for=condition=Ready node/box-01 --timeout=60s >/dev/null 2>&1; do sleep 5; done; "
    asked += "k3s certificate check --output json 2>/dev/null"
    told = node.ask({"certificates": asked, "available": AVAILABLE}, timeout=PATIENCE)
    assert {entry["Status"] for entry in json.loads(told["certificates"])["Certificates"]} == {"OK"}
    assert "condition met" in told["available"]


@long_test
def test_power_cut_and_a_clock_without_a_battery(node: Node) -> None:
    """The clock goes on from where it was, for before the cluster's beginning no certificate of it is valid."""
    before = clock_of(node)
    # timesyncd notes the time once a minute.
    node.ask({"noted": "touch /tmp/now && until [ /var/lib/systemd/timesync/clock -nt /tmp/now ]; do sleep 2; done"})
    cut_power(node, datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC))
    node.wait_healthy(PATIENCE)
    assert clock_of(node) > before
    assert "condition met" in node.ask({"available": AVAILABLE}, timeout=PATIENCE)["available"]
