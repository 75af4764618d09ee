"""Workloads of a site as objects of Kubernetes, held against the schemas of Kubernetes and KubeVirt."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.accelerator import Accelerator
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_probes import Probes
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    InferenceService,
    Resources,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_service import (
    refusals,
    service_objects,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_virtual_machine import machine_objects
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    Cpu,
    Disk,
    Nic,
    VirtualMachine,
    disk_path,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubernetes_inference_services import (
    kubernetes_inference_services,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_virtual_machines import (
    kubevirt_virtual_machines,
)
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

SERVICE = InferenceService(
    "file-type",
    "build:containers/inference-server",
    (Model("magika", 1, "file:a.onnx"),),
    port=8080,
    container_port=8000,
    arguments=("--greeting", "$(HOME) costs $5"),
    environment={"B": "$(A)", "A": "1"},
    resources=Resources(1500, 512 * 1024**2),
    priority=80,
)
VM = VirtualMachine(
    "till",
    "d59a4627-01b2-5ac0-943c-bf3e8d4ba6df",
    Cpu(1, 2, 2, "qemu64"),
    32 * 1024**2,
    (Disk("file:a.img", "sata", 2, serial="ABC"), Disk("file:b.img", "virtio", 1)),
    (Nic("default", "e1000", "52:54:00:12:34:56"),),
    stop_timeout=7,
)
CARD = Accelerator("nvidia.com/gpu", 2, "nvidia", ("nvidia.com/gpu=all",), (992,))
DECLARED = [
    {"name": "a", "image": "build:containers/x", "port": 80, "models": [{"name": "m", "source": "file:m.onnx"}]}
]
MACHINES = [{"name": "v", "memory": "1GiB", "disks": [{"source": "file:v.img"}]}]


def of_kind(objects, kind):
    return [entry for entry in objects if entry["kind"] == kind]


def service(**changes):
    changed = dataclasses.replace(SERVICE, **changes)
    return service_objects(
        changed, site="shop", image="localhost/x:1", nodes=("n1", "n2"), model_image="registry.lan/models/shelf:5"
    )


def pod_of(objects):
    (deployment,) = of_kind(objects, "Deployment")
    return deployment["spec"]["template"]["spec"]


def machine(**changes):
    return machine_objects(dataclasses.replace(VM, **changes), site="shop", node="n1")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arguments": (), "environment": {}},
        {"resources": Resources()},
        {"resources": Resources(10, None)},
        {"replicas": 2},
        {"exposure": "internal", "dns": True},
        {"model_image": "registry.lan/models/shelf:5"},
        {"accelerator": CARD},
    ],
)
def test_kubernetes_knows_every_field_of_a_service(changes):
    for entry in service(**changes):
        validate(entry)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nics": ()},
        {"firmware": "uefi"},
        {"firmware": "uefi", "secure_boot": True},
        {"timezone": "Europe/Berlin", "graphics": "none", "run_policy": "halted"},
        {"run_policy": "manual"},
    ],
)
def test_kubernetes_and_kubevirt_know_every_field_of_a_machine(changes):
    for entry in machine(**changes):
        validate(entry)


def test_a_service_answers_at_its_port_of_the_node_and_its_pod_can_be_replaced():
    (deployment,) = of_kind(service(), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "protocol": "TCP", "containerPort": 8000, "hostPort": 8080}]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["replicas"] == 1


def test_an_internal_service_has_no_port_of_the_node_and_the_new_pod_is_ready_before_the_old_one_goes():
    (deployment,) = of_kind(service(exposure="internal"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "protocol": "TCP", "containerPort": 8000}]
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 35


def test_replicas_with_ports_of_nodes_are_replaced_and_drained_one_at_a_time():
    objects = service(replicas=2)
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    template = deployment["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= template.items()
    assert of_kind(service(), "PodDisruptionBudget") == []


@pytest.mark.parametrize(("dns", "ports"), [(False, []), (True, [("UDP", 53), ("TCP", 53)])])
def test_only_the_port_lets_in_and_nothing_but_names_gets_out(dns, ports):
    objects = service(dns=dns)
    (policy,) = of_kind(objects, "NetworkPolicy")
    (deployment,) = of_kind(objects, "Deployment")
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8000}]}]
    assert [(port["protocol"], port["port"]) for rule in spec["egress"] for port in rule["ports"]] == ports
    assert spec["podSelector"]["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_an_accelerator_is_asked_of_its_device_plugin():
    pod = pod_of(service(accelerator=CARD))
    resources = pod["containers"][0]["resources"]
    assert (resources["limits"]["nvidia.com/gpu"], resources["requests"]["nvidia.com/gpu"]) == ("2", "2")
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert pod["securityContext"]["supplementalGroups"] == [992]
    without = Accelerator(devices=("/dev/accel/accel0",))
    (problem,) = refusals(dataclasses.replace(SERVICE, accelerator=without), where="s[0]")
    assert str(problem).startswith("s[0].accelerator: names devices only")


def test_models_of_an_image_are_mounted_where_others_are():
    pod = pod_of(service(model_image="registry.lan/models/shelf:5"))
    assert pod["volumes"][0] == {
        "name": "models",
        "image": {"reference": "registry.lan/models/shelf:5", "pullPolicy": "IfNotPresent"},
    }
    mount = {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "models"}
    assert pod["containers"][0]["volumeMounts"][0] == mount


def test_probes_are_what_the_inventory_says():
    (container,) = pod_of(service(probes=Probes(900, 10, 3)))["containers"]
    startup, live = container["startupProbe"], container["livenessProbe"]
    assert (startup["failureThreshold"], startup["periodSeconds"], startup["timeoutSeconds"]) == (90, 10, 3)
    assert (live["periodSeconds"], live["timeoutSeconds"]) == (10, 3)


def test_more_replicas_than_nodes_with_the_port_are_refused():
    two = [{**DECLARED[0], "replicas": 2}]
    assert kubernetes_inference_services({"n1": two, "n2": two}, "shop", "1.0")["services"]
    assert kubernetes_inference_services({"n1": [{**two[0], "exposure": "internal"}]}, "shop", "1.0")["services"]
    with pytest.raises(AnsibleFilterError, match=r"'a'\.replicas: each of them has port 80 .* at most 1"):
        kubernetes_inference_services({"n1": two}, "shop", "1.0")


def test_a_service_is_as_restricted_as_with_podman():
    (deployment,) = of_kind(service(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (65532, True)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["automountServiceAccountToken"] is False
    assert container["volumeMounts"][0] == {"name": "models-0", "mountPath": "/models/magika/1", "readOnly": True}
    folder = "/var/lib/edgewright/models/file-type/magika/1"
    assert pod["volumes"][0] == {"name": "models-0", "hostPath": {"path": folder, "type": "Directory"}}


def test_processors_are_shared_and_memory_is_not():
    (deployment,) = of_kind(service(), "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1500m", "memory": "536870912"},
        "requests": {"cpu": "150m", "memory": "536870912"},
    }


def test_kubernetes_puts_no_variable_into_what_the_inventory_says():
    (deployment,) = of_kind(service(), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--greeting", "$$(HOME) costs $$5"]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "$$(A)"}]


def test_a_changed_priority_is_another_class_for_a_class_cannot_be_changed():
    (before,), (after,) = of_kind(service(), "PriorityClass"), of_kind(service(priority=81), "PriorityClass")
    assert (before["value"], after["value"]) == (80, 81)
    assert before["metadata"]["name"] != after["metadata"]["name"]
    (deployment,) = of_kind(service(priority=81), "Deployment")
    assert deployment["spec"]["template"]["spec"]["priorityClassName"] == after["metadata"]["name"]


def test_a_machine_s_disks_are_folders_of_its_node_that_only_it_can_claim():
    objects = machine()
    volumes, claims = of_kind(objects, "PersistentVolume"), of_kind(objects, "PersistentVolumeClaim")
    (vm,) = of_kind(objects, "VirtualMachine")
    wanted = [entry["persistentVolumeClaim"]["claimName"] for entry in vm["spec"]["template"]["spec"]["volumes"]]
    assert [claim["metadata"]["name"] for claim in claims] == wanted
    for number, (volume, claim) in enumerate(zip(volumes, claims, strict=True)):
        assert f"{volume['spec']['local']['path']}/disk.img" == disk_path("till", number, runtime="k3s")
        assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"]
        assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]


def test_a_machine_is_what_the_inventory_says():
    (vm,) = of_kind(machine(), "VirtualMachine")
    spec = vm["spec"]["template"]["spec"]
    domain = spec["domain"]
    assert vm["spec"]["runStrategy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 7
    assert domain["cpu"] == {"sockets": 1, "cores": 2, "threads": 2, "model": "qemu64"}
    assert domain["memory"] == {"guest": "33554432"}
    assert domain["firmware"] == {"uuid": VM.uuid, "serial": VM.uuid, "bootloader": {"bios": {}}}
    assert domain["devices"]["disks"] == [
        {"name": "disk0", "bootOrder": 2, "disk": {"bus": "sata"}, "serial": "ABC"},
        {"name": "disk1", "bootOrder": 1, "disk": {"bus": "virtio"}},
    ]
    assert domain["devices"]["interfaces"] == [
        {"name": "default", "masquerade": {}, "model": "e1000", "macAddress": "52:54:00:12:34:56"}
    ]
    assert spec["networks"] == [{"name": "default", "pod": {}}]


@pytest.mark.parametrize("secure", [True, False])
def test_secure_boot_is_always_written_out_and_has_what_it_needs(secure):
    (vm,) = of_kind(machine(firmware="uefi", secure_boot=secure), "VirtualMachine")
    domain = vm["spec"]["template"]["spec"]["domain"]
    assert domain["firmware"]["bootloader"] == {"efi": {"secureBoot": secure}}
    assert domain.get("features", {}).get("smm", {}).get("enabled", False) is secure


def test_a_machine_s_clock_ticks_as_on_libvirt():
    (vm,) = of_kind(machine(timezone="Europe/Berlin"), "VirtualMachine")
    assert vm["spec"]["template"]["spec"]["domain"]["clock"] == {
        "timezone": "Europe/Berlin",
        "timer": {"hpet": {"present": False}, "pit": {"tickPolicy": "delay"}, "rtc": {"tickPolicy": "catchup"}},
    }
    (emulated,) = of_kind(machine_objects(VM, site="shop", node="n1", virtualization="emulation"), "VirtualMachine")
    assert emulated["spec"]["template"]["spec"]["domain"]["clock"] == {"utc": {}}


def test_only_a_machine_with_a_screen_has_a_pointer():
    for graphics, buses in {"vnc": ["usb"], "none": []}.items():
        (vm,) = of_kind(machine(graphics=graphics), "VirtualMachine")
        inputs = vm["spec"]["template"]["spec"]["domain"]["devices"].get("inputs", [])
        assert [pointer["bus"] for pointer in inputs] == buses


def test_a_machine_without_interfaces_gets_none():
    (vm,) = of_kind(machine(nics=()), "VirtualMachine")
    spec = vm["spec"]["template"]["spec"]
    assert (spec["domain"]["devices"]["autoattachPodInterface"], spec["networks"]) == (False, [])


def test_only_a_pulled_cable_is_written():
    """KubeVirt takes what is not written for ``up``, and so a machine whose cable is in is what it always was."""
    for link_state, written in {"up": {}, "down": {"state": "down"}}.items():
        (vm,) = of_kind(machine(nics=(dataclasses.replace(VM.nics[0], link_state=link_state),)), "VirtualMachine")
        (card,) = vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
        assert card == {
            "name": "default",
            "masquerade": {},
            "model": "e1000",
            "macAddress": "52:54:00:12:34:56",
            **written,
        }
        validate(vm)


@pytest.mark.parametrize("port", [6443, 10250, 5000, 30086, 32767])
def test_a_port_of_k3s_is_refused(port):
    (problem,) = refusals(dataclasses.replace(SERVICE, port=port), where="s[0]")
    assert str(problem).startswith("s[0].port: belongs to k3s")


def test_a_name_that_is_none_for_a_service_of_kubernetes_is_refused():
    (problem,) = refusals(dataclasses.replace(SERVICE, name="3d-scan"), where="s[0]")
    assert "s[0].name" in str(problem)


def test_what_only_podman_needs_is_refused():
    wrong = dataclasses.replace(SERVICE, exposure="internal", rolling_ports=(1, 2))
    told = [str(problem).split(": ")[0] for problem in refusals(wrong, where="s[0]")]
    assert told == ["s[0].rolling_ports"]


def test_the_cluster_runs_a_workload_once_where_it_is_declared():
    (told,) = kubernetes_inference_services({"n1": DECLARED, "n2": DECLARED, "n3": []}, "shop", "1.0")["services"]
    assert (told["nodes"], told["image"]) == (["n1", "n2"], "localhost/edgewright/x:1.0")
    (vm,) = kubevirt_virtual_machines({"n1": [], "n2": MACHINES, "n3": MACHINES}, "shop")["machines"]
    assert (vm["node"], vm["claims"]) == ("n2", ["v-disk0-n2"])


def test_a_machine_of_a_cluster_that_emulates_has_no_processor_of_the_host():
    as_host = [{**MACHINES[0], "cpu": {"model": "host-passthrough"}}]
    assert kubevirt_virtual_machines({"n1": as_host}, "shop")["machines"]
    with pytest.raises(AnsibleFilterError, match=r"edge_virtual_machines\[0\]\.cpu\.model: needs hardware"):
        kubevirt_virtual_machines({"n1": as_host}, "shop", "emulation")


def test_files_sort_as_they_are_to_be_applied():
    later = [{**DECLARED[0], "name": "b", "port": 81, "start_order": 5}]
    names = [file["name"] for file in kubernetes_inference_services({"n1": DECLARED + later}, "shop", "1.0")["files"]]
    names += [file["name"] for file in kubevirt_virtual_machines({"n1": MACHINES}, "shop")["files"][1:]]
    assert names == sorted(names)
    assert names[0] == "edgewright-workloads-0-namespace.yaml"
    assert names[1].endswith("-inference-service-b.yaml")


def test_both_roles_declare_the_same_namespace():
    first = kubernetes_inference_services({}, "shop", "1.0")["files"][0]
    assert first == kubevirt_virtual_machines({}, "shop")["files"][0]
    (namespace,) = yaml.safe_load_all(first["content"])
    validate(namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_nodes_that_describe_a_workload_differently_are_an_error():
    other = [{**DECLARED[0], "port": 81}]
    with pytest.raises(AnsibleFilterError, match=r"n2: edge_inference_services\[0\]: describes 'a' otherwise than n1"):
        kubernetes_inference_services({"n1": DECLARED, "n2": other}, "shop", "1.0")


def test_everything_that_cannot_be_is_told_at_once_and_once():
    wrong = [
        {
            **MACHINES[0],
            "machine": "pc",
            "tpm": True,
            "disks": [{"source": "file:v.qcow2", "bus": "ide"}],
            "nics": [{}, {"network": "floor"}],
        }
    ]
    with pytest.raises(AnsibleFilterError) as caught:
        kubevirt_virtual_machines({"n1": wrong, "n2": wrong}, "shop")
    told = str(caught.value).splitlines()
    paths = ["machine", "disks[0].bus", "disks[0].format", "tpm", "nics[1].network", "nics"]
    assert [line.split(": ")[0] for line in told] == [f"edge_virtual_machines[0].{path}" for path in paths]
