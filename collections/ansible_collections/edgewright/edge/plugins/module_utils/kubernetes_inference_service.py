"""An inference service as objects of Kubernetes: what ``quadlet.py`` gives it with podman, it has here too."""

from __future__ import annotations

from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    InferenceService,
    Resources,
    repository_path,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    INFERENCE_SERVICE,
    NAMESPACE,
    labels,
    on_nodes,
    priority_class,
    priority_class_name,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quadlet import STOP_SECONDS, USER

# Ports of the node that k3s, its kubelet and etcd listen on (docs.k3s.io/installation/requirements, and the loopback
# ports of Kubernetes' own components), and 5000, the registry of an image-built node. A container's port on the node
# takes connections before any program that listens there.
_NODE_PORTS: Final = frozenset(
    {2379, 2380, 2381, 2382, 5000, 5001, 6443, 6444, 10010, 10248, 10249, 10250, 10256, 10257, 10258, 10259}
)
_NODE_PORT_SERVICES: Final = range(30000, 32768)
_WRITABLE: Final = ("/tmp", "/run", "/var/tmp")  # noqa: S108 (of the container; podman's ReadOnlyTmpfs has these)
_START_SECONDS: Final = 300
_PROBE_SECONDS: Final = 5


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
    return problems.found


def service_objects(
    service: InferenceService, *, site: str, image: str, nodes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Render a service's ``PriorityClass``, ``Deployment`` and ``Service``; the same service is always the same data.

    The port is the node's (``hostPort``): clients outside find the service where podman has it, and no load balancer
    is needed. Two pods cannot have it at once, so the old one ends before the new one starts.

    Args:
        service: the service.
        site: name of the site, which labels the objects.
        image: name of its image in the node's container store, where it is already.
        nodes: those that have its models.
    """
    marks = labels(service, INFERENCE_SERVICE, site=site)
    own = {"app.kubernetes.io/name": service.name}
    meta = {"name": service.name, "namespace": NAMESPACE, "labels": marks}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": dict(marks)}, "spec": _pod(service, image, nodes)},
        },
    }
    cluster_service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": dict(marks)},
        "spec": {
            "selector": dict(own),
            "ports": [{"name": "http", "protocol": "TCP", "port": service.port, "targetPort": "http"}],
        },
    }
    return [priority_class(service, INFERENCE_SERVICE, site=site), deployment, cluster_service]


def _pod(service: InferenceService, image: str, nodes: tuple[str, ...]) -> dict[str, Any]:
    folders = {path.strip("/").replace("/", "-"): path for path in _WRITABLE}
    container: dict[str, Any] = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": "http", "protocol": "TCP", "containerPort": service.container_port, "hostPort": service.port}
        ],
        "env": [{"name": name, "value": _literal(value)} for name, value in sorted(service.environment.items())],
        "resources": _resources(service.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # Only one that never came to life is started anew; one whose model is broken is never ready, and says why.
        "startupProbe": _probe("live", failures=_START_SECONDS // _PROBE_SECONDS),
        "livenessProbe": _probe("live", failures=6),
        "readinessProbe": _probe("ready", failures=2),
        "volumeMounts": [
            {"name": "models", "mountPath": "/models", "readOnly": True},
            *({"name": name, "mountPath": path} for name, path in folders.items()),
        ],
    }
    if service.arguments:
        container["args"] = [_literal(argument) for argument in service.arguments]
    return {
        "priorityClassName": priority_class_name(service, INFERENCE_SERVICE),
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": on_nodes(nodes)}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "models", "hostPath": {"path": repository_path(service.name), "type": "Directory"}},
            *({"name": name, "emptyDir": {"medium": "Memory"}} for name in folders),
        ],
    }


def _resources(resources: Resources) -> dict[str, Any]:
    """Render limits, and what the scheduler sets aside.

    Memory that is promised must be there. Processors are shared: a tenth of the limit is set aside (as KubeVirt does
    for its machines), so that a service that may use the whole node's still fits beside the others.
    """
    limits, requests = {}, {}
    if resources.millicpus is not None:
        limits["cpu"] = f"{resources.millicpus}m"
        requests["cpu"] = f"{max(1, resources.millicpus // 10)}m"
    if resources.memory is not None:
        limits["memory"] = requests["memory"] = str(resources.memory)
    return {"requests": requests, "limits": limits} if limits else {}


def _probe(question: str, *, failures: int) -> dict[str, Any]:
    """Render a probe of the Open Inference Protocol's health routes."""
    return {
        "httpGet": {"path": f"/v2/health/{question}", "port": "http"},
        "periodSeconds": _PROBE_SECONDS,
        "timeoutSeconds": _PROBE_SECONDS,
        "failureThreshold": failures,
    }


def _literal(text: str) -> str:
    """Return text that Kubernetes leaves as it is: ``$(NAME)`` would be a variable, ``$$`` is one dollar sign."""
    return text.replace("$", "$$")
