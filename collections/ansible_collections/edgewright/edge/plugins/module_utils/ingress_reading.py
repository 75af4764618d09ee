"""The site's ingress read together with what it leads to, the same way for every runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress, port_problems, problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_ingress import component_problems
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import virtual_machines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

_WHERE = "edge_ingress"


@dataclass(frozen=True)
class IngressReading:
    """An ingress that fits what is behind it.

    Attributes:
        ingress: as declared.
        services: the inference services of all nodes by name.
        subjects: names and addresses that its certificate is for.
    """

    ingress: Ingress
    services: dict[str, InferenceService]
    subjects: list[str]


def read_ingress(
    data: object, nodes: Mapping[str, Mapping[str, Any]], *, site: str, runtime: str, config: object = None
) -> IngressReading:
    """Read ``edge_ingress`` and what the nodes behind it declare.

    Args:
        data: ``edge_ingress``.
        nodes: by name, with any of ``services`` (``edge_inference_services``), ``machines``
            (``edge_virtual_machines``) and ``network`` (``edge_network``).
        site: its name.
        runtime: ``podman`` or ``k3s``.
        config: options of k3s's servers (``k3s__config``).

    Raises:
        EdgeError: a variable is wrong in itself; or all of what does not fit together.
    """
    ingress = Ingress.from_inventory(data, where=_WHERE)
    found = Problems()
    services: dict[str, InferenceService] = {}
    machines: dict[str, VirtualMachine] = {}
    networks: dict[str, Network] = {}
    for node, declared in nodes.items():
        read = inference_services(declared.get("services"), where="edge_inference_services")
        found.found += port_problems(read, runtime=runtime)
        for service in read:
            services.setdefault(service.name, service)
        for machine in virtual_machines(declared.get("machines"), where="edge_virtual_machines", site=site):
            machines.setdefault(machine.name, machine)
        networks[node] = Network.from_inventory(declared.get("network") or {}, where="edge_network")
    if runtime == "k3s":
        found.found += component_problems(config, where=_WHERE)
    found.found += problems(ingress, services.values(), machines.values(), runtime=runtime, where=_WHERE)
    found.raise_if_any()
    return IngressReading(ingress, services, ingress.subjects(networks))
