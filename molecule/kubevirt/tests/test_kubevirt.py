"""What the cluster has after the role ``kubevirt``, asked of its API and of the files."""

from __future__ import annotations

import json
import re
from typing import Any

FOLDER = "/var/lib/rancher/k3s/server/manifests"


def ask(host: Any, path: str) -> Any:
    return json.loads(host.check_output("kubectl get --raw %s", path))


def kubevirt(host: Any) -> Any:
    return ask(host, "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt")


def test_kubevirt_is_the_version_of_the_inventory(host: Any) -> None:
    status = kubevirt(host)["status"]
    assert (status["phase"], status["observedKubeVirtVersion"]) == ("Deployed", "v1.9.1")


def test_settings_are_those_of_a_single_node_without_virtualization(host: Any) -> None:
    spec = kubevirt(host)["spec"]
    assert spec["infra"] == {"replicas": 1}
    assert spec["workloadUpdateStrategy"] == {"workloadUpdateMethods": []}
    configuration = spec["configuration"]
    assert configuration["evictionStrategy"] == "None"
    assert configuration["developerConfiguration"]["useEmulation"] is True
    assert (spec["imagePullPolicy"], configuration["imagePullPolicy"]) == ("IfNotPresent", "IfNotPresent")


def test_templates_are_off(host: Any) -> None:
    configuration = kubevirt(host)["spec"]["configuration"]
    assert configuration["virtTemplateDeployment"] == {"enabled": False}
    assert configuration["developerConfiguration"]["disabledFeatureGates"] == ["Template"]


def test_certificates_outlive_years_of_being_switched_off(host: Any) -> None:
    signed = kubevirt(host)["spec"]["certificateRotateStrategy"]["selfSigned"]
    hours = {name: int(re.match(r"(\d+)h", signed[name]["duration"])[1]) for name in ("ca", "server")}  # type: ignore[index]
    assert hours == {"ca": 10 * 8760, "server": 5 * 8760}


def test_the_operator_runs_once(host: Any) -> None:
    found = ask(host, "/apis/apps/v1/namespaces/kubevirt/deployments/virt-operator")
    assert (found["spec"]["replicas"], found["status"]["availableReplicas"]) == (1, 1)


def test_pods_of_virtual_machines_are_let_be(host: Any) -> None:
    for name in ("kubevirt", "machines"):
        labels = ask(host, f"/api/v1/namespaces/{name}")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_settings_are_applied_before_the_operator_that_reads_them(host: Any) -> None:
    log = host.check_output("journalctl --unit k3s --output cat")
    applied = re.findall(r"Applied manifest at \S+/([a-z-]+)\.yaml", log)
    last = {name: number for number, name in enumerate(applied)}
    upgrade = applied.index("kubevirt-operator", applied.index("kubevirt-operator") + 1)
    assert applied.index("edgewright-kubevirt") < upgrade <= last["kubevirt-operator"]


def test_files_of_what_is_no_longer_wanted_are_gone(host: Any) -> None:
    names = "-name 'edgewright-*' -not -name '*-workloads-*' -o -name '*-operator.yaml'"
    found = host.check_output(f"find {FOLDER} {names}").splitlines()
    assert sorted(path.rpartition("/")[2] for path in found) == [
        "edgewright-kubevirt.yaml",
        "edgewright-namespaces.yaml",
        "edgewright-storage.yaml",
        "kubevirt-operator.yaml",
    ]
    assert {host.file(path).mode for path in found} == {0o600}


def test_disks_of_virtual_machines_outlive_their_claims(host: Any) -> None:
    found = ask(host, "/apis/storage.k8s.io/v1/storageclasses/edgewright-disks")
    assert (found["provisioner"], found["reclaimPolicy"]) == ("rancher.io/local-path", "Retain")
    profile = ask(host, "/apis/cdi.kubevirt.io/v1beta1/storageprofiles/local-path")
    assert profile["spec"]["claimPropertySets"] == [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]
