"""Parameters that the modules for virtual machines of other homes share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.machine_import import options_of
from ansible_collections.edgewright.edge.plugins.module_utils.ova_archive import plain_name
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB, MIB, TIB, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import ImportOptions

ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "src": {"type": "path", "required": True, "aliases": ["path", "source"]},
    "name": {"type": "str"},
    "system": {"type": "str"},
    "runtime": {"type": "str", "choices": ["podman", "k3s"], "default": "podman"},
    "format": {"type": "str", "choices": ["qcow2", "raw"]},
    "folder": {"type": "str", "default": "disks"},
    "timezone": {"type": "str"},
    "networks": {"type": "dict", "default": {}},
    "virtio": {"type": "bool", "default": False},
    "memory": {"type": "str", "default": "2GiB"},
    "cpus": {"type": "int", "default": 2},
    "disk_folders": {"type": "list", "elements": "path", "default": ["/var/lib/libvirt/images"]},
}


def read_options(parameters: Mapping[str, Any]) -> tuple[Path, ImportOptions, list[Path]]:
    """Return the source, the operator's options, and the folders of a libvirt domain's disks.

    Raises:
        EdgeError: all parameters that are wrong.
    """
    problems = Problems()
    memory = 0
    try:
        memory = size(MIB, 16 * TIB, multiple=KIB)(parameters["memory"])
    except UnfitError as error:
        problems.add("memory", error.what, found=repr(parameters["memory"]), expected=error.expected)
    if not 1 <= parameters["cpus"] <= 256:
        problems.add("cpus", "is out of range", found=str(parameters["cpus"]), expected="1 to 256")
    if not plain_name(parameters["folder"]):
        problems.add("folder", "is no folder below the inventory's", found=repr(parameters["folder"]))
    for key, value in parameters["networks"].items():
        if not isinstance(key, str) or not isinstance(value, str):
            problems.add(f"networks.{key}", "is no name of a network", found=repr(value), remedy="Put it in quotes.")
    if parameters["runtime"] == "k3s" and parameters["format"] == "qcow2":
        problems.add("format", "cannot run on KubeVirt", found="qcow2", expected="raw", remedy="Leave 'format' out.")
    problems.raise_if_any()
    folders = [Path(folder) for folder in parameters["disk_folders"]]
    return Path(parameters["src"]), options_of(parameters, memory=memory), folders
