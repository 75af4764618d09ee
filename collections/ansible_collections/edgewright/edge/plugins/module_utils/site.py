"""All variables of one host of a site, checked together and typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import ingress as site_ingress
from ansible_collections.edgewright.edge.plugins.module_utils import (
    kubernetes_inference_service,
    kubevirt_machine,
    quadlet,
)
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.disk_volume import DATA_VOLUME
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, choice, nearest
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    InferenceService,
    inference_services,
)
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_site import check_ingress
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_site import check_cluster
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import TESTED
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.names import label
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network
from ansible_collections.edgewright.edge.plugins.module_utils.node_identity import NodeIdentity
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB, MIB, TIB, size
from ansible_collections.edgewright.edge.plugins.module_utils.ssh_key import ssh_public_key
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine, virtual_machines

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES: Final = (
    "edge_site",
    "edge_runtime",
    "edge_virtualization",
    "edge_node",
    "edge_network",
    "edge_storage",
    "edge_admin_keys",
    "edge_virtual_machines",
    "edge_inference_services",
    "edge_ingress",
    "edge_kubernetes",
    "edge_mirrors",
)
# Set by playbooks, never by an inventory.
_INTERNAL: Final = ("edge_image_build",)
_SSH_PORT: Final = 22
_STATUS_PORT: Final = 8090  # the default of the base role's base__status_port
_KINDS: Final = {"mac": "MAC address", "serial": "DMI serial number", "uuid": "DMI UUID"}


@dataclass(frozen=True)
class Storage:
    """Sizes in bytes: of each root slot (``None``: fits the content), and of state at least."""

    root_size: int | None = None
    state_min_size: int | None = None

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> Storage:
        """Read ``edge_storage``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=("root_size", "state_min_size"))
        root = fields.read("root_size", size(64 * MIB, 64 * GIB, multiple=MIB), optional=True)
        state = fields.read("state_min_size", size(64 * MIB, 64 * TIB, multiple=MIB), optional=True)
        fields.raise_if_any()
        return cls(root, state)


@dataclass(frozen=True)
class SiteVariables:
    """Everything the inventory says of one host that is not a role's own.

    Attributes:
        site: name of the site.
        runtime: ``podman`` or ``k3s``.
        virtualization: ``kvm`` or ``emulation``.
        node: how the machine is recognised.
        network: its interfaces and time servers.
        storage: sizes of its partitions.
        admin_keys: SSH public keys of the operator's account.
        virtual_machines: as declared.
        inference_services: as declared.
        ingress: one address for all of it, or ``None``.
        kubernetes: releases and manifests with the runtime k3s, else ``None``.
        mirrors: where artifacts are asked for.
    """

    site: str
    runtime: str
    virtualization: str
    node: NodeIdentity
    network: Network
    storage: Storage
    admin_keys: tuple[str, ...]
    virtual_machines: tuple[VirtualMachine, ...]
    inference_services: tuple[InferenceService, ...]
    ingress: Ingress | None = None
    kubernetes: Platform | None = None
    mirrors: Mirrors = field(default_factory=Mirrors)


