"""What the role ``kubevirt`` declares, applied by a real k3s, with the schemas that KubeVirt and CDI publish as CRDs.

KubeVirt's own programs are not there: what the API server takes and keeps is what is shown.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import Api, ApiError
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_manifests import kubevirt_manifests
from ansible_collections.edgewright.edge.tests.unit import real_k3s

ROOT = Path(__file__).parents[8]
DATA = ROOT.parent / "shared" / "data"
RELEASES = ROOT / "molecule" / "kubevirt" / "releases"
VERSIONS = {"kubevirt": "v1.9.0", "cdi": "v1.66.0"}
KUBEVIRT = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"
SITE = {"nodes": 1, "virtualization": "emulation", "namespaces": ["machines"]}


def structural(definitions, schema):
    """A definition of OpenAPI v2 as a structural schema: references resolved, and nothing that a CRD may not say."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name.endswith("resource.Quantity"):
            return {"x-kubernetes-int-or-string": True}
        if name.endswith(("meta.v1.Time", "meta.v1.Duration", "meta.v1.MicroTime")):
            return {"type": "string"}
        return structural(definitions, definitions[name])
    made = {key: schema[key] for key in ("type", "enum") if isinstance(schema.get(key), str | list)}
    if isinstance(made.get("type"), list):
        made["type"] = next(kind for kind in made["type"] if kind != "null")
    if "properties" in schema:
        made["properties"] = {name: structural(definitions, value) for name, value in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = structural(definitions, schema["additionalProperties"])
    if "items" in schema:
        made["items"] = structural(definitions, schema["items"])
    if "type" not in made:
        return {**made, "x-kubernetes-preserve-unknown-fields": True}
    return made


def release(name, schemas):
    """The operator's manifest of the tests, its CRDs with the schemas that its project publishes."""
    documents = list(yaml.safe_load_all((RELEASES / f"{name}-operator.yaml").read_text()))
    definitions = json.loads((DATA / f"{name}-openapi.json").read_text())["definitions"]
    for document in documents:
        if document["kind"] == "CustomResourceDefinition" and document["spec"]["names"]["kind"] in schemas:
            (version,) = document["spec"]["versions"]
            found = copy.deepcopy(definitions[f"{version['name']}.{document['spec']['names']['kind']}"])
            found["properties"]["metadata"] = {"type": "object"}
            version["schema"]["openAPIV3Schema"] = structural(definitions, found)
    return yaml.safe_dump_all(documents)


@pytest.fixture(scope="module")
def declared():
    if not DATA.is_dir():
        pytest.skip(f"needs the schemas of KubeVirt and CDI, which no checkout has, in {DATA}")
    real_k3s.program()
    operators = {"kubevirt": release("kubevirt", ["KubeVirt"]), "cdi": release("cdi", ["CDI"])}
    return {file["name"]: file["content"] for file in kubevirt_manifests(VERSIONS, SITE, operators)}


@pytest.fixture(scope="module")
def server(declared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("k3s")
    manifests = folder / "data" / "server" / "manifests"
    manifests.mkdir(parents=True)
    for name, content in declared.items():
        (manifests / name).write_text(content)
    with real_k3s.running(folder) as running:
        deadline = time.monotonic() + 120
        while not Path(running.kubeconfig).exists():
            assert time.monotonic() < deadline, (folder / "k3s.log").read_text()[-3000:]
            time.sleep(0.5)
        yield running


@pytest.fixture
def applied(server, run_module):
    """The API once k3s has applied every file, which the role's own module waits for."""
    files = sorted(str(path) for path in server.manifests.glob("*.yaml"))
    result = run_module("kubernetes_wait", manifests=files, kubeconfig=server.kubeconfig, timeout=150)
    assert result.get("ready"), result["msg"]
    return Api(server.kubeconfig)


def document(declared, file, kind, name=None):
    found = [each for each in yaml.safe_load_all(declared[file]) if each["kind"] == kind]
    return next(each for each in found if name in (None, each["metadata"]["name"]))


def test_kubevirt_and_cdi_keep_every_field_that_is_declared(applied, declared):
    """What a schema does not know, the API server drops."""
    for path, file, kind in (
        (KUBEVIRT, "edgewright-kubevirt.yaml", "KubeVirt"),
        ("/apis/cdi.kubevirt.io/v1beta1/cdis/cdi", "edgewright-cdi.yaml", "CDI"),
    ):
        assert applied.get(path)["spec"] == document(declared, file, kind)["spec"]


def test_a_field_that_kubevirt_does_not_know_would_have_been_found(applied, declared):
    wrong = document(declared, "edgewright-kubevirt.yaml", "KubeVirt")
    wrong["metadata"]["name"] = "other"
    wrong["spec"]["configuration"]["developerConfiguration"]["useEmulatoin"] = True
    folder = KUBEVIRT.rpartition("/")[0]
    with pytest.raises(ApiError, match="useEmulatoin"):
        applied.ask("POST", f"{folder}?fieldValidation=Strict&dryRun=All", wrong)


def test_namespaces_let_virtual_machines_pods_be_privileged(applied):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "launcher"},
        "spec": {
            "serviceAccountName": "default",
            "automountServiceAccountToken": False,
            "containers": [{"name": "a", "image": "a:1", "securityContext": {"privileged": True}}],
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    for namespace in ("kubevirt", "cdi", "machines"):
        path = f"/api/v1/namespaces/{namespace}"
        assert applied.get(path)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
        applied.ask("POST", f"{path}/serviceaccounts", account)
        applied.ask("POST", f"{path}/pods?dryRun=All", pod)


def test_the_storage_class_of_disks_is_kubernetes_own(applied):
    found = applied.get("/apis/storage.k8s.io/v1/storageclasses/edgewright-disks")
    assert (found["reclaimPolicy"], found["volumeBindingMode"]) == ("Retain", "WaitForFirstConsumer")


def test_the_operator_has_one_replica_and_keeps_its_image(applied):
    found = applied.get("/apis/apps/v1/namespaces/kubevirt/deployments/virt-operator")["spec"]
    (container,) = found["template"]["spec"]["containers"]
    assert (found["replicas"], container["image"]) == (1, "quay.io/kubevirt/virt-operator:v1.9.0")


def test_a_changed_file_is_not_taken_for_applied(applied, server, run_module):
    file = server.manifests / "edgewright-namespaces.yaml"
    file.write_text(file.read_text().replace("machines", "others"))
    at_once = run_module("kubernetes_wait", manifests=[str(file)], kubeconfig=server.kubeconfig, check=True)
    assert at_once["unmet"] == [f"{file}: k3s has not applied it yet"]
    assert run_module("kubernetes_wait", manifests=[str(file)], kubeconfig=server.kubeconfig, timeout=60)["ready"]
    assert applied.get("/api/v1/namespaces/others") is not None
