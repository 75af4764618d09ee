"""KubeVirt and CDI as objects of Kubernetes: their settings for one node and for several.

Rules are those of KubeVirt 1.9 (``api/core/v1/types.go``, the admitters of virt-operator) and of CDI 1.66.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, choice, integer
from ansible_collections.edgewright.edge.plugins.module_utils.names import label

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform

KUBEVIRT_NAMESPACE: Final = "kubevirt"
CDI_NAMESPACE: Final = "cdi"
DISK_CLASS: Final = "edgewright-disks"
"""Storage class of virtual machines' disks: k3s's local-path, but what is on a disk outlives its claim."""
_DEFAULT_CLASS: Final = "local-path"
_PROVISIONER: Final = "rancher.io/local-path"
_SECURITY: Final = "pod-security.kubernetes.io"
_YEAR_HOURS: Final = 8760


@dataclass(frozen=True)
class Certificates:
    """How long the certificates last that KubeVirt and CDI give themselves.

    By default theirs end after a day to a week: a node that was off for longer comes back with a cluster that refuses
    every change of a virtual machine until they are made anew, and that needs a clock that is right.

    Attributes:
        ca_years: life of an authority.
        server_years: life of the certificates it signs.
        renew_days: how long before its end each is renewed.
    """

    ca_years: int = 10
    server_years: int = 5
    renew_days: int = 365

    @classmethod
    def from_inventory(cls, data: object, *, where: str = "kubevirt__certificates") -> Certificates:
        """Read the role's variable; KubeVirt refuses certificates that are renewed before they begin.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields({} if data is None else data, where=where, known=("ca_years", "server_years", "renew_days"))
        ca = fields.read("ca_years", integer(1, 100), default=cls.ca_years)
        server = fields.read("server_years", integer(1, 100), default=cls.server_years)
        renew = fields.read("renew_days", integer(1, 36500), default=cls.renew_days)
        fields.raise_if_any()
        if server > ca:
            fields.problems.add(
                fields.at("server_years"),
                "is more than the authority lasts",
                found=str(server),
                expected=f"at most {ca}",
            )
        if renew * 24 >= server * _YEAR_HOURS:
            fields.problems.add(
                fields.at("renew_days"),
                "is not less than the certificates last",
                found=str(renew),
                expected=f"less than {server * 365}",
            )
        fields.raise_if_any()
        return cls(ca, server, renew)

    def of(self, years: int) -> dict[str, str]:
        """Return a ``CertConfig``, durations in the form that the API gives back."""
        return {"duration": f"{years * _YEAR_HOURS}h0m0s", "renewBefore": f"{self.renew_days * 24}h0m0s"}


@dataclass(frozen=True)
class Virtualization:
    """What the role ``kubevirt`` says of a cluster.

    Attributes:
        nodes: number of its nodes.
        emulation: whether the processors have no virtualization and the inventory accepts that.
        certificates: how long they last.
        namespaces: of virtual machines, to be made.
    """

    nodes: int
    emulation: bool = False
    certificates: Certificates = Certificates()
    namespaces: tuple[str, ...] = ()

    @classmethod
    def from_role(cls, data: object) -> Virtualization:
        """Read a mapping with ``nodes``, ``virtualization``, ``certificates`` and ``namespaces``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where="", known=("nodes", "virtualization", "certificates", "namespaces"))
        nodes = fields.read("nodes", integer(1, 1000))
        kind = fields.read("virtualization", choice("kvm", "emulation"), default="kvm")
        certificates = fields.build(
            "certificates",
            lambda value, _: Certificates.from_inventory(value),
            default=Certificates(),
        )
        namespaces = fields.read_list("namespaces", label)
        fields.raise_if_any()
        return cls(nodes, kind == "emulation", certificates, tuple(name for _, name in namespaces))

    @property
    def single(self) -> bool:
        """Tell whether there is nowhere else to go for a machine."""
        return self.nodes == 1


def kubevirt_object(site: Virtualization) -> dict[str, Any]:
    """Render the ``KubeVirt`` object (kubevirt.io/v1).

    On one node a machine that must move before its node stops could never stop, and a second copy of a controller
    guards against nothing. virt-template, which is on by default in 1.9, wants images of its own and, without them,
    blocks the deletion of namespaces: it is off.
    """
    certificates = site.certificates
    developer: dict[str, Any] = {"disabledFeatureGates": ["Template"]}
    if site.emulation:
        developer["useEmulation"] = True
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": KUBEVIRT_NAMESPACE},
        "spec": {
            "imagePullPolicy": "IfNotPresent",
            "infra": {"replicas": 1 if site.single else 2},
            "workloadUpdateStrategy": {"workloadUpdateMethods": [] if site.single else ["LiveMigrate"]},
            "certificateRotateStrategy": {
                "selfSigned": {
                    "ca": certificates.of(certificates.ca_years),
                    "server": certificates.of(certificates.server_years),
                }
            },
            "configuration": {
                "imagePullPolicy": "IfNotPresent",
                "evictionStrategy": "None" if site.single else "LiveMigrateIfPossible",
                # By default a guest gets sockets and memory slots for four times what its description says, to be
                # filled while it runs: by a migration, which disks of a node cannot follow.
                "vmRolloutStrategy": "Stage",
                "virtTemplateDeployment": {"enabled": False},
                # What is kept for its age may need a processor of that age. (An empty mapping counts as none.)
                "obsoleteCPUModels": {"486": True},
                "developerConfiguration": developer,
            },
        },
    }


def cdi_object(site: Virtualization) -> dict[str, Any]:
    """Render the ``CDI`` object (cdi.kubevirt.io/v1beta1)."""
    certificates = site.certificates
    signed = certificates.of(certificates.server_years)
    replicas = 1 if site.single else 2
    linux = {"nodeSelector": {"kubernetes.io/os": "linux"}}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "CDI",
        "metadata": {"name": "cdi"},
        "spec": {
            "imagePullPolicy": "IfNotPresent",
            "certConfig": {"ca": certificates.of(certificates.ca_years), "server": signed, "client": dict(signed)},
            # local-path makes a disk where its machine runs, so an import waits for the machine.
            "config": {"featureGates": ["HonorWaitForFirstConsumer"]},
            "infra": {
                **linux,
                "deploymentReplicas": replicas,
                "apiServerReplicas": replicas,
                "uploadProxyReplicas": replicas,
            },
            "workload": dict(linux),
        },
    }


def storage_objects(*, cdi: bool) -> list[dict[str, Any]]:
    """Render the storage class of disks, and with CDI what it has to know of the classes.

    CDI does not know local-path: unless it is told, it asks for volumes without access mode and is refused.
    """
    disks = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": DISK_CLASS},
        "provisioner": _PROVISIONER,
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    profiles = [
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "StorageProfile",
            "metadata": {"name": name},
            "spec": {"claimPropertySets": [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]},
        }
        for name in (DISK_CLASS, _DEFAULT_CLASS)
    ]
    return [disks, *(profiles if cdi else [])]


def namespace_object(name: str) -> dict[str, Any]:
    """Render a namespace in which pods may do what virt-launcher and virt-handler do."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": privileged_labels()}}


