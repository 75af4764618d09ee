"""The pod of an inference service on Kubernetes: what ``quadlet.py`` gives it with podman, it has here too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import model_folder
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
GOLDEN_PORT: Final = 7999
"""Of the pod: open once the golden set has been answered right."""
GOLDEN_LIMIT: Final = 200_000
"""Bytes of a golden set as JSON: all annotations of an object may have 256 KiB (apimachinery, ValidateAnnotations)."""
DIGEST_ANNOTATION: Final = "edgewright.digest"
"""Of a pod: what it is made of."""
_GOLDEN_ANNOTATION: Final = "edgewright.golden"
_GOLDEN_FOLDER: Final = "/golden"
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
        "securityContext": _confinement(),
        # Only one that never came to life is started anew; one whose model is broken is never ready, and says why.
        "startupProbe": _probe(service, "live", failures=service.probes.startup_failures),
        "livenessProbe": _probe(service, "live", failures=6),
        "readinessProbe": _probe(service, "ready", failures=2),
        "volumeMounts": [
            *_models_mounts(service),
            *({"name": folder, "mountPath": path} for folder, path in _writable_folders().items()),
        ],
    }
    if service.arguments:
        rendered["args"] = [_literal(argument) for argument in service.arguments]
    return rendered


def golden_text(service: InferenceService) -> str:
    """Return the golden set as the program that asks it reads it."""
    return json.dumps([case.question() for case in service.golden], separators=(",", ":"), ensure_ascii=False)


def golden_annotations(service: InferenceService) -> dict[str, str]:
    """Return what the pod template has of the golden set: all of it.

    So each pod keeps the one that it was made with, also after the node was restarted, and another golden set makes
    another pod. A ConfigMap would be the new one for the old pods too, or be gone when they come back.
    """
    return {_GOLDEN_ANNOTATION: golden_text(service)} if service.golden else {}


def golden_containers(service: InferenceService, image: str) -> list[dict[str, Any]]:
    """Render the container that asks the golden set, if there is one.

    A pod gets requests when all its containers are ready; this one is when its port is open, which is asked until then
    and never again. It ends when the server does, and is started anew. What it says last is in the pod's status.
    """
    if not service.golden:
        return []
    options = {
        "url": f"http://127.0.0.1:{service.container_port}",
        "cases": f"{_GOLDEN_FOLDER}/cases.json",
        "port": str(GOLDEN_PORT),
        "timeout": str(service.probes.startup),
    }
    return [
        {
            "name": "golden",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/bin/python3", "-m", "inference_server.golden"],
            "args": [f"--{option}={value}" for option, value in options.items()],
            "resources": {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": _confinement(),
            "startupProbe": {
                "tcpSocket": {"port": GOLDEN_PORT},
                "periodSeconds": 1,
                # It waits for the server as long as Kubernetes does: it is not what has to be started anew.
                "failureThreshold": 2**31 - 1,
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{"name": "golden", "mountPath": _GOLDEN_FOLDER, "readOnly": True}],
        }
    ]


def volumes(service: InferenceService, model_image: str) -> list[dict[str, Any]]:
    """Render the volumes that the containers mount; ``model_image`` is the name of that image in the node's store.

    An image volume is stable since Kubernetes 1.36 (kubernetes.io/docs, "Image Volumes"). Of the models on the node a
    pod has its own versions only: an old pod that comes back while a new one is tried does not find the new model.
    """
    if service.model_image:
        image = {"reference": model_image, "pullPolicy": "IfNotPresent"}
        models: list[dict[str, Any]] = [{"name": "models", "image": image}]
    else:
        folders = [model_folder(service.name, model) for model in service.models]
        models = [
            {"name": f"models-{number}", "hostPath": {"path": folder, "type": "Directory"}}
            for number, folder in enumerate(folders)
        ]
    if service.golden:
        field = {"fieldPath": f"metadata.annotations['{_GOLDEN_ANNOTATION}']"}
        models.append({"name": "golden", "downwardAPI": {"items": [{"path": "cases.json", "fieldRef": field}]}})
    return [*models, *({"name": folder, "emptyDir": {"medium": "Memory"}} for folder in _writable_folders())]


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


def _confinement() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _models_mounts(service: InferenceService) -> list[dict[str, Any]]:
    if service.model_image:
        subpath = MODELS_IN_IMAGE.strip("/")
        return [{"name": "models", "mountPath": MODELS_IN_CONTAINER, "readOnly": True, "subPath": subpath}]
    return [
        {
            "name": f"models-{number}",
            "mountPath": f"{MODELS_IN_CONTAINER}/{model.name}/{model.version}",
            "readOnly": True,
        }
        for number, model in enumerate(service.models)
    ]


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
