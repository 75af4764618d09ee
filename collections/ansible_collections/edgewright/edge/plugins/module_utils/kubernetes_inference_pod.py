"""The pod of an inference service on Kubernetes: what ``quadlet.py`` gives it with podman, it has here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import repository_path
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import on_nodes
from ansible_collections.edgewright.edge.plugins.module_utils.quadlet import (
    MODELS_IN_CONTAINER,
    MODELS_IN_IMAGE,
    STOP_SECONDS,
    USER,
)

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

DRAIN_SECONDS: Final = 5
"""How long a pod that is to stop still answers: until no node sends it a request any more."""
_WRITABLE: Final = ("/tmp", "/run", "/var/tmp")  # noqa: S108 (of the container; podman's ReadOnlyTmpfs has these)


def container(service: InferenceService, image: str, *, name: str = "server") -> dict[str, Any]:
    """Render the container of a service, without its port of the node."""
    rendered: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "protocol": "TCP", "containerPort": service.container_port}],
        "env": [{"name": key, "value": _literal(value)} for key, value in sorted(service.environment.items())],
        "resources": _resources(service),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # Only one that never came to life is started anew; one whose model is broken is never ready, and says why.
        "startupProbe": _probe(service, "live", failures=service.probes.startup_failures),
        "livenessProbe": _probe(service, "live", failures=6),
        "readinessProbe": _probe(service, "ready", failures=2),
        "volumeMounts": [
            _models_mount(service),
            *({"name": folder, "mountPath": path} for folder, path in _writable_folders().items()),
        ],
    }
    if service.arguments:
        rendered["args"] = [_literal(argument) for argument in service.arguments]
    return rendered


def volumes(service: InferenceService, model_image: str) -> list[dict[str, Any]]:
    """Render the volumes that the container mounts; ``model_image`` is the name of that image in the node's store.

    An image volume is stable since Kubernetes 1.36 (kubernetes.io/docs, "Image Volumes").
    """
    models: dict[str, Any] = {"name": "models"}
    if service.model_image:
        models["image"] = {"reference": model_image, "pullPolicy": "IfNotPresent"}
    else:
        models["hostPath"] = {"path": repository_path(service.name), "type": "Directory"}
    return [models, *({"name": folder, "emptyDir": {"medium": "Memory"}} for folder in _writable_folders())]


def pod_settings(service: InferenceService, nodes: tuple[str, ...], *, drains: bool) -> dict[str, Any]:
    """Render what a pod has besides containers and volumes.

    Args:
        service: the service.
        nodes: those that may run it.
        drains: whether the pod answers for ``DRAIN_SECONDS`` yet when it is to stop.
    """
    security: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    settings: dict[str, Any] = {
        "terminationGracePeriodSeconds": STOP_SECONDS + (DRAIN_SECONDS if drains else 0),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": on_nodes(nodes)}},
        "securityContext": security,
    }
    accelerator = service.accelerator
    if accelerator is not None:
        # Nodes with accelerators commonly repel what does not ask for one, by a taint of the resource's name.
        settings["tolerations"] = [{"key": accelerator.resource, "operator": "Exists"}]
        if accelerator.runtime_class:
            settings["runtimeClassName"] = accelerator.runtime_class
        if accelerator.groups:
            security["supplementalGroups"] = list(accelerator.groups)
    return settings


def drain() -> dict[str, Any]:
    """Render the wait before a pod is told to stop."""
    return {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}}


def _writable_folders() -> dict[str, str]:
    return {path.strip("/").replace("/", "-"): path for path in _WRITABLE}


def _models_mount(service: InferenceService) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": "models", "mountPath": MODELS_IN_CONTAINER, "readOnly": True}
    if service.model_image:
        mount["subPath"] = MODELS_IN_IMAGE.strip("/")
    return mount


def _resources(service: InferenceService) -> dict[str, Any]:
    """Render limits, and what the scheduler sets aside.

    Memory that is promised must be there. Processors are shared: a tenth of the limit is set aside (as KubeVirt does
    for its machines), so that a service that may use the whole node's still fits beside the others.
    """
    resources = service.resources
    limits, requests = {}, {}
    if resources.millicpus is not None:
        limits["cpu"] = f"{resources.millicpus}m"
        requests["cpu"] = f"{max(1, resources.millicpus // 10)}m"
    if resources.memory is not None:
        limits["memory"] = requests["memory"] = str(resources.memory)
    if service.accelerator is not None:
        limits[service.accelerator.resource] = requests[service.accelerator.resource] = str(service.accelerator.count)
    return {"requests": requests, "limits": limits} if limits else {}


def _probe(service: InferenceService, question: str, *, failures: int) -> dict[str, Any]:
    """Render a probe of the Open Inference Protocol's health routes."""
    return {
        "httpGet": {"path": f"/v2/health/{question}", "port": "http"},
        "periodSeconds": service.probes.period,
        "timeoutSeconds": service.probes.timeout,
        "failureThreshold": failures,
    }


def _literal(text: str) -> str:
    """Return text that Kubernetes leaves as it is: ``$(NAME)`` would be a variable, ``$$`` is one dollar sign."""
    return text.replace("$", "$$")
