"""The tests that inference services pass on every runtime, on k3s."""

from __future__ import annotations

import json
from typing import Any

import scenario
from inference_service import IMAGE, InferenceServiceBehaviour, Runtime
from real_site import CHANGED, WORKLOADS, play, power_cycle
from scenario import SCENARIO


class _K3s(Runtime):
    def apply(self, services: list[dict[str, Any]]) -> scenario.Run:
        CHANGED["edge_inference_services"] = services
        CHANGED["inference_services__image_archives"] = {IMAGE: f"{SCENARIO}/inference-server.tar"} if services else {}
        return play(WORKLOADS)

    def internal_url(self, host: Any, service: dict[str, Any]) -> str:
        address = host.check_output(
            "kubectl -n edgewright get service %s -o jsonpath={.spec.clusterIP}", service["name"]
        )
        return f"http://{address}:{service['port']}"

    def process(self, host: Any, name: str) -> str:
        return " ".join(self._containers(host, name))

    def kill(self, host: Any, name: str) -> None:
        (container,) = self._containers(host, name)
        inspected = json.loads(host.check_output("crictl inspect %s", container))
        host.check_output("kill -9 %s", str(inspected["info"]["pid"]))

    def power_cycle(self, host: Any) -> None:
        power_cycle(host)

    def _containers(self, host: Any, name: str) -> list[str]:
        selected = f"app.kubernetes.io/name={name}"
        pods = json.loads(host.check_output("kubectl -n edgewright get pods -o json -l %s", selected))["items"]
        # One that was replaced answers for some seconds yet, and is on its way out.
        pods = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
        return [
            status["containerID"].removeprefix("containerd://") for status in statuses if "running" in status["state"]
        ]


class TestInferenceService(InferenceServiceBehaviour):
    runtime = _K3s()
