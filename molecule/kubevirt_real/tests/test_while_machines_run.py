"""A real KubeVirt while a virtual machine runs: the one that test_virtual_machines_on_every_runtime.py leaves."""

from __future__ import annotations

import json
from typing import Any

import scenario
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import kubevirt_url
from edgewright.image_discovery import images_of
from edgewright.lockfile import LOCK_NAME, Lock
from edgewright.store import Store
from real_site import NODE, play


def test_all_images_that_run_are_among_those_that_the_operators_manifest_stands_for(host: Any) -> None:
    url = kubevirt_url((scenario.SCENARIO / "kubevirt-version").read_text())
    pin = Lock.load(scenario.SCENARIO / "inventory" / LOCK_NAME).artifacts[url]
    manifest = Store(scenario.SCENARIO / "cache" / "store").path(pin.digest).read_bytes()
    pods = json.loads(host.check_output("kubectl get pods --all-namespaces -o json"))["items"]
    running = {
        container["image"]
        for pod in pods
        for kind in ("initContainers", "containers")
        for container in pod["spec"].get(kind, [])
    }
    assert any("virt-launcher" in image for image in running)
    assert running <= set(images_of(manifest, url, "edge_kubernetes.kubevirt"))


def test_certificates_outlive_years_of_being_switched_off(host: Any) -> None:
    for name, years in (("kubevirt-ca", 10), ("kubevirt-virt-api-certs", 5), ("kubevirt-virt-handler-server-certs", 5)):
        secret = json.loads(host.check_output("kubectl -n kubevirt get secret %s -o json", name))
        seconds = (years * 365 - 2) * 86400
        host.check_output(
            "echo %s | base64 -d | openssl x509 -noout -checkend %s", secret["data"]["tls.crt"], str(seconds)
        )


def test_a_node_that_is_emptied_has_no_machine_left_and_starts_it_again(host: Any) -> None:
    play(scenario.HERE / "drain.yml")
    host.check_output(
        "kubectl -n edgewright wait --for=condition=Ready virtualmachine/register --timeout=180s && "
        "kubectl wait --for=condition=Ready node/%s --timeout=10s",
        NODE,
    )
