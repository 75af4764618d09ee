"""Disks that are no files of a node, read and rendered, held against the schemas and the rules of KubeVirt and CDI."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.image_references import image_references
from ansible_collections.edgewright.edge.plugins.module_utils.site import check_site_variables
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import virtual_machines
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_virtual_machines import (
    kubevirt_virtual_machines,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.libvirt_domains import libvirt_domains
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

IMAGE = "docker://registry.example/guests/till:1"
SUM = "sha256:" + "a" * 64
CONTAINER = {"source": IMAGE, "volume": "container_disk"}
IMPORTED = {"source": IMAGE, "volume": "data_volume", "size": "10GiB"}
DOWNLOADED = {"source": "https://files.example/a.qcow2", "volume": "data_volume", "size": "2GiB", "checksum": SUM}
FILE = {"source": "file:disks/a.img"}


def machine(*disks):
    return [{"name": "till", "memory": "1GiB", "disks": list(disks)}]


def objects(*disks, nodes=("n1",)):
    rendered = kubevirt_virtual_machines(dict.fromkeys(nodes, machine(*disks)), "shop")
    return list(yaml.safe_load_all(rendered["files"][1]["content"])), rendered["machines"][0]


def of_kind(entries, kind):
    return [entry for entry in entries if entry["kind"] == kind]


def wrong(*disks):
    with pytest.raises(EdgeError) as caught:
        virtual_machines(machine(*disks), where="vms", site="shop")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "disks",
    [
        [CONTAINER],
        [IMPORTED],
        [DOWNLOADED],
        [{**IMPORTED, "storage_class": "ceph", "access_mode": "ReadWriteMany"}],
        [FILE, CONTAINER, IMPORTED, DOWNLOADED],
    ],
)
def test_kubernetes_kubevirt_and_cdi_know_every_field(disks):
    entries, _ = objects(*disks)
    for entry in entries:
        validate(entry)
    (vm,) = of_kind(entries, "VirtualMachine")
    spec = vm["spec"]["template"]["spec"]
    # vmi-create-admitter: each disk has a volume of its name, and each volume just one source.
    assert [disk["name"] for disk in spec["domain"]["devices"]["disks"]] == [each["name"] for each in spec["volumes"]]
    assert all(len(each) == 2 for each in spec["volumes"])


def test_a_container_disk_is_its_image_and_nothing_else_on_the_cluster():
    entries, told = objects(CONTAINER)
    (vm,) = of_kind(entries, "VirtualMachine")
    assert vm["spec"]["template"]["spec"]["volumes"] == [
        {
            "name": "disk0",
            "containerDisk": {"image": "registry.example/guests/till:1", "imagePullPolicy": "IfNotPresent"},
        }
    ]
    assert {entry["kind"] for entry in entries} == {"PriorityClass", "VirtualMachine"}
    assert (told["disks"], told["claims"], told["data_volumes"]) == ([], [], [])


def test_a_data_volume_is_filled_from_an_image_that_the_node_pulls_or_a_file_whose_digest_is_known():
    entries, told = objects(IMPORTED, DOWNLOADED)
    image, file = of_kind(entries, "DataVolume")
    assert image["spec"]["source"] == {"registry": {"url": IMAGE, "pullMethod": "node"}}
    assert file["spec"]["source"] == {"http": {"url": DOWNLOADED["source"], "checksum": SUM}}
    # Of `storage` CDI makes a claim that has room for the file system too; of `pvc` it would take the size as it is.
    assert image["spec"]["storage"] == {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "storageClassName": "edgewright-disks",
        "resources": {"requests": {"storage": str(10 * 1024**3)}},
    }
    (vm,) = of_kind(entries, "VirtualMachine")
    names = [volume["dataVolume"]["name"] for volume in vm["spec"]["template"]["spec"]["volumes"]]
    assert names == told["data_volumes"] == [entry["metadata"]["name"] for entry in (image, file)]


def test_what_a_guest_has_written_outlives_the_machine_s_object():
    (volume,) = of_kind(objects(IMPORTED)[0], "DataVolume")
    (vm,) = of_kind(objects(IMPORTED)[0], "VirtualMachine")
    assert "dataVolumeTemplates" not in vm["spec"]
    assert "ownerReferences" not in volume["metadata"]
    # CDI gives its labels to the claim: those by which claims of removed machines are found must not be among them.
    label = "edgewright.workload"
    assert volume["metadata"]["labels"][label] != vm["metadata"]["labels"][label]


def test_only_a_disk_that_is_a_file_binds_a_machine_to_its_node():
    def nodes(*disks):
        (vm,) = of_kind(objects(*disks, nodes=("n1", "n2"))[0], "VirtualMachine")
        affinity = vm["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        return term["matchExpressions"][0]["values"]

    assert nodes(FILE, IMPORTED) == ["n1"]
    assert nodes(IMPORTED, CONTAINER) == ["n1", "n2"]
    assert objects(FILE, IMPORTED)[1]["claims"] == ["till-disk0-n1"]


def test_the_images_of_disks_are_found_in_what_is_rendered():
    entries, _ = objects(CONTAINER, IMPORTED)
    assert {found.reference for found in image_references(entries)} == {"registry.example/guests/till:1"}


def test_a_short_name_means_what_it_means_to_containerd():
    (vm,) = virtual_machines(machine({"source": "docker://till"}), where="vms", site="shop")
    assert vm.disks[0].source == "docker://docker.io/library/till:latest"


@pytest.mark.parametrize(
    ("disk", "messages"),
    [
        ({**FILE, "volume": "container_disk"}, ["source: is no container image, which a container disk is"]),
        ({**CONTAINER, "size": "1GiB"}, ["size: cannot be given to a container disk"]),
        ({**CONTAINER, "format": "qcow2"}, ["format: says nothing of an image's disk"]),
        ({"source": IMAGE, "format": "qcow2"}, ["format: says nothing of an image's disk"]),
        ({**FILE, "volume": "data_volume"}, ["source: cannot be had from inside of the cluster", "size: is what"]),
        ({**IMPORTED, "size": "1024"}, ["size: is what a data volume is made with; found 1024"]),
        ({**IMPORTED, "checksum": SUM}, ["checksum: is for files of a server"]),
        ({**DOWNLOADED, "checksum": None}, ["checksum: is missing: CDI would take whatever the server gives"]),
        ({**DOWNLOADED, "checksum": "md5:" + "a" * 32}, ["checksum: is no digest of SHA-256"]),
        ({**IMPORTED, "storage_class": "Ceph RBD"}, ["storage_class: is no name of a storage class"]),
        ({**IMPORTED, "access_mode": "ReadOnlyMany"}, ["access_mode: is not one of the choices"]),
        (
            {**FILE, "storage_class": "ceph", "access_mode": "ReadWriteOnce", "checksum": SUM},
            [f"{key}: is one of a data volume" for key in ("storage_class", "access_mode", "checksum")],
        ),
        ({"source": "docker:till:1"}, ["source: names no container image"]),
        ({"source": "docker://Till:1"}, ["source: is no container image's name"]),
        ({"source": IMAGE, "volume": "pvc"}, ["volume: is not one of the choices"]),
    ],
)
def test_what_cannot_be_said_of_a_disk_is_told(disk, messages):
    told = wrong(disk)
    assert len(told) == len(messages)
    for message in messages:
        assert any(line.startswith(f"vms[0].disks[0].{message}") for line in told), told


def test_cdi_is_not_there_unless_the_site_has_it():
    site = {"edge_site": "shop", "edge_runtime": "k3s", "edge_virtual_machines": machine(CONTAINER, IMPORTED)}
    (problem,) = check_site_variables(site)
    assert str(problem).startswith("edge_virtual_machines[0].disks[1].volume: is filled by CDI")
    assert "v1.66.0" in problem.remedy
    assert check_site_variables({**site, "edge_kubernetes": {"cdi": "v1.66.0"}}) == []


def test_libvirt_has_files_only_and_says_how_to_have_one():
    with pytest.raises(AnsibleFilterError) as caught:
        libvirt_domains(machine(CONTAINER, IMPORTED, {"source": IMAGE}), "shop")
    told = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in told] == [
        f"edge_virtual_machines[0].disks[{number}].volume" for number in (0, 1)
    ]
    assert "Leave 'volume' out" in told[0]
    (domain,) = libvirt_domains(machine({"source": IMAGE}), "shop")
    assert domain["disks"][0]["source"] == IMAGE
    assert domain["disks"][0]["format"] == "raw"
