"""An inference service as objects of Kubernetes: Deployment, Service and what protects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_pod import (
    container,
    drain,
    pod_settings,
    volumes,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    HOSTNAME_LABEL,
    INFERENCE_SERVICE,
    NAMESPACE,
    WORKLOAD_LABEL,
    labels,
    priority_class,
    priority_class_name,
)

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

# Ports of the node that k3s, its kubelet and etcd listen on (docs.k3s.io/installation/requirements, and the loopback
# ports of Kubernetes' own components), and 5000, the registry of an image-built node. A container's port on the node
# takes connections before any program that listens there.
_NODE_PORTS: Final = frozenset(
    {2379, 2380, 2381, 2382, 5000, 5001, 6443, 6444, 10010, 10248, 10249, 10250, 10256, 10257, 10258, 10259}
)
_NODE_PORT_SERVICES: Final = range(30000, 32768)


def refusals(service: InferenceService, *, where: str) -> list[Problem]:
    """Return what of a service cannot be on a node of a cluster, with paths below ``where``."""
    problems = Problems()
    if service.port in _NODE_PORTS or service.port in _NODE_PORT_SERVICES:
        problems.add(
            f"{where}.port",
            "belongs to k3s on its nodes",
            found=str(service.port),
            expected="another port, and none of 30000 to 32767, which Kubernetes gives to services",
        )
    # The name of a Service is a label of RFC 1035.
    if service.name[:1].isdigit():
        problems.add(
            f"{where}.name",
            "is no name of a service on k3s",
            found=repr(service.name),
            expected="a letter at its beginning",
        )
    if service.rolling_ports:
        problems.add(
            f"{where}.rolling_ports",
            "are podman's: k3s replaces pods itself",
            found=str(list(service.rolling_ports)),
            expected="'exposure: internal' or 'replicas' for a change without a gap",
            remedy="Leave 'rolling_ports' out.",
        )
    if service.golden and service.exposure == "internal":
        problems.add(
            f"{where}.golden",
            "is asked at a port of the node, which an internal service has not on k3s",
            expected="'exposure: node', or a golden set that the server itself asks",
        )
    if service.accelerator is not None and not service.accelerator.resource:
        problems.add(
            f"{where}.accelerator",
            "names devices only, and a pod gets devices from a device plugin",
            found=", ".join(service.accelerator.devices),
            expected="'resource': what the device plugin of the accelerator's vendor offers, such as nvidia.com/gpu",
        )
    return problems.found


def node_refusals(service: InferenceService, nodes: tuple[str, ...], *, where: str) -> list[Problem]:
    """Return what of a service these nodes cannot give together, with paths below ``where``."""
    problems = Problems()
    if service.exposure == "node" and service.replicas > len(nodes):
        problems.add(
            f"{where}.replicas",
            f"each of them has port {service.port} of a node for itself",
            found=f"{service.replicas}, on {len(nodes)} nodes that declare the service",
            expected=f"at most {len(nodes)}",
            remedy="Declare the service on more nodes, or set 'exposure: internal'.",
        )
    return problems.found


def service_objects(
    service: InferenceService, *, site: str, image: str, nodes: tuple[str, ...], model_image: str = ""
) -> list[dict[str, Any]]:
    """Render all objects of a service; the same service is always the same data.

    A port of the node is a ``hostPort``: clients outside find the service where podman has it, and no load balancer is
    needed. Two pods of a node cannot have it at once, so a single old one ends before the new one starts. Of several,
    one after the other is replaced; of an internal service, only when the new one is ready.

    Args:
        service: the service.
        site: name of the site, which labels the objects.
        image: name of its image in the node's container store, where it is already.
        nodes: those that have its models.
        model_image: name of the image with its models in that store, if it has one.
    """
    marks = labels(service, INFERENCE_SERVICE, site=site)
    own = {"app.kubernetes.io/name": service.name, WORKLOAD_LABEL: INFERENCE_SERVICE}
    meta = {"name": service.name, "namespace": NAMESPACE, "labels": marks}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": service.replicas,
            "revisionHistoryLimit": 2,
            "strategy": _strategy(service),
            # A Deployment's selector cannot be changed: it is that of the first release.
            "selector": {"matchLabels": {"app.kubernetes.io/name": service.name}},
            "template": {"metadata": {"labels": dict(marks)}, "spec": _pod(service, image, nodes, model_image)},
        },
    }
    cluster_service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": dict(marks)},
        "spec": {
            "selector": {"app.kubernetes.io/name": service.name},
            "ports": [{"name": "http", "protocol": "TCP", "port": service.port, "targetPort": "http"}],
        },
    }
    objects = [priority_class(service, INFERENCE_SERVICE, site=site), _network_policy(service, meta, own)]
    if service.replicas > 1:
        objects.append(_disruption_budget(meta, own))
    return [*objects, deployment, cluster_service]


def rolls(service: InferenceService) -> bool:
    """Tell whether pods are replaced while others answer."""
    return service.exposure == "internal" or service.replicas > 1


def _strategy(service: InferenceService) -> dict[str, Any]:
    if not rolls(service):
        return {"type": "Recreate"}
    surge, unavailable = (1, 0) if service.exposure == "internal" else (0, 1)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def _network_policy(service: InferenceService, meta: dict[str, Any], own: dict[str, str]) -> dict[str, Any]:
    """Render what may reach the service, its port, and what it may reach: name servers at most.

    k3s enforces policies itself (its network policy controller); the node's own probes are let through by it.
    """
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {**meta, "labels": dict(meta["labels"])},
        "spec": {
            "podSelector": {"matchLabels": dict(own)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": service.container_port}]}],
            "egress": [{"ports": names}] if service.dns else [],
        },
    }


def _disruption_budget(meta: dict[str, Any], own: dict[str, str]) -> dict[str, Any]:
    """Render that nodes are drained one pod at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {**meta, "labels": dict(meta["labels"])},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(own)}},
    }


def _pod(service: InferenceService, image: str, nodes: tuple[str, ...], model_image: str) -> dict[str, Any]:
    server = container(service, image)
    if service.exposure == "node":
        server["ports"][0]["hostPort"] = service.port
    if rolls(service):
        server["lifecycle"] = drain()
    pod = {
        "priorityClassName": priority_class_name(service, INFERENCE_SERVICE),
        **pod_settings(service, nodes, drains=rolls(service)),
        "containers": [server],
        "volumes": volumes(service, model_image),
    }
    if service.replicas > 1:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": HOSTNAME_LABEL,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": service.name}},
            }
        ]
    return pod
