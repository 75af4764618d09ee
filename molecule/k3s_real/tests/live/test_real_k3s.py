"""A node with a real k3s: the tests go on from each other."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import yaml
from inference_service import DOUBLE, IMAGE, on_node
from real_site import (
    CHANGED,
    CONVERGE,
    KUBEPODS,
    NODE,
    TOKEN,
    VERSION,
    WORKLOADS,
    Journal,
    cut_power,
    left_the_node,
    pin,
    pinned_images,
    play,
    ready,
    started,
)
from scenario import SCENARIO

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OWN = "docker.io/library/dashboard:2.0.0"
SETTINGS = {
    "disable": ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"],
    "disable-helm-controller": True,
    "default-local-storage-path": "/var/lib/rancher/k3s/volumes",
}
DEPLOYMENT = "kubectl -n edgewright get deployment double -o json"


def locked_images() -> set[str]:
    return set(yaml.safe_load((SCENARIO / "inventory" / "site.lock.yml").read_text())["images"])


def answers(host: Any) -> None:
    service = on_node(host)
    service.wait()
    assert service.infer() == ("1", [3.0, -8.0]), host.check_output("kubectl get events -A --no-headers")


def pod(host: Any) -> str:
    return str(host.check_output("kubectl -n edgewright get pods -o jsonpath='{.items[*].metadata.uid}'"))


# Settings and images


def test_node_is_ready_though_nothing_is_outside(host: Any) -> None:
    assert host.check_output("/etc/edgewright/health.d/k3s") == f"ready, {VERSION}"
    assert "dev uplink0" in host.check_output("ip route show default")


def test_all_images_are_there_for_good(host: Any) -> None:
    assert pinned_images(host) >= locked_images()


def test_a_second_run_changes_nothing(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = started(host)
    run = play(CONVERGE)
    with capsys.disabled():
        print(f"\nsecond run: {run.ran} tasks, {run.seconds:.1f} s")
    assert run.changed == 0
    assert run.ran <= 25
    assert started(host) == before


def test_a_changed_option_restarts_k3s_once_and_nothing_is_imported_again(host: Any) -> None:
    CHANGED["k3s__config"] = SETTINGS
    journal = Journal(host)
    play(CONVERGE)
    assert len(journal.lines(r"Starting k3s v")) == 1
    assert journal.lines("Imported") == []
    assert play(CONVERGE).changed == 0
    assert len(journal.lines(r"Starting k3s v")) == 1
    assert pinned_images(host) >= locked_images()


def test_a_new_image_is_imported_once_while_k3s_runs(host: Any) -> None:
    before, journal = started(host), Journal(host)
    pin(OWN)
    play(CONVERGE)
    until = time.monotonic() + 60
    while not (imports := journal.lines(r"Imported \d+ images")):
        assert time.monotonic() < until
        time.sleep(0.5)
    assert len(imports) == 1
    assert OWN in pinned_images(host)
    assert started(host) == before


# Backup and restore


def backup() -> Path:
    return max((SCENARIO / "backups").glob("*.tar.gz"), key=lambda path: path.name)


def test_a_backup_without_its_token_is_refused_before_anything_changes(host: Any) -> None:
    host.check_output("kubectl create configmap before --from-literal=kept=1")
    play("playbooks/backup.yml")
    work = SCENARIO / "work"
    work.mkdir()
    subprocess.run(["tar", "-xzf", backup(), "-C", work], check=True)
    (work / "server/token").unlink()
    members = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
    tokenless = SCENARIO / "tokenless.tar.gz"
    subprocess.run(["tar", "-czf", tokenless, "-C", work, *members], check=True)
    before = started(host)
    run = play("playbooks/restore.yml", "-e", f"backup={tokenless}", "-e", "confirm=real", fails=True)
    assert "server/token: is missing in the backup" in run.output
    assert started(host) == before


def test_a_reset_leaves_nothing_that_runs(host: Any) -> None:
    play("playbooks/reset.yml", "-e", "confirm=real")
    assert host.run("pgrep -a 'k3s|containerd'").stdout == ""
    assert host.check_output(f"{KUBEPODS}") == ""
    assert host.check_output("find /var/lib/rancher /etc/rancher /var/lib/kubelet -type f 2>/dev/null || :") == ""
    assert host.check_output("findmnt --raw --noheadings --output TARGET | grep -E 'k3s|kubelet/' || :") == ""


def test_a_restore_brings_the_cluster_back(host: Any) -> None:
    play("playbooks/restore.yml", "-e", f"backup={backup()}", "-e", "confirm=real")
    assert host.check_output("kubectl get configmap before -o jsonpath={.data.kept}") == "1"
    assert pinned_images(host) >= locked_images()
    assert play(CONVERGE).changed == 0


# Workloads


def test_changed_arguments_make_another_pod(host: Any) -> None:
    CHANGED["edge_inference_services"] = [DOUBLE]
    CHANGED["inference_services__image_archives"] = {IMAGE: f"{SCENARIO}/inference-server.tar"}
    play(WORKLOADS)
    assert json.loads(host.check_output(DEPLOYMENT))["status"]["availableReplicas"] == 1
    answers(host)
    before = pod(host)
    CHANGED["edge_inference_services"] = [{**DOUBLE, "arguments": ["--log-level", "debug"]}]
    play(WORKLOADS)
    (container,) = json.loads(host.check_output(DEPLOYMENT))["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--log-level", "debug"]
    assert pod(host) != before
    answers(host)


# Failures


def test_a_killed_node_comes_back_by_itself(host: Any) -> None:
    cut_power(host)
    time.sleep(1)
    ready(host)
    answers(host)


def test_a_broken_containerd_store_is_made_anew(host: Any) -> None:
    host.check_output("systemctl stop k3s")
    cut_power(host)
    store = "/var/lib/rancher/k3s/agent/containerd/io.containerd.metadata.v1.bolt/meta.db"
    host.check_output("truncate -s 100 %s", store)
    journal = Journal(host)
    host.check_output("systemctl start k3s")
    ready(host)
    assert journal.lines("containerd's store was broken")
    assert pinned_images(host) >= locked_images()
    answers(host)


def test_a_service_that_is_no_longer_declared_leaves_no_object(host: Any) -> None:
    CHANGED["edge_inference_services"] = []
    CHANGED["inference_services__image_archives"] = {}
    play(WORKLOADS)
    marked = "kubectl get all,networkpolicies,priorityclasses -A -l edgewright.workload=inference-service -o name"
    assert host.check_output(marked) == ""


# After all of it


def test_nothing_has_left_the_node(host: Any) -> None:
    assert left_the_node(host) == "0"


def test_no_secret_is_in_an_argument_or_a_log(host: Any) -> None:
    assert host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -F -- '%s' | grep -v grep", TOKEN).stdout == ""
    assert host.run("journalctl --no-pager | grep -cF -- %s", TOKEN).stdout.strip() == "0"


def test_the_node_is_whole(host: Any) -> None:
    ready(host)
    assert host.check_output("kubectl get node -o jsonpath='{.items[*].metadata.name}'") == NODE
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
