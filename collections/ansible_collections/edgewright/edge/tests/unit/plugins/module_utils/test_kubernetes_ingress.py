"""The ingress of a cluster, against the schemas of Kubernetes and by what Traefik does with it."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_service import service_objects
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_ingress import ingress_objects
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_virtual_machine import machine_objects
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import virtual_machines
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

LONG = "a" * 63
DATA = {
    "max_body_size": "64MiB",
    "client_ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "timeout": 30,
    "routes": [
        {"service": "first", "path": "/x/y"},
        {"service": "first", "host": "first.example"},
        {"virtual_machine": "till", "port": 8000, "host": "till.example"},
    ],
}


def objects(data: object = DATA, services: tuple[str, ...] = ("first", LONG)) -> list[dict[str, Any]]:
    return ingress_objects(Ingress.from_inventory(data, where="edge_ingress"), services, site="s")


def of_kind(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in found if entry["kind"] == kind]


def test_the_kinds_of_kubernetes_are_valid_and_names_are_unique():
    found = objects()
    for entry in found:
        assert len(entry["metadata"]["name"]) <= 63
        if entry["kind"] in {"Ingress", "Secret", "Service"}:
            validate(entry)
    names = [(entry["kind"], entry["metadata"]["name"]) for entry in found]
    assert len(set(names)) == len(names)


def test_every_reference_leads_to_an_object():
    found = objects()
    services = {entry["metadata"]["name"] for entry in of_kind("Service", found)}
    middlewares = {f"edgewright-{entry['metadata']['name']}@kubernetescrd" for entry in of_kind("Middleware", found)}
    (transport,) = (
        f"edgewright-{entry['metadata']['name']}@kubernetescrd" for entry in of_kind("ServersTransport", found)
    )
    for entry in of_kind("Ingress", found):
        named = entry["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.middlewares"].split(",")
        assert set(named) <= middlewares
        for rule in entry["spec"]["rules"]:
            assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} <= services
        assert [tls["secretName"] for tls in entry["spec"]["tls"]] == ["edgewright-ingress"]
    for entry in of_kind("Service", found):
        assert list(entry["metadata"]["annotations"].values()) == [transport]


def selects(selector: dict[str, str], marks: dict[str, str]) -> bool:
    return selector.items() <= marks.items()


def test_a_service_finds_the_pods_of_its_target_and_their_policy_lets_it_in():
    machine = virtual_machines(
        [{"name": "till", "memory": "1GiB", "disks": [{"source": "file:d.img", "bus": "sata"}], "nics": [{}]}],
        where="edge_virtual_machines",
        site="s",
    )[0]
    declared = {
        "name": "first",
        "image": "build:containers/x",
        "port": 8080,
        "models": [{"name": "m", "source": "file:m"}],
    }
    service = inference_services([declared], where="edge_inference_services")[0]
    rendered = service_objects(service, site="s", image="x", nodes=("n",))
    (deployment,) = of_kind("Deployment", rendered)
    (guest,) = of_kind("VirtualMachine", machine_objects(machine, site="s", node="n"))
    by_name = {entry["metadata"]["name"]: entry["spec"] for entry in of_kind("Service", objects())}
    pod = deployment["spec"]["template"]
    assert selects(by_name["edgewright-ingress-first"]["selector"], pod["metadata"]["labels"])
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert by_name["edgewright-ingress-first"]["ports"][0]["targetPort"] == port["name"]
    till = by_name["edgewright-ingress-till-8000"]
    assert selects(till["selector"], guest["spec"]["template"]["metadata"]["labels"])
    assert till["ports"][0]["targetPort"] == 8000
    (policy,) = of_kind("NetworkPolicy", rendered)
    assert policy["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": port["containerPort"]}]}]


def test_clients_are_asked_for_a_certificate_of_the_authorities_that_are_named():
    found = objects()
    (options,), (secret,) = of_kind("TLSOption", found), of_kind("Secret", found)
    # Traefik takes these for all it answers, whatever host was asked for, if they have this name.
    assert options["metadata"]["name"] == "default"
    assert options["spec"]["clientAuth"]["secretNames"] == [secret["metadata"]["name"]]
    assert secret["stringData"] == {"ca.crt": DATA["client_ca"]}
    assert of_kind("TLSOption", objects({})) == []


def test_hosts_come_before_paths_and_long_paths_before_short_ones():
    found = of_kind(
        "Ingress", objects({"routes": [{"service": "first", "path": "/a/b"}, {"service": "b", "host": "h.i"}]})
    )
    priorities = {
        entry["spec"]["rules"][0]["http"]["paths"][-1]["path"]: int(
            entry["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.priority"]
        )
        for entry in found
    }
    assert priorities["/"] > priorities[f"/{LONG}/"] > priorities["/a/b/"]


def test_settings_of_the_chart_are_yaml_that_traefik_s_command_line_takes():
    (settings,) = of_kind("HelmChartConfig", objects())
    assert (settings["metadata"]["name"], settings["metadata"]["namespace"]) == ("traefik", "kube-system")
    values = yaml.safe_load(settings["spec"]["valuesContent"])
    arguments = dict(argument.split("=", 1) for argument in values["additionalArguments"])
    assert arguments["--entryPoints.web.http.redirections.entryPoint.to"] == ":443"
    assert arguments["--entryPoints.websecure.transport.respondingTimeouts.readTimeout"] == "30s"