def parse_site(variables: Mapping[str, Any]) -> SiteVariables:
    """Read the variables of one host; those without the prefix ``edge_`` are not looked at.

    Raises:
        EdgeError: everything that is wrong, in one variable or between two; paths begin with the variable's name.
    """
    own = {name: value for name, value in variables.items() if str(name).startswith("edge_") and name not in _INTERNAL}
    fields = Fields({name: value for name, value in own.items() if name in VARIABLES}, where="", known=VARIABLES)
    for name in own:
        if name not in VARIABLES:
            fields.problems.add(
                str(name),
                "is no variable of a site",
                expected=f"one of {', '.join(VARIABLES)}",
                remedy=nearest(str(name), VARIABLES) or "Variables of your own need another prefix than edge_.",
            )
    site = fields.read("edge_site", label)
    known_site = str(site)
    read = SiteVariables(
        site=site,
        runtime=fields.read("edge_runtime", choice("podman", "k3s")),
        virtualization=fields.read("edge_virtualization", choice("kvm", "emulation"), default="kvm"),
        node=fields.build(
            "edge_node", lambda data, at: NodeIdentity.from_inventory(data, where=at), default=NodeIdentity()
        ),
        network=fields.build(
            "edge_network", lambda data, at: Network.from_inventory(data, where=at), default=Network()
        ),
        storage=fields.build(
            "edge_storage", lambda data, at: Storage.from_inventory(data, where=at), default=Storage()
        ),
        admin_keys=tuple(key for _, key in fields.read_list("edge_admin_keys", ssh_public_key)),
        virtual_machines=fields.build(
            "edge_virtual_machines", lambda data, at: virtual_machines(data, where=at, site=known_site), default=()
        ),
        inference_services=fields.build(
            "edge_inference_services", lambda data, at: inference_services(data, where=at), default=()
        ),
        ingress=fields.build("edge_ingress", lambda data, at: Ingress.from_inventory(data, where=at))
        if fields.given("edge_ingress")
        else None,
        kubernetes=_platform(fields, own),
        mirrors=fields.build(
            "edge_mirrors", lambda data, at: Mirrors.from_inventory(data, where=at), default=Mirrors()
        ),
    )
    fields.problems.found += _missing_cdi(read)
    fields.problems.found += _clashes(read, variables.get("base__status_port", _STATUS_PORT))
    with fields.problems.collecting():
        _check_runtime(read)
    fields.raise_if_any()
    return read


def _check_runtime(read: SiteVariables) -> None:
    """Raise what the host's runtime cannot give a workload.

    Raises:
        EdgeError: all of it.
    """
    problems = Problems()
    for number, vm in enumerate(read.virtual_machines or ()):
        at = f"edge_virtual_machines[{number}]"
        if read.runtime == "k3s":
            problems.found += kubevirt_machine.refusals(vm, where=at, virtualization=read.virtualization or "kvm")
        elif read.virtualization is not None:
            with problems.collecting():
                domain_xml(vm, virtualization=read.virtualization, where=at)
    for number, service in enumerate(read.inference_services or ()):
        at = f"edge_inference_services[{number}]"
        refusals = kubernetes_inference_service.refusals if read.runtime == "k3s" else quadlet.refusals
        problems.found += refusals(service, where=at)
    if read.ingress is not None:
        problems.found += site_ingress.port_problems(read.inference_services or (), runtime=read.runtime)
    # What a cluster's nodes run they declare together: see ``check_hosts``.
    if read.ingress is not None and read.runtime == "podman":
        services, machines = read.inference_services or (), read.virtual_machines or ()
        problems.found += site_ingress.problems(
            read.ingress, services, machines, runtime=read.runtime, where="edge_ingress"
        )
    problems.raise_if_any()


