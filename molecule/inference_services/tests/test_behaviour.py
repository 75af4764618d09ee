"""The tests that inference services pass on every runtime, on podman."""

from __future__ import annotations

from typing import Any

import scenario
from inference_service import BOUNDS, IMAGE, InferenceServiceBehaviour, Runtime

WORKLOADS = scenario.HERE / "workloads.yml"
# As the scenario's inventory has it. podman alone gives a container devices by their nodes.
IMAGED: dict[str, Any] = {
    "name": "imaged",
    "image": IMAGE,
    "model_image": "registry.example/models/scaled:5",
    "models": [{"name": "scaled", "version": 5}],
    "port": 8082,
    "accelerator": {"devices": ["/dev/null"], "groups": [44]},
    "resources": BOUNDS,
    "start_order": 40,
}


class _Podman(Runtime):
    def apply(self, services: list[dict[str, Any]]) -> scenario.Run:
        variables = {
            "edge_inference_services": [*services, IMAGED],
            "inference_services__image_archives": {
                IMAGED["model_image"]: f"{scenario.SCENARIO}/models.tar",
                IMAGE: f"{scenario.SCENARIO}/inference-server.tar",
            },
        }
        return scenario.play(WORKLOADS, node=scenario.NODE, variables=variables)

    def internal_url(self, host: Any, service: dict[str, Any]) -> str:  # noqa: ARG002 - a cluster is asked
        return f"http://127.0.0.1:{service['port']}"

    def process(self, host: Any, name: str) -> str:
        return str(host.check_output("systemctl show -P MainPID %s.service", name))

    def kill(self, host: Any, name: str) -> None:
        host.check_output("kill -9 %s", host.check_output("podman inspect --format '{{.State.Pid}}' %s", name))

    def power_cycle(self, host: Any) -> None:  # noqa: ARG002 - a cluster is waited for
        scenario.power_cycle(scenario.NODE)


class TestInferenceService(InferenceServiceBehaviour):
    runtime = _Podman()
