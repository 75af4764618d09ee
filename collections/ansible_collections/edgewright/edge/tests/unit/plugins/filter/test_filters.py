"""The filters as Ansible sees them, and the errors a user reads."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters import libvirt_domains, network_files, quadlets
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible

TILL = {
    "name": "till",
    "memory": "64MiB",
    "machine": "pc",
    "start_order": 20,
    "stop_timeout": 60,
    "disks": [{"source": "build:guests/till", "bus": "ide", "size": "16MiB"}, {"source": "file:b.qcow2"}],
}
BASE = {"name": "base", "memory": "1GiB", "start_order": 10, "run_policy": "manual", "disks": [{"source": "file:a"}]}
SERVICE = {
    "name": "file-type",
    "image": "build:containers/inference-server",
    "models": [{"name": "magika", "version": 2, "source": "file:m.onnx"}],
    "port": 8080,
}
NETWORK = {"interfaces": [{"name": "uplink", "match": {"name": "en*"}, "dhcp": True}]}


def test_domains_come_in_start_order_with_all_a_role_needs():
    base, till = libvirt_domains.libvirt_domains([TILL, BASE], "demo", "emulation")
    assert base.pop("xml").startswith("<domain")
    assert till.pop("xml").startswith("<domain")
    assert till == {
        "name": "till",
        "uuid": "aaec0d5f-bc16-5397-b570-99e035084005",
        "disks": [
            {
                "path": "/var/lib/edgewright/virtual-machines/till/disk0.img",
                "source": "build:guests/till",
                "format": "raw",
                "size": 16 * 1024**2,
            },
            {
                "path": "/var/lib/edgewright/virtual-machines/till/disk1.img",
                "source": "file:b.qcow2",
                "format": "qcow2",
                "size": None,
            },
        ],
        "serial_log": "/var/log/libvirt/qemu/till-serial.log",
        "stop_timeout": 60,
        "run_policy": "always",
        "previous": "base",
    }
    assert (base["name"], base["previous"], base["run_policy"]) == ("base", None, "manual")


def test_quadlets_come_in_start_order_with_all_a_role_needs():
    first, second = quadlets.quadlets(
        [SERVICE, {**SERVICE, "name": "a", "port": 1, "start_order": 1}], "demo", version="0.1.0"
    )
    assert "After=a.service" in second.pop("text")
    assert second == {
        "name": "file-type",
        "file": "file-type.container",
        "unit": "file-type.service",
        "image": "localhost/edgewright/inference-server:0.1.0",
        "model_image": "",
        "images": [
            {"source": "build:containers/inference-server", "name": "localhost/edgewright/inference-server:0.1.0"}
        ],
        "models": [{"name": "magika", "version": 2}],
        "files": [
            {"source": "file:m.onnx", "path": "/var/lib/edgewright/models/file-type/magika/2/model.onnx"},
        ],
        "folders": [
            "/var/lib/edgewright/models/file-type",
            "/var/lib/edgewright/models/file-type/magika",
            "/var/lib/edgewright/models/file-type/magika/2",
        ],
        "port": 8080,
        "exposure": "node",
        "own_port": 8080,
        "proxy": "",
        "stand_in": {},
        "golden": [],
        "check": "/usr/lib/edgewright/check-inference --timeout 5 8080",
        "previous": "a",
    }
    assert (first["name"], first["previous"]) == ("a", None)


def test_a_service_with_two_ports_is_behind_a_proxy_and_has_a_stand_in():
    question = [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}]
    golden = {"model": "magika", "inputs": question, "outputs": [{"name": "y", "data": [3]}]}
    (unit,) = quadlets.quadlets([{**SERVICE, "rolling_ports": [18080, 18081], "golden": [golden]}], "demo", "0.1.0")
    assert (unit["port"], unit["own_port"], unit["stand_in"]["port"]) == (8080, 18080, 18081)
    assert "PublishPort=127.0.0.1:18080:8080" in unit["text"]
    assert "--timeout 5 18080" in unit["text"]
    assert unit["check"].endswith(" 8080")
    text = unit["stand_in"]["text"]
    assert (unit["stand_in"]["file"], unit["stand_in"]["unit"]) == (
        "file-type-next.container",
        "file-type-next.service",
    )
    assert "ContainerName=file-type-next" in text
    # Nothing that a start of the service would find is another while its stand-in is tried.
    assert unit["stand_in"]["folder"] == "/var/lib/edgewright/models-next/file-type"
    assert "Volume=/var/lib/edgewright/models-next/file-type:/models:ro" in text
    assert "Volume=/var/lib/edgewright/models/file-type:/models:ro" in unit["text"]
    assert "PublishPort=127.0.0.1:18081:8080" in text
    assert "CollectMode=inactive-or-failed" in text
    assert "[Install]" not in text
    assert "Restart=" not in text
    assert unit["golden"] == [{**golden, "version": None, "tolerance": 1.0e-5}]


def test_network_files_have_name_and_text():
    (file,) = network_files.network_files(NETWORK)
    assert file["name"] == "10-uplink.network"
    assert "DHCP=yes" in file["text"]


@pytest.mark.parametrize(
    ("call", "texts"),
    [
        (
            lambda: libvirt_domains.libvirt_domains([{}, {**TILL, "memory": "1gb"}], "demo"),
            ["edge_virtual_machines[0].name: is missing", "edge_virtual_machines[1].memory: has the unknown unit 'gb'"],
        ),
        (
            lambda: libvirt_domains.libvirt_domains(
                [BASE, {**TILL, "machine": "q35"}, {**TILL, "name": "b", "machine": "q35"}], "demo"
            ),
            [
                "edge_virtual_machines[1].disks[0].bus: machine q35",
                "edge_virtual_machines[2].disks[0].bus: machine q35",
            ],
        ),
        (
            lambda: quadlets.quadlets(
                [{**SERVICE, "replicas": 2}, {**SERVICE, "name": "b", "port": 1, "replicas": 3}], "demo", version="0"
            ),
            ["edge_inference_services[0].replicas: podman runs", "edge_inference_services[1].replicas: podman runs"],
        ),
        (
            lambda: quadlets.quadlets([{**SERVICE, "port": 0}, {}], "demo", version="0"),
            ["edge_inference_services[0].port: is out of range", "edge_inference_services[1].name: is missing"],
        ),
        (
            lambda: network_files.network_files({"interfaces": [{}], "ntp": 7}),
            ["edge_network.interfaces[0].name: is missing", "edge_network.ntp: must be a list"],
        ),
    ],
    ids=["model", "libvirt", "podman", "service", "network"],
)
def test_every_problem_is_in_the_one_error(call, texts):
    with pytest.raises(AnsibleFilterError) as caught:
        call()
    for text in texts:
        assert text in str(caught.value)


def output(program, *arguments):
    result = ansible(program, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_templates_reach_the_filters_by_their_full_names():
    template = (
        "{{ vms | edgewright.edge.libvirt_domains('demo', 'emulation') | map(attribute='name') | list"
        " + services | edgewright.edge.quadlets('demo', version='1') | map(attribute='file') | list"
        " + net | edgewright.edge.network_files | map(attribute='name') | list }}"
    )
    variables = json.dumps({"vms": [TILL, BASE], "services": [SERVICE], "net": NETWORK})
    stdout = output("ansible", "localhost", "-m", "debug", "-a", json.dumps({"msg": template}), "-e", variables)
    shown = json.loads(stdout[stdout.index("{") :])
    assert shown["msg"] == ["base", "till", "file-type.container", "10-uplink.network"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "filter",
            [
                "k3s_file_set",
                "k3s_files",
                "kubevirt_manifests",
                "libvirt_domains",
                "network_files",
                "quadlets",
                "secret_files",
            ],
        ),
        ("module", ["inference_probe", "libvirt_domain"]),
        ("lookup", ["artifact"]),
    ],
)
def test_ansible_doc_shows_every_plugin(kind, names):
    stdout = output("ansible-doc", "-t", kind, "--json", *(f"edgewright.edge.{name}" for name in names))
    shown = json.loads(stdout)
    for name in names:
        plugin = shown[f"edgewright.edge.{name}"]
        assert plugin["doc"]["short_description"]
        assert plugin["examples"]
        assert plugin["return"]
        if kind == "module":
            assert {"check_mode", "diff_mode", "idempotent"} <= set(plugin["doc"]["attributes"])