def check_site_variables(variables: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong in the variables of one host; ``where`` of each is a key path."""
    try:
        parse_site(variables)
    except EdgeError as error:
        return error.problems
    return []


def check_hosts(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]] | None = None
) -> list[Problem]:
    """Return what is wrong between the hosts of a site, given the variables of each by its name.

    With the runtime k3s, ``groups`` (hosts of each inventory group, in inventory order) tell what each host is in the
    cluster; without them that is not checked.

    ``where`` of each problem is ``<host>: <key path>``. What is wrong within one host is for
    ``check_site_variables`` to say, and variables that it refuses are passed over here.
    """
    problems = Problems()
    seen: dict[tuple[str, str], str] = {}
    for host, path, kind, value in _claims(hosts):
        first = seen.setdefault((kind, value), f"{host}: {path}")
        if first.partition(": ")[0] != host:
            problems.add(f"{host}: {path}", f"two hosts have the same {kind}", found=f"'{value}', also at {first}")
    sites = {host: str(variables["edge_site"]) for host, variables in hosts.items() if variables.get("edge_site")}
    first_host = next(iter(sites), "")
    for host, site in sites.items():
        if site != sites[first_host]:
            found = f"'{site}', but '{sites[first_host]}' at {first_host}"
            problems.add(
                f"{host}: edge_site", "one inventory is one site", found=found, expected="the same name for all"
            )
    for host, variables in hosts.items():
        declared = variables.get("edge_node")
        if len(hosts) > 1 and not (declared and (not isinstance(declared, Mapping) or any(declared.values()))):
            problems.add(
                f"{host}: edge_node",
                "nothing tells this machine from the site's others",
                expected="a MAC address, DMI serial number or DMI UUID",
                remedy="Give 'edge_node' with 'mac' in the host's host_vars.",
            )
    return [*problems.found, *check_ingress(hosts, groups), *check_cluster(hosts, groups)]


def _platform(fields: Fields, variables: Mapping[str, Any]) -> Platform | None:
    """Read ``edge_kubernetes``, which has a meaning with the runtime k3s only."""
    declared = variables.get("edge_kubernetes")
    if variables.get("edge_runtime") != "k3s":
        if declared is not None:
            fields.problems.add(
                "edge_kubernetes",
                "says something only where workloads run on k3s",
                remedy="Set 'edge_runtime: k3s', or leave it out.",
            )
        return None
    platform = None
    with fields.problems.collecting():
        platform = Platform.from_inventory(declared)
        if platform.kubevirt is None and variables.get("edge_virtual_machines"):
            fields.problems.add(
                "edge_virtual_machines",
                "run on KubeVirt, which this site does not have",
                found=f"edge_kubernetes: {platform.release}",
                remedy="Give 'edge_kubernetes' a version of 'kubevirt', or remove the machines.",
            )
    return platform


def _missing_cdi(read: SiteVariables) -> Iterator[Problem]:
    """Yield the disks that CDI is to fill on a site that has none; ``_check_runtime`` tells them on podman."""
    if read.kubernetes is None or read.kubernetes.cdi is not None:
        return
    for number, vm in enumerate(read.virtual_machines or ()):
        for place, disk in enumerate(vm.disks):
            if disk.volume.kind == DATA_VOLUME:
                yield Problem(
                    f"edge_virtual_machines[{number}].disks[{place}].volume",
                    "is filled by CDI, which this site does not have",
                    DATA_VOLUME,
                    remedy=f"Give 'edge_kubernetes' a version of 'cdi' ({TESTED[0].cdi}), or leave 'volume' out.",
                )


def _claims(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (host, path, kind, value) of what only one host may have."""
    for host, variables in hosts.items():
        try:
            node = NodeIdentity.from_inventory(variables.get("edge_node") or {}, where="")
        except EdgeError:
            node = NodeIdentity()
        for path, kind, value in node.claims():
            yield host, f"edge_node.{path}", _KINDS[kind], value
        try:
            network = Network.from_inventory(variables.get("edge_network") or {}, where="")
        except EdgeError:
            network = Network()
        for number, link in enumerate(network.links):
            for place, address in enumerate(link.addresses):
                yield host, f"edge_network.interfaces[{number}].addresses[{place}]", "address", str(address.ip)


def _clashes(read: SiteVariables, status_port: object) -> Iterator[Problem]:
    """Yield what is wrong between two variables; those that could not be read are ``None``."""
    machines, services = read.virtual_machines or (), read.inference_services or ()
    names = {vm.name: number for number, vm in enumerate(machines)}
    for number, service in enumerate(services):
        at = f"edge_inference_services[{number}]"
        if service.name in names:
            found = f"'{service.name}', also at edge_virtual_machines[{names[service.name]}].name"
            yield Problem(f"{at}.name", "a virtual machine has this name already", found)
        if service.port == _SSH_PORT:
            yield Problem(f"{at}.port", "the node's SSH server listens there", "22", "another port")
        if service.port == status_port:
            yield Problem(f"{at}.port", "the node's status page listens there", str(status_port), "another port")
    node_macs = {value: f"edge_node.mac[{place}]" for place, value in enumerate(read.node.macs if read.node else ())}
    for place, link in enumerate(read.network.links if read.network else ()):
        if link.mac:
            node_macs.setdefault(link.mac, f"edge_network.interfaces[{place}].match.mac")
    for number, vm in enumerate(machines):
        for place, nic in enumerate(vm.nics):
            if nic.mac in node_macs:
                found = f"{nic.mac}, also at {node_macs[nic.mac]}"
                where = f"edge_virtual_machines[{number}].nics[{place}].mac"
                remedy = "Leave mac out to have one derived."
                yield Problem(where, "the node itself has this MAC address", found, remedy=remedy)
