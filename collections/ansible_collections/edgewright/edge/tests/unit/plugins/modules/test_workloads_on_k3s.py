"""The workloads of ``inventories/shop``, applied by a real k3s, with the schema of machines that KubeVirt publishes.

Nothing runs there: what the API server takes and keeps is what is shown, and that what is removed is gone.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import Api
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubernetes_inference_services import (
    kubernetes_inference_services,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_virtual_machines import (
    kubevirt_virtual_machines,
)
from ansible_collections.edgewright.edge.tests.unit import real_k3s
from ansible_collections.edgewright.edge.tests.unit.plugins.modules.test_kubevirt_on_k3s import DATA, ROOT, structural

SHOP = ROOT / "inventories" / "shop" / "group_vars" / "all.yml"
NAMESPACED = "namespaces/edgewright"
ADDON = "edgewright-workloads-000010-inference-service-file-type"


def definition():
    """KubeVirt's CRD of machines: its operator makes it of the same types that its schema is made of."""
    definitions = json.loads((DATA / "kubevirt-openapi.json").read_text())["definitions"]
    schema = definitions["v1.VirtualMachine"]
    schema["properties"]["metadata"] = {"type": "object"}
    names = {"kind": "VirtualMachine", "plural": "virtualmachines", "singular": "virtualmachine"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "virtualmachines.kubevirt.io"},
        "spec": {
            "group": "kubevirt.io",
            "names": names,
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": structural(definitions, schema)},
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def files():
    if not DATA.is_dir():
        pytest.skip(f"needs KubeVirt's schema, which no checkout has, in {DATA}")
    shop = yaml.safe_load(SHOP.read_text())
    services = kubernetes_inference_services({"shop-01": shop["edge_inference_services"]}, "shop", "1.0")
    machines = kubevirt_virtual_machines({"shop-01": shop["edge_virtual_machines"]}, "shop")
    return {file["name"]: file["content"] for file in services["files"] + machines["files"]}


@pytest.fixture(scope="module")
def server(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("k3s")
    real_k3s.program()
    manifests = folder / "data" / "server" / "manifests"
    manifests.mkdir(parents=True)
    (manifests / "a-definition.yaml").write_text(yaml.safe_dump(definition()))
    for name, content in files.items():
        (manifests / name).write_text(content)
    with real_k3s.running(folder) as running:
        deadline = time.monotonic() + 120
        while not Path(running.kubeconfig).exists():
            assert time.monotonic() < deadline, (folder / "k3s.log").read_text()[-3000:]
            time.sleep(0.5)
        yield running


@pytest.fixture
def applied(server, files, run_module):
    """The API once k3s has applied every file."""
    paths = [str(server.manifests / name) for name in files if (server.manifests / name).exists()]
    result = run_module("kubernetes_wait", manifests=paths, kubeconfig=server.kubeconfig, timeout=150)
    assert result.get("ready"), result["msg"]
    return Api(server.kubeconfig)


def declared(files, kind):
    documents = [document for content in files.values() for document in yaml.safe_load_all(content)]
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def test_the_virtual_machine_keeps_every_field(applied, files):
    """What a schema does not know, the API server drops."""
    found = applied.get(f"/apis/kubevirt.io/v1/{NAMESPACED}/virtualmachines/till")
    assert found["spec"] == declared(files, "VirtualMachine")["spec"]


def test_the_service_s_pod_is_what_the_api_server_lets_be(applied, files):
    found = applied.get(f"/apis/apps/v1/{NAMESPACED}/deployments/file-type")["spec"]["template"]["spec"]
    wanted = declared(files, "Deployment")["spec"]["template"]["spec"]
    assert found["securityContext"] == wanted["securityContext"]
    assert found["affinity"] == wanted["affinity"]
    assert found["containers"][0]["ports"] == wanted["containers"][0]["ports"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "try"},
        "spec": {**wanted, "serviceAccountName": "x"},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}
    applied.ask("POST", f"/api/v1/{NAMESPACED}/serviceaccounts", account)
    applied.ask("POST", f"/api/v1/{NAMESPACED}/pods?dryRun=All", pod)


def test_disks_are_volumes_of_the_node(applied):
    volume = applied.get("/api/v1/persistentvolumes/edgewright-till-disk0-shop-01")
    assert volume["spec"]["local"] == {"path": "/var/lib/edgewright/virtual-machines/till/disk0"}
    claim = applied.get(f"/api/v1/{NAMESPACED}/persistentvolumeclaims/till-disk0-shop-01")
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]


def test_what_is_removed_is_gone_and_comes_back_when_it_is_declared_again(applied, files, server, run_module):
    """K3s alone leaves the objects, and would not apply a file that it has a note of."""
    file = server.manifests / f"{ADDON}.yaml"
    file.unlink()
    deployment = f"/apis/apps/v1/{NAMESPACED}/deployments/file-type"
    assert applied.get(deployment) is not None
    marks = {"edgewright.workload": "inference-service"}
    objects = [
        {"kind": "deployments.apps", "namespace": "edgewright", "labels": marks},
        {"kind": "services", "namespace": "edgewright", "labels": marks},
        {"kind": "priorityclasses.scheduling.k8s.io", "labels": marks},
        {"kind": "addons.k3s.cattle.io", "namespace": "kube-system", "pattern": ADDON},
    ]
    gone = run_module("kubernetes_absent", objects=objects, kubeconfig=server.kubeconfig, timeout=3)
    # No controller runs here that would end what an object has made: what waits for that is let go by hand.
    for _ in objects:
        if gone.get("failed"):
            waiting = gone["deleted"][-1]
            assert gone["msg"] == f"{waiting}: is still there 3 s after it was deleted"
            applied.patch(waiting, {"metadata": {"finalizers": None}})
            gone = run_module("kubernetes_absent", objects=objects, kubeconfig=server.kubeconfig, timeout=3)
    assert "failed" not in gone, gone
    assert applied.get(deployment) is None
    file.write_text(files[file.name])
    assert run_module("kubernetes_wait", manifests=[str(file)], kubeconfig=server.kubeconfig, timeout=60)["ready"]
    assert applied.get(deployment) is not None
