"""The filters for k3s and KubeVirt as Ansible sees them."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.k3s_file_set import k3s_file_set
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.k3s_files import k3s_files
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_manifests import kubevirt_manifests
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible

NODE = {"name": "till", "role": "server", "servers": ["till"]}
OPERATOR = """\
kind: Deployment
metadata: {name: virt-operator, creationTimestamp: null, annotations: {built: 2026-01-02, since: "on", sign: =}}
spec: {replicas: 2}
---
"""


def test_files_are_sorted_for_file_set():
    files = k3s_files({}, {**NODE, "cis_profile": True})
    sorted_files = k3s_file_set(files)
    assert [file["path"] for file in sorted_files["secret_files"]] == ["/etc/rancher/k3s/config.yaml"]
    assert len(sorted_files["files"]) + 1 == len(files)
    assert all(set(file) == {"path", "content", "mode"} for file in sorted_files["files"])
    assert sorted_files["affects"]["/etc/sysctl.d/90-kubelet.conf"] == "sysctl"
    assert sorted_files["affects"]["/etc/rancher/k3s/registries.yaml"] == "k3s"
    assert {"path": "/etc/rancher/k3s", "mode": "0700"} in sorted_files["directories"]
    assert "/etc/rancher/k3s/registries.yaml" in sorted_files["absent"]


def test_a_mistake_is_an_error_of_the_filter():
    with pytest.raises(AnsibleFilterError, match=r"k3s__config\.tokn: is no option of k3s server"):
        k3s_files({}, {**NODE, "config": {"tokn": 1}})
    with pytest.raises(AnsibleFilterError, match="supports Kubernetes"):
        kubevirt_manifests({"k3s": "v1.37.1+k3s1", "kubevirt": "v1.9.0"}, {"nodes": 1}, {})
    with pytest.raises(AnsibleFilterError, match="is no YAML"):
        kubevirt_manifests({}, {"nodes": 1}, {"kubevirt": "a: b: c"})


def test_an_operator_s_manifest_keeps_what_it_says():
    files = {file["name"]: file["content"] for file in kubevirt_manifests({}, {"nodes": 1}, {"kubevirt": OPERATOR})}
    namespace, deployment = yaml.safe_load_all(files["kubevirt-operator.yaml"])
    assert namespace["metadata"]["name"] == "kubevirt"
    assert deployment["metadata"]["annotations"] == {"built": "2026-01-02", "since": "on", "sign": "="}
    assert deployment["spec"] == {"replicas": 1}
    assert kubevirt_manifests({"kubevirt": None}, {"nodes": 1}, {}) == []


def test_a_playbook_can_use_them(tmp_path):
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"node": NODE, "operators": {"kubevirt": OPERATOR}},
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ [({} | edgewright.edge.k3s_files(node) | edgewright.edge.k3s_file_set).absent, "
                        "{} | edgewright.edge.kubevirt_manifests({'nodes': 1}, operators)] | to_json }}",
                        "dest": str(tmp_path / "out.json"),
                        "mode": "0600",
                    }
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    result = ansible("ansible-playbook", "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml"))
    assert result.returncode == 0, result.stdout + result.stderr
    absent, manifests = json.loads((tmp_path / "out.json").read_text())
    assert "/etc/rancher/k3s/registries.yaml" in absent
    assert next(file["name"] for file in manifests) == "edgewright-kubevirt.yaml"
