#!/usr/bin/python3
"""What virt-operator and cdi-operator tell of themselves, in place of them, once a pod of theirs runs.

Each looks whether its pod runs and its object is there, and sets the object's status as the operator of that version
does. (The pod and not its Deployment: that still tells of the old pods when its template has the next version already.)
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError


class Operator(NamedTuple):
    """Where an operator and its object are."""

    namespace: str
    pod: str  # as the stand-in for k3s names the only one of a Deployment
    path: str
    version: str  # name of the field with the version that runs


OPERATORS = (
    Operator(
        "kubevirt",
        "virt-operator-0",
        "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt",
        "observedKubeVirtVersion",
    ),
    Operator("cdi", "cdi-operator-0", "/apis/cdi.kubevirt.io/v1beta1/cdis/cdi", "observedVersion"),
)


def ask(api: Any, method: str, path: str, body: Any = None) -> Any:
    """Return what the API answers."""
    return api.call_api(path, method, body=body, response_type="object", _return_http_data_only=True)


def reconcile(api: Any, operator: Operator) -> None:
    """Tell what is so now; raises ApiException 404 where something is missing."""
    pod = ask(api, "GET", f"/api/v1/namespaces/{operator.namespace}/pods/{operator.pod}")
    found = ask(api, "GET", operator.path)
    if pod["status"]["phase"] != "Running":
        return
    (container,) = pod["spec"]["containers"]
    status = {
        "phase": "Deployed",
        operator.version: container["image"].rpartition(":")[2],
        "conditions": [{"type": "Available", "status": "True", "reason": "AllComponentsReady"}],
    }
    if any(found.get("status", {}).get(key) != value for key, value in status.items()):
        ask(api, "PATCH", operator.path, {"status": status})


def main() -> None:
    """Do it for ever."""
    while True:
        time.sleep(0.5)
        for operator in OPERATORS:
            try:
                config.load_kube_config("/etc/rancher/k3s/k3s.yaml")  # type: ignore[no-untyped-call]
                reconcile(client.ApiClient(), operator)
            except (ApiException, HTTPError, config.ConfigException, OSError):
                continue


if __name__ == "__main__":
    main()
