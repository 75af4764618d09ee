"""An inference service for a cluster that has KServe: a ``ServingRuntime`` and the ``InferenceService`` that uses it.

KServe gives what Edgewright's own Deployment does without: autoscaling, canaries, its own routes. The server and its
models are the same; so the models are mounted by the runtime where the image expects them, and KServe's storage
initializer, which would download them to ``/mnt/models``, has nothing to do (no ``storageUri``).

Fields are those of ``serving.kserve.io/v1alpha1`` and ``v1beta1`` (kserve: config/crd/full, pkg/apis/serving).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_pod import (
    container,
    drain,
    golden_annotations,
    golden_containers,
    pod_settings,
    volumes,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    INFERENCE_SERVICE,
    NAMESPACE,
    labels,
    priority_class,
    priority_class_name,
)

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

_CONTAINER: Final = "kserve-container"
"""What KServe calls the container that it sends requests to (pkg/constants, ``InferenceServiceContainerName``)."""
_LONGEST_NAME: Final = 63 - len("-predictor")
_RUNTIME_KEYS: Final = ("affinity", "tolerations")


def refusals(service: InferenceService, *, where: str) -> list[Problem]:
    """Return what of a service KServe cannot give, with paths below ``where``."""
    problems = Problems()
    if len(service.name) > _LONGEST_NAME:
        problems.add(
            f"{where}.name",
            "is too long: KServe names a Service '<name>-predictor'",
            found=repr(service.name),
            expected=f"at most {_LONGEST_NAME} characters",
        )
    if service.exposure == "node":
        problems.add(
            f"{where}.exposure",
            "is a port of the node, and KServe routes requests itself",
            found="node",
            expected="internal",
            remedy="Set 'exposure: internal'.",
        )
    return problems.found


def kserve_objects(
    service: InferenceService,
    *,
    site: str,
    image: str,
    nodes: tuple[str, ...],
    model_image: str = "",
    golden_image: str = "",
) -> list[dict[str, Any]]:
    """Render a service's ``PriorityClass``, ``ServingRuntime`` and ``InferenceService``.

    The runtime serves this service only: it is named by it and selected by nothing else. The arguments are those of
    ``kubernetes_inference_service.service_objects``.
    """
    marks = labels(service, INFERENCE_SERVICE, site=site)
    formats = [{"name": "onnx", "version": "1", "autoSelect": False}]
    settings = pod_settings(service, nodes, drains=True)
    both: dict[str, Any] = {key: settings[key] for key in _RUNTIME_KEYS if key in settings}
    runtime: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": service.name, "namespace": NAMESPACE, "labels": dict(marks)},
        "spec": {
            "supportedModelFormats": formats,
            "protocolVersions": ["v2"],
            "containers": [
                {**container(service, image, name=_CONTAINER), "lifecycle": drain()},
                *golden_containers(service, golden_image),
            ],
            "volumes": volumes(service, model_image),
            **both,
        },
    }
    if annotations := golden_annotations(service):
        runtime["spec"]["annotations"] = annotations
    predictor = {
        "minReplicas": service.replicas,
        "maxReplicas": service.replicas,
        "priorityClassName": priority_class_name(service, INFERENCE_SERVICE),
        **{key: value for key, value in settings.items() if key not in _RUNTIME_KEYS},
        "model": {"modelFormat": {"name": "onnx", "version": "1"}, "protocolVersion": "v2", "runtime": service.name},
    }
    inference = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service.name,
            "namespace": NAMESPACE,
            "labels": dict(marks),
            # Without Knative; KServe before 0.16 knows the mode by this name, later ones by both.
            "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"},
        },
        "spec": {"predictor": predictor},
    }
    return [priority_class(service, INFERENCE_SERVICE, site=site), runtime, inference]
