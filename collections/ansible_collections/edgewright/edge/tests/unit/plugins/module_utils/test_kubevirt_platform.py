from __future__ import annotations

import copy
import re

import jsonschema
import kubernetes_validate
import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import (
    Certificates,
    Virtualization,
    adapt_operator,
    cdi_object,
    kubevirt_object,
    manifests,
    namespace_object,
    storage_objects,
)
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate
from hypothesis import given
from hypothesis import strategies as st

ONE, THREE = Virtualization(1), Virtualization(3)
OPERATOR = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "o", "namespace": "kubevirt"}},
    None,
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt", "labels": {"kubevirt.io": ""}}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "virt-operator"}, "spec": {"replicas": 2}},
]


def hours(duration):
    return int(re.fullmatch(r"([0-9]+)h0m0s", duration)[1])


@pytest.mark.parametrize("site", [ONE, THREE, Virtualization(2, emulation=True)])
def test_kubevirt_and_cdi_know_every_field(site):
    validate(kubevirt_object(site))
    validate(cdi_object(site))


def test_a_field_that_they_do_not_know_is_found():
    wrong = kubevirt_object(ONE)
    wrong["spec"]["configuration"]["developerConfiguration"]["useEmulatoin"] = True
    with pytest.raises(jsonschema.ValidationError, match="useEmulatoin"):
        validate(wrong)
    wrong = namespace_object("a")
    wrong["spek"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="spek"):
        validate(wrong)


def test_kubernetes_knows_every_field():
    validate(storage_objects(cdi=True)[0])
    validate(namespace_object("machines"))


def test_one_node_keeps_one_copy_and_never_waits_for_a_migration():
    spec = kubevirt_object(ONE)["spec"]
    assert spec["infra"] == {"replicas": 1}
    assert spec["configuration"]["evictionStrategy"] == "None"
    assert spec["workloadUpdateStrategy"] == {"workloadUpdateMethods": []}
    infra = cdi_object(ONE)["spec"]["infra"]
    assert [value for key, value in infra.items() if key.endswith("Replicas")] == [1, 1, 1]


def test_several_nodes_move_what_can_move():
    spec = kubevirt_object(THREE)["spec"]
    assert spec["infra"] == {"replicas": 2}
    assert spec["configuration"]["evictionStrategy"] == "LiveMigrateIfPossible"
    assert spec["workloadUpdateStrategy"] == {"workloadUpdateMethods": ["LiveMigrate"]}
    assert cdi_object(THREE)["spec"]["infra"]["apiServerReplicas"] == 2


def test_emulation_is_only_where_the_inventory_says_so():
    developer = kubevirt_object(ONE)["spec"]["configuration"]["developerConfiguration"]
    assert developer == {"disabledFeatureGates": ["Template"]}
    emulated = kubevirt_object(Virtualization.from_role({"nodes": 1, "virtualization": "emulation"}))
    assert emulated["spec"]["configuration"]["developerConfiguration"]["useEmulation"] is True


def test_certificates_outlive_years_without_power():
    signed = kubevirt_object(ONE)["spec"]["certificateRotateStrategy"]["selfSigned"]
    assert {name: hours(signed[name]["duration"]) for name in signed} == {"ca": 87600, "server": 43800}
    assert set(cdi_object(ONE)["spec"]["certConfig"]) == {"ca", "server", "client"}


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12000))
def test_no_certificate_is_renewed_before_it_begins(ca, server, days):
    data = {"ca_years": ca, "server_years": server, "renew_days": days}
    if server > ca or days >= server * 365:
        with pytest.raises(EdgeError, match=r"kubevirt__certificates\.(server_years|renew_days)"):
            Certificates.from_inventory(data)
        return
    site = Virtualization.from_role({"nodes": 1, "certificates": data})
    kubevirt = kubevirt_object(site)["spec"]["certificateRotateStrategy"]["selfSigned"]
    for config in (*kubevirt.values(), *cdi_object(site)["spec"]["certConfig"].values()):
        assert hours(config["renewBefore"]) <= hours(config["duration"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "nodes: is missing"),
        ({"nodes": 0}, "nodes: is out of range"),
        ({"nodes": 1, "virtualization": "none"}, "virtualization: is not one of the choices"),
        ({"nodes": 1, "namespaces": ["A b"]}, "namespaces[0]: is not an RFC 1123 label"),
        ({"nodes": 1, "certificates": {"ca": 1}}, "kubevirt__certificates.ca: unknown key"),
    ],
)
def test_a_wrong_cluster_is_refused(data, text):
    with pytest.raises(EdgeError) as caught:
        Virtualization.from_role(data)
    assert text in str(caught.value)


