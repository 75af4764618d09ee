"""The kubelet's settings as a ``KubeletConfiguration``, and what logind must allow it at shutdown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Fields,
    Parser,
    UnfitError,
    integer,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import cpus_text, millicpus, to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

# Pod priority each class begins at (Kubernetes' system classes; KubeVirt's own pods are cluster-critical).
PRIORITIES: Final = {"workloads": 0, "cluster_critical": 1_000_000_000, "node_critical": 2_000_000_000}
_GRACE: Final = {"workloads": 180, "cluster_critical": 30, "node_critical": 20}
# k3s sets hard thresholds for the disks only; without one for memory, the kernel's killer chooses between a virtual
# machine and an inference server.
_EVICTION: Final = {
    "imagefs.available": "5%",
    "imagefs.inodesFree": "5%",
    "memory.available": "200Mi",
    "nodefs.available": "5%",
    "nodefs.inodesFree": "5%",
}
_SIGNALS: Final = (*_EVICTION, "containerfs.available", "containerfs.inodesFree", "pid.available")
_RESERVABLE: Final = ("cpu", "memory", "ephemeral-storage", "pid")
_PERCENT: Final = re.compile(r"(?:100|[0-9]{1,2}(?:\.[0-9]+)?)%", re.ASCII)
# Of those that Go's TLS library offers, the ones that encrypt and authenticate at once and keep no long-lived key
# (CIS Kubernetes Benchmark 4.2.12).
CIS_CIPHERS: Final = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
)


@dataclass(frozen=True)
class KubeletSettings:
    """What ``k3s__kubelet`` says.

    Attributes:
        grace: seconds that pods of each class (``PRIORITIES``) get at shutdown.
        eviction_hard: amount or percentage by signal, complete.
        system_reserved: amount by resource that the system keeps.
        kube_reserved: amount by resource that Kubernetes itself keeps.
        max_pods: most pods on the node, or ``None`` for the kubelet's default.
        image_gc: percent of the disk in use where collecting images ends and begins, or ``None``.
    """

    grace: Mapping[str, int] = field(default_factory=lambda: dict(_GRACE))
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: dict(_EVICTION))
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    max_pods: int | None = None
    image_gc: tuple[int, int] | None = None

    @classmethod
    def from_inventory(cls, data: object, *, where: str = "k3s__kubelet") -> KubeletSettings:
        """Read ``k3s__kubelet``; signals and classes that are not given keep their default.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        known = (
            "shutdown_grace",
            "eviction_hard",
            "system_reserved",
            "kube_reserved",
            "max_pods",
            "image_gc_low",
            "image_gc_high",
        )
        fields = Fields({} if data is None else data, where=where, known=known)
        nothing: dict[str, str] = {}
        grace = fields.build("shutdown_grace", _grace, default=dict(_GRACE))
        eviction = fields.build("eviction_hard", _eviction, default=nothing)
        system = fields.build("system_reserved", _reserved, default=nothing)
        kube = fields.build("kube_reserved", _reserved, default=nothing)
        max_pods = fields.read("max_pods", integer(1, 1000), optional=True)
        low = fields.read("image_gc_low", integer(1, 100), default=80)
        high = fields.read("image_gc_high", integer(1, 100), default=85)
        fields.raise_if_any()
        if low >= high:
            fields.problems.add(
                fields.at("image_gc_low"),
                "must be below image_gc_high",
                found=str(low),
                expected=f"less than {high}",
            )
        fields.raise_if_any()
        collects = fields.given("image_gc_low") or fields.given("image_gc_high")
        return cls(
            grace=grace,
            eviction_hard=dict(sorted({**_EVICTION, **eviction}.items())),
            system_reserved=system,
            kube_reserved=kube,
            max_pods=max_pods,
            image_gc=(low, high) if collects else None,
        )

    @property
    def shutdown_seconds(self) -> int:
        """Return how long a shutdown waits for pods at most; 0 is not at all."""
        return sum(self.grace.values())


def kubelet_configuration(settings: KubeletSettings, *, cis: bool = False) -> dict[str, Any]:
    """Render the settings as a ``KubeletConfiguration`` (kubelet.config.k8s.io/v1beta1).

    The map of eviction thresholds is complete: nothing depends on what k3s sets, or on how files are merged.
    """
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "evictionHard": dict(settings.eviction_hard),
    }
    if settings.shutdown_seconds:
        config["shutdownGracePeriodByPodPriority"] = [
            {"priority": priority, "shutdownGracePeriodSeconds": settings.grace[name]}
            for name, priority in PRIORITIES.items()
        ]
    for key, amounts in (("systemReserved", settings.system_reserved), ("kubeReserved", settings.kube_reserved)):
        if amounts:
            config[key] = dict(amounts)
    if settings.max_pods is not None:
        config["maxPods"] = settings.max_pods
    if settings.image_gc is not None:
        config["imageGCLowThresholdPercent"], config["imageGCHighThresholdPercent"] = settings.image_gc
    if cis:
        config["streamingConnectionIdleTimeout"] = "5m0s"
        config["tlsCipherSuites"] = list(CIS_CIPHERS)
    return config


def logind_settings(settings: KubeletSettings) -> str:
    """Render the drop-in that lets the kubelet hold a shutdown up for as long as pods may take (logind.conf(5)).

    Returns nothing when pods get no time. The kubelet would write a drop-in of its own, but other packages' sort after
    it and win.
    """
    if not settings.shutdown_seconds:
        return ""
    limit = f"InhibitDelayMaxSec={settings.shutdown_seconds}"
    return f"# Pods get this long to end: k3s__kubelet.shutdown_grace.\n[Login]\n{limit}\n"


def _grace(data: object, where: str) -> dict[str, int]:
    fields = Fields(data, where=where, known=tuple(PRIORITIES))
    grace = {name: fields.read(name, integer(0, 3600), default=_GRACE[name]) for name in PRIORITIES}
    fields.raise_if_any()
    return grace


def _eviction(data: object, where: str) -> dict[str, str]:
    return _amounts(data, where, _SIGNALS)


def _reserved(data: object, where: str) -> dict[str, str]:
    return _amounts(data, where, _RESERVABLE)


def _amounts(data: object, where: str, known: tuple[str, ...]) -> dict[str, str]:
    fields = Fields(data, where=where, known=known)
    read = {name: fields.read(name, _amount(name, known), optional=True) for name in known}
    fields.raise_if_any()
    return {name: value for name, value in sorted(read.items()) if value is not None}


def _amount(name: str, known: tuple[str, ...]) -> Parser[str]:
    """Return a parser of what Kubernetes takes for a resource or a signal; processors come as thousandths."""
    percent = known is _SIGNALS

    def parse(value: object) -> str:
        if isinstance(value, str) and value.endswith("%"):
            if percent and _PERCENT.fullmatch(value):
                return str(value)
            raise UnfitError("is no amount", expected="a percentage from 0% to 100%" if percent else "an amount")
        if name == "cpu":
            return cpus_text(millicpus(value))
        if name.startswith("pid") or name.endswith("inodesFree"):
            return str(integer(1, 2**31)(value))
        amount = to_bytes(value)
        if not amount:
            raise UnfitError("is nothing", expected="more than 0")
        return _quantity(amount)

    return parse


def _quantity(amount: int) -> str:
    """Write bytes as Kubernetes does: 209715200 is ``200Mi``."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        factor = 1024 ** ("KMGT".index(unit[0]) + 1)
        if amount % factor == 0:
            return f"{amount // factor}{unit}"
    return str(amount)
