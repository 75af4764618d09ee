"""The ingress of a site across its hosts: what a cluster's nodes must agree on, and one authority for all machines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress, problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_ingress import component_problems
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import virtual_machines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

_VARIABLE = "edge_ingress"
_GIVEN = ("ingress__certificate", "ingress__ca_certificate")


def check_ingress(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]] | None = None
) -> list[Problem]:
    """Return what is wrong with the ingress between the hosts of a site; ``where`` is ``<host>: <key path>``.

    What cannot be read is for the check of its host to tell.
    """
    having = [host for host, variables in hosts.items() if variables.get(_VARIABLE) is not None]
    found = Problems()
    alone = [host for host in having if hosts[host].get("edge_runtime") == "podman"]
    without = [host for host in alone if not any(hosts[host].get(name) for name in _GIVEN)]
    if len(alone) > 1:
        for host in without:
            found.add(
                f"{host}: {_VARIABLE}",
                "each of the site's machines would make an authority of its own",
                found=f"{len(alone)} machines with an ingress",
                expected="one authority for all",
                remedy="Make it once, and give 'ingress__ca_certificate' and 'ingress__ca_key' (docs/ingress.md).",
            )
    cluster = [host for host, variables in hosts.items() if variables.get("edge_runtime") == "k3s"]
    if not having or not cluster:
        return found.found
    first = (groups or {}).get("k3s_server", cluster)[0]
    for host in cluster:
        if hosts[host].get(_VARIABLE) != hosts.get(first, {}).get(_VARIABLE):
            found.add(
                f"{host}: {_VARIABLE}",
                "differs between hosts of one cluster",
                expected=f"what {first} has",
                remedy="Set it in group_vars/all.yml only.",
            )
    if found.found or first not in hosts:
        return found.found
    return [*found.found, *_cluster_problems(hosts, cluster, first)]


def _cluster_problems(hosts: Mapping[str, Mapping[str, Any]], cluster: Sequence[str], first: str) -> list[Problem]:
    """Return what of the ingress does not fit what all nodes declare together."""
    try:
        ingress = Ingress.from_inventory(hosts[first][_VARIABLE], where=_VARIABLE)
    except EdgeError:
        return []
    services: dict[str, InferenceService] = {}
    machines: dict[str, VirtualMachine] = {}
    for host in cluster:
        variables = hosts[host]
        try:
            read = inference_services(variables.get("edge_inference_services"), where="edge_inference_services")
            site = str(variables.get("edge_site"))
            known = virtual_machines(variables.get("edge_virtual_machines"), where="edge_virtual_machines", site=site)
        except EdgeError:
            return []
        services.update({service.name: service for service in read})
        machines.update({machine.name: machine for machine in known})
    found = component_problems(hosts[first].get("k3s__config"), where=_VARIABLE)
    found += problems(ingress, services.values(), machines.values(), runtime="k3s", where=_VARIABLE)
    return [replace(problem, where=f"{first}: {problem.where}") for problem in found]
