"""What of a graphics card, an NPU or another accelerator an inference service gets, on each runtime.

A pod asks a device plugin for a resource (kubernetes.io/docs, "Device Plugins"); podman gives a device node, or what a
CDI specification names (container-device-interface SPEC.md: ``vendor.com/class=name``). A service may say both, and
each runtime takes its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, integer, text
from ansible_collections.edgewright.edge.plugins.module_utils.names import label

_DOMAIN: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
_WORD: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_RESOURCE: Final = re.compile(rf"{_DOMAIN}/{_WORD}", re.ASCII)
_CDI: Final = re.compile(rf"{_DOMAIN}/{_WORD}=[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?", re.ASCII)
_NODE: Final = re.compile(r"/dev(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+", re.ASCII)
_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True)
class Accelerator:
    """What a service computes with besides processors.

    Attributes:
        resource: extended resource of a device plugin, ``nvidia.com/gpu``; empty where there is none.
        count: how many of it.
        runtime_class: RuntimeClass of the pod; empty for the default.
        devices: device nodes (``/dev/dri/renderD128``) and CDI devices (``nvidia.com/gpu=all``).
        groups: numeric ids of the groups on the node that may use the devices.
    """

    resource: str = ""
    count: int = 1
    runtime_class: str = ""
    devices: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Accelerator:
        """Read the ``accelerator`` mapping.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("resource", "count", "runtime_class", "devices", "groups"))
        resource = fields.read("resource", _resource, default="")
        count = fields.read("count", integer(1, 64), default=1)
        runtime_class = fields.read("runtime_class", label, default="")
        devices = fields.read_list("devices", _device)
        fields.no_duplicates(devices, "the device")
        groups = fields.read_list("groups", integer(1, _LARGEST_ID))
        if not fields.given("resource"):
            for key in ("count", "runtime_class"):
                if fields.given(key):
                    fields.problems.add(
                        fields.at(key), "says something of a resource only", remedy="Add 'resource', or leave it out."
                    )
            if not devices and not fields.problems.found:
                fields.problems.add(
                    where,
                    "names no accelerator",
                    expected="'resource' (what a device plugin offers, for k3s), 'devices' (for podman), or both",
                )
        fields.raise_if_any()
        return cls(resource, count, runtime_class, tuple(name for _, name in devices), tuple(gid for _, gid in groups))


def _resource(value: object) -> str:
    name = text(value)
    domain = name.partition("/")[0]
    if _RESOURCE.fullmatch(name) is None or domain == "kubernetes.io" or domain.endswith(".kubernetes.io"):
        raise UnfitError(
            "is no resource of a device plugin",
            expected="<vendor's domain>/<resource>, such as nvidia.com/gpu or npu.intel.com/accel",
        )
    return name


def _device(value: object) -> str:
    device = text(value)
    if ".." in device or not (_NODE.fullmatch(device) or _CDI.fullmatch(device)):
        raise UnfitError(
            "is neither a device node nor a CDI device",
            expected="/dev/<path>, or <vendor's domain>/<class>=<name> such as nvidia.com/gpu=all",
        )
    return device
