"""What a runtime's workloads need of an image: their files on the state partition, and their packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.site import parse_site
from edgewright.pipeline import state_files
from edgewright.site import load_site
from edgewright.trees import package_trees

if TYPE_CHECKING:
    from pathlib import Path

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
