"""An inference service as objects of Kubernetes: Deployment, Service and what protects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_pod import (
    DIGEST_ANNOTATION,
    GOLDEN_LIMIT,
    GOLDEN_PORT,
    container,
    drain,
    golden_annotations,
    golden_containers,
    golden_text,
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
# Of 30000 to 32767, which Kubernetes publishes itself, it keeps the first ones for services that ask for a certain port
# (kubernetes.io/blog/2023/05/11, "nodeport-dynamic-and-static-allocation": an offset of 86 for a range of this size).
_STATIC_NODE_PORTS: Final = range(30000, 30086)
_OTHER_NODE_PORTS: Final = range(30086, 32768)


def refusals(service: InferenceService, *, where: str) -> list[Problem]:
    """Return what of a service cannot be on a node of a cluster, with paths below ``where``."""
    problems = Problems()
    if service.port in _NODE_PORTS or service.port in _OTHER_NODE_PORTS:
        problems.add(
            f"{where}.port",
            "belongs to k3s on its nodes",
            found=str(service.port),
            expected="another port, and none of 30086 to 32767, which Kubernetes gives to services itself",
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
            expected="'exposure: internal', a port of 30000 to 30085 or 'replicas' for a change without a gap",
            remedy="Leave 'rolling_ports' out.",
        )
    problems.found += _golden_refusals(service, where)
    if service.accelerator is not None and not service.accelerator.resource:
        problems.add(
            f"{where}.accelerator",
            "names devices only, and a pod gets devices from a device plugin",
            found=", ".join(service.accelerator.devices),
            expected="'resource': what the device plugin of the accelerator's vendor offers, such as nvidia.com/gpu",
        )
    return problems.found


def _golden_refusals(service: InferenceService, where: str) -> list[Problem]:
    problems = Problems()
    if not service.golden:
        return []
    if service.exposure == "node" and not _is_node_port(service):
        problems.add(
            f"{where}.golden",
            "must be answered before the first request, and this port of the node leads to a pod as soon as it runs",
            found=f"port {service.port}",
            expected="a port of 30000 to 30085, or 'exposure: internal'",
            remedy="Kubernetes publishes ports of 30000 to 30085 itself, and leads them to pods that have passed.",
        )
    if service.container_port == GOLDEN_PORT:
        problems.add(
            f"{where}.container_port",
            "is where the golden set is asked from",
            found=str(GOLDEN_PORT),
            expected="another",
        )
    if (size := len(golden_text(service).encode())) > GOLDEN_LIMIT:
        problems.add(
            f"{where}.golden",
            "is too large to be part of a pod",
            found=f"{size} bytes of JSON",
            expected=f"at most {GOLDEN_LIMIT}",
            remedy="Keep fewer or smaller cases.",
        )
    return problems.found


def _is_node_port(service: InferenceService) -> bool:
    """Tell whether Kubernetes itself publishes the service's port on all nodes (``NodePort``)."""
    return service.exposure == "node" and service.port in _STATIC_NODE_PORTS


def node_refusals(service: InferenceService, nodes: tuple[str, ...], *, where: str) -> list[Problem]:
    """Return what of a service these nodes cannot give together, with paths below ``where``."""
    problems = Problems()
    if _has_host_port(service) and service.replicas > len(nodes):
        problems.add(
            f"{where}.replicas",
            f"each of them has port {service.port} of a node for itself",
            found=f"{service.replicas}, on {len(nodes)} nodes that declare the service",
            expected=f"at most {len(nodes)}",
            remedy="Declare the service on more nodes, set 'exposure: internal', or take a port of 30000 to 30085.",
        )
    return problems.found


def service_objects(
    service: InferenceService,
    *,
    site: str,
    image: str,
    nodes: tuple[str, ...],
    model_image: str = "",
    golden_image: str = "",
    digest: str = "",
) -> list[dict[str, Any]]:
    """Render all objects of a service; the same service is always the same data.

    A port of the node is a ``hostPort``: clients outside find the service where podman has it, and no load balancer is
    needed. Two pods of a node cannot have it at once, so a single old one ends before the new one starts; and it leads
    to a pod that is not ready, too. Of several, one after the other is replaced. A port of 30000 to 30085 is a
    ``NodePort`` instead: like an internal service's, its pods are replaced only when the new one is ready.

    Args:
        service: the service.
        site: name of the site, which labels the objects.
        image: name of its image in the node's container store, where it is already.
        nodes: those that have its models.
        model_image: name of the image with its models in that store, if it has one.
        golden_image: name of the image in that store that asks its golden set, if it has one.
        digest: of what the names stand for, models and images; another one makes other pods.
    """
    marks = labels(service, INFERENCE_SERVICE, site=site)
    own = {"app.kubernetes.io/name": service.name, WORKLOAD_LABEL: INFERENCE_SERVICE}
    meta = {"name": service.name, "namespace": NAMESPACE, "labels": marks}
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": service.replicas,
            "revisionHistoryLimit": 2,
            # Until then a new pod may start and answer its golden set; it is told when it has not, and old ones stay.
            "progressDeadlineSeconds": service.probes.startup + 300,
            "strategy": _strategy(service),
            # A Deployment's selector cannot be changed: it is that of the first release.
            "selector": {"matchLabels": {"app.kubernetes.io/name": service.name}},
            "template": {
                "metadata": {"labels": dict(marks)},
                "spec": _pod(service, image, nodes, model_image, golden_image),
            },
        },
    }
    if annotations := {**golden_annotations(service), **({DIGEST_ANNOTATION: digest} if digest else {})}:
        deployment["spec"]["template"]["metadata"]["annotations"] = annotations
    port = {"name": "http", "protocol": "TCP", "port": service.port, "targetPort": "http"}
    published = {"type": "NodePort", "ports": [{**port, "nodePort": service.port}]}
    cluster_service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": dict(marks)},
        "spec": {
            "selector": {"app.kubernetes.io/name": service.name},
            **(published if _is_node_port(service) else {"ports": [port]}),
        },
    }
    objects = [priority_class(service, INFERENCE_SERVICE, site=site), _network_policy(service, meta, own)]
    if service.replicas > 1:
        objects.append(_disruption_budget(meta, own))
    return [*objects, deployment, cluster_service]


def rolls(service: InferenceService) -> bool:
    """Tell whether pods are replaced while others answer."""
    return not _has_host_port(service) or service.replicas > 1


def _has_host_port(service: InferenceService) -> bool:
    return service.exposure == "node" and not _is_node_port(service)


def _strategy(service: InferenceService) -> dict[str, Any]:
    if not rolls(service):
        return {"type": "Recreate"}
    surge, unavailable = (0, 1) if _has_host_port(service) else (1, 0)
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


def _pod(
    service: InferenceService, image: str, nodes: tuple[str, ...], model_image: str, golden_image: str
) -> dict[str, Any]:
    server = container(service, image)
    if _has_host_port(service):
        server["ports"][0]["hostPort"] = service.port
    if rolls(service):
        server["lifecycle"] = drain()
    pod = {
        "priorityClassName": priority_class_name(service, INFERENCE_SERVICE),
        **pod_settings(service, nodes, drains=rolls(service)),
        "containers": [server, *golden_containers(service, golden_image)],
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
