"""What a runtime's workloads need of an image: their files on the state partition, and their packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.site import parse_site
from edgewright.lockfile import Lock
from edgewright.pipeline import pipeline, state_files
from edgewright.resolve_request import request_of
from edgewright.site import load_site
from edgewright.store import Store
from edgewright.trees import package_trees, recipes

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.site import Site

VARIABLES: dict[str, Any] = {
    "edge_site": "a",
    "edge_virtual_machines": [{"name": "v", "memory": "1GiB", "disks": [{"source": "file:v.img", "bus": "sata"}]}],
}


@pytest.mark.parametrize(("runtime", "path", "owner"), [("podman", "v/disk0.img", 0), ("k3s", "v/disk0/disk.img", 107)])
def test_a_disk_lies_where_its_runtime_looks_and_belongs_to_it(runtime: str, path: str, owner: int) -> None:
    site = parse_site({**VARIABLES, "edge_runtime": runtime})
    (file,) = state_files({"n": site}, {})
    assert (file.path, file.owner) == (f"lib/edgewright/virtual-machines/{path}", owner)


@pytest.mark.parametrize(
    ("inventory", "has", "lacks"),
    [
        ("demo", {"podman", "qemu-utils", "python3-libvirt"}, {"python3-kubernetes"}),
        ("shop", {"python3-kubernetes"}, {"podman", "python3-libvirt", "qemu-utils"}),
    ],
)
def test_a_node_has_the_packages_of_its_runtime_only(
    inventory: str, has: set[str], lacks: set[str], pytestconfig: pytest.Config
) -> None:
    root: Path = pytestconfig.rootpath
    node = set(package_trees(load_site(root / "inventories" / inventory))["node"])
    assert has <= node
    assert not lacks & node


SERVICE: dict[str, Any] = {
    "name": "s",
    "image": "docker.io/openvino/model_server:2025.3",
    "port": 80,
    "models": [{"name": "m", "files": {"model.xml": "file:m.xml", "assets/labels.txt": "file:labels.txt"}}],
}


def written(folder: Path, **variables: Any) -> Site:
    (folder / "hosts.yml").write_text("all: {hosts: {box-1: {}}}\n")
    (folder / "group_vars").mkdir()
    shared = {"edge_site": "a", "edge_runtime": "podman", **variables}
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(shared))
    return load_site(folder)


def test_all_files_of_a_model_are_on_the_state_partition_and_pinned(tmp_path: Path) -> None:
    made_here = {**SERVICE, "image": "build:containers/inference-server"}
    site = written(tmp_path, edge_inference_services=[made_here])
    files = state_files({"box-1": parse_site(site.hosts[0].variables)}, {})
    assert {file.path: file.artifact for file in files} == {
        "lib/edgewright/models/s/m/1/assets/labels.txt": "file:labels.txt",
        "lib/edgewright/models/s/m/1/model.xml": "file:m.xml",
    }
    assert set(request_of(site).artifacts) == {"file:labels.txt", "file:m.xml"}


def test_an_image_of_a_registry_is_pinned_for_podman_too(tmp_path: Path) -> None:
    site = written(tmp_path, edge_inference_services=[{**SERVICE, "model_image": "registry.lan/models/m:5"}])
    assert set(request_of(site).images) == {SERVICE["image"], "registry.lan/models/m:5"}


def test_an_image_with_an_archive_needs_no_pin_and_is_in_no_image_of_a_node(tmp_path: Path) -> None:
    archives = {SERVICE["image"]: "ovms.tar"}
    site = written(tmp_path, edge_inference_services=[SERVICE], inference_services__image_archives=archives)
    assert request_of(site).images == {}
    with pytest.raises(EdgeError, match=r"\[0\]\.image: comes by an archive of its own.*found docker\.io/openvino"):
        pipeline(site, Lock(), Store(tmp_path / "store"), version="1", vault_password_file=None)


def test_a_golden_set_on_k3s_is_asked_by_an_image_that_is_made_here(tmp_path: Path) -> None:
    case = {"model": "m", "inputs": [], "outputs": []}
    sites = {}
    for runtime, golden in (("podman", [case]), ("k3s", [case]), ("k3s", [])):
        folder = tmp_path / f"{runtime}{len(golden)}"
        folder.mkdir()
        service = {**SERVICE, "golden": golden}
        sites[folder.name] = written(folder, edge_inference_services=[service], edge_runtime=runtime)
    made = {name: recipes(site, "containers") for name, site in sites.items()}
    assert made == {"podman1": (), "k3s1": ("inference-server",), "k3s0": ()}


@pytest.mark.parametrize(("ports", "has_proxy"), [([], False), ([18080, 18081], True)])
def test_a_node_has_a_proxy_where_a_service_is_replaced_without_a_gap(
    tmp_path: Path, ports: list[int], has_proxy: bool
) -> None:
    service = {**SERVICE, "image": "build:containers/inference-server", "rolling_ports": ports}
    trees = package_trees(written(tmp_path, edge_inference_services=[service]))
    assert ("nginx" in trees["node"]) is has_proxy


@pytest.mark.parametrize(
    ("variables", "has"),
    [
        ({"edge_ingress": {}}, {"nginx", "openssl"}),
        ({"edge_ingress": {}, "edge_runtime": "k3s"}, {"openssl"}),
        ({}, set()),
    ],
)
def test_a_node_has_what_its_ingress_is_made_of(tmp_path: Path, variables: dict[str, Any], has: set[str]) -> None:
    assert set(package_trees(written(tmp_path, **variables))["node"]) & {"nginx", "openssl"} == has