def test_disks_outlive_their_claims_and_cdi_knows_both_classes():
    disks, *profiles = storage_objects(cdi=True)
    assert (disks["reclaimPolicy"], disks["volumeBindingMode"]) == ("Retain", "WaitForFirstConsumer")
    assert [profile["metadata"]["name"] for profile in profiles] == ["edgewright-disks", "local-path"]
    assert profiles[0]["spec"] == {
        "claimPropertySets": [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]
    }
    assert storage_objects(cdi=False) == [disks]


def test_an_operator_is_adapted_and_its_manifest_left_alone():
    before = copy.deepcopy(OPERATOR)
    namespace, account, deployment = adapt_operator(OPERATOR, namespace="kubevirt", single=True)
    assert before == OPERATOR
    assert namespace["metadata"]["labels"] == {
        "kubevirt.io": "",
        "pod-security.kubernetes.io/audit": "privileged",
        "pod-security.kubernetes.io/enforce": "privileged",
        "pod-security.kubernetes.io/warn": "privileged",
    }
    assert account["kind"] == "ServiceAccount"
    assert deployment["spec"]["replicas"] == 1
    assert adapt_operator(OPERATOR, namespace="kubevirt", single=False)[2]["spec"]["replicas"] == 2
    assert adapt_operator(OPERATOR, namespace="kubevirt", single=True) == [namespace, account, deployment]


def test_a_namespace_that_is_not_there_is_made():
    first, *_ = adapt_operator(OPERATOR[3:], namespace="cdi", single=True)
    assert first == namespace_object("cdi")


def test_what_is_no_operator_is_refused():
    with pytest.raises(
        EdgeError, match=r"kubevirt-operator\.yaml: holds no Deployment; found Namespace, ServiceAccount"
    ):
        adapt_operator(OPERATOR[:3], namespace="kubevirt", single=True, where="kubevirt-operator.yaml")
    with pytest.raises(EdgeError, match="found nothing"):
        adapt_operator(["<html>"], namespace="kubevirt", single=True)


def test_the_files_follow_from_the_platform():
    plain = Platform()
    assert [name for name, _ in manifests(plain, ONE, {"kubevirt": OPERATOR})] == [
        "edgewright-kubevirt.yaml",
        "edgewright-storage.yaml",
        "kubevirt-operator.yaml",
    ]
    whole = Platform(cdi="v1.66.0")
    site = Virtualization(1, namespaces=("machines",))
    files = dict(manifests(whole, site, {"kubevirt": OPERATOR, "cdi": OPERATOR[3:]}))
    assert len(files) == 6
    assert files["edgewright-namespaces.yaml"] == [namespace_object("machines")]
    names = [
        (e["kind"], e["metadata"]["name"]) for entries in files.values() for e in entries if e["kind"] == "Namespace"
    ]
    assert sorted(names) == [("Namespace", "cdi"), ("Namespace", "kubevirt"), ("Namespace", "machines")]
    assert manifests(Platform(kubevirt=None), ONE, {}) == []
    with pytest.raises(EdgeError, match=r"cdi-operator\.yaml: holds no Deployment"):
        manifests(whole, ONE, {"kubevirt": OPERATOR})