def privileged_labels() -> dict[str, str]:
    """Return the labels by which pod security admission lets everything be."""
    return {f"{_SECURITY}/{mode}": "privileged" for mode in ("audit", "enforce", "warn")}


def adapt_operator(
    documents: Iterable[Any], *, namespace: str, single: bool, where: str = "operator manifest"
) -> list[dict[str, Any]]:
    """Return the objects of an operator's published manifest as this cluster needs them; the input stays as it is.

    The namespace comes first, is made if it is not there, and lets its pods be privileged. On a single node each
    Deployment has one replica: ``infra.replicas`` of the operator's own object does not count for the operator itself.

    Args:
        documents: the manifest, parsed; empty documents are passed over.
        namespace: the operator's.
        single: whether the cluster has one node only.
        where: the manifest's file, for messages.

    Raises:
        EdgeError: there is no Deployment in it, so it is not the manifest of an operator.
    """
    objects = [copy.deepcopy(dict(document)) for document in documents if isinstance(document, Mapping) and document]
    if not any(entry.get("kind") == "Deployment" for entry in objects):
        kinds = ", ".join(sorted({str(entry.get("kind")) for entry in objects})) or "nothing"
        raise EdgeError(
            Problem(
                where,
                "holds no Deployment",
                kinds,
                "the manifest of an operator as its release publishes it",
                "Run 'edgewright fetch' again.",
            )
        )
    own = [entry for entry in objects if _is_namespace(entry, namespace)] or [namespace_object(namespace)]
    own[0].setdefault("metadata", {}).setdefault("labels", {}).update(privileged_labels())
    for entry in objects:
        if single and entry.get("kind") == "Deployment":
            entry.setdefault("spec", {})["replicas"] = 1
    return [own[0], *(entry for entry in objects if not _is_namespace(entry, namespace))]


def manifests(
    platform: Platform, site: Virtualization, operators: Mapping[str, Sequence[Any]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (file name, objects) for k3s's manifests folder: nothing without KubeVirt.

    Args:
        platform: the releases.
        site: the cluster.
        operators: the published manifests, parsed, by ``kubevirt`` and ``cdi``.

    Raises:
        EdgeError: the manifest of an operator that the platform has is missing, or is none.
    """
    if platform.kubevirt is None:
        return []
    single = site.single
    files = [("edgewright-kubevirt.yaml", [kubevirt_object(site)])]
    names = {"kubevirt": KUBEVIRT_NAMESPACE}
    if platform.cdi is not None:
        files.append(("edgewright-cdi.yaml", [cdi_object(site)]))
        names["cdi"] = CDI_NAMESPACE
    for name, namespace in names.items():
        adapted = adapt_operator(
            operators.get(name) or (), namespace=namespace, single=single, where=f"{name}-operator.yaml"
        )
        files.append((f"{name}-operator.yaml", adapted))
    files.append(("edgewright-storage.yaml", storage_objects(cdi=platform.cdi is not None)))
    if site.namespaces:
        files.append(("edgewright-namespaces.yaml", [namespace_object(name) for name in sorted(set(site.namespaces))]))
    return sorted(files)


def _is_namespace(entry: Mapping[str, Any], name: str) -> bool:
    return entry.get("kind") == "Namespace" and (entry.get("metadata") or {}).get("name") == name
