"""One model of an inference service, the same for every runtime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.accelerator import Accelerator
from ansible_collections.edgewright.edge.plugins.module_utils.container_image import container_image
from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Fields,
    UnfitError,
    boolean,
    choice,
    integer,
)
from ansible_collections.edgewright.edge.plugins.module_utils.golden_case import GoldenCase
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_probes import Probes
from ansible_collections.edgewright.edge.plugins.module_utils.names import label
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB, TIB, millicpus, size

_KEYS: Final = (
    "name",
    "image",
    "models",
    "model_image",
    "port",
    "exposure",
    "container_port",
    "arguments",
    "environment",
    "resources",
    "accelerator",
    "probes",
    "replicas",
    "rolling_ports",
    "golden",
    "dns",
    "start_order",
    "priority",
)
# A service's systemd unit bears its name; these are units a node has already, which a generated one would replace.
_TAKEN_UNITS: Final = re.compile(
    "auditd|chrony|console-getty|cron|dbus|dbus-broker|dnsmasq|emergency|getty|iscsid|libvirtd|logrotate|networking|"
    "nftables|nginx|podman|rescue|rsyslog|ssh|sshd|swtpm|tpm2-abrmd|udev|user|virtlockd|virtlogd|"
    "(systemd|edgewright|libvirt|virt|podman|netavark|serial-getty)-.*"
)


@dataclass(frozen=True)
class Resources:
    """What a service may use at most: thousandths of a processor, and bytes; ``None`` sets no limit."""

    millicpus: int | None = None
    memory: int | None = None

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Resources:
        """Read the ``resources`` mapping.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("cpus", "memory"))
        cpus = fields.read("cpus", millicpus, optional=True)
        memory = fields.read("memory", size(16 * MIB, 16 * TIB), optional=True)
        fields.raise_if_any()
        return cls(cpus, memory)


@dataclass(frozen=True)
class InferenceService:
    """A server of the Open Inference Protocol and the models it serves.

    Attributes:
        name: RFC 1123 label, unique on the site; its systemd unit is ``<name>.service``.
        image: ``build:containers/<name>``, or a reference with its registry and a tag or digest.
        models: read from the repository ``/models`` in the container.
        model_image: image whose folder ``/models`` is that repository (KServe's modelcar); empty where the node has it.
        port: TCP port on the node.
        exposure: ``node``, or ``internal`` for a port that only the node itself, or only the cluster, can reach.
        container_port: TCP port the server listens on.
        arguments: of the image's entry point.
        environment: variables of the server; no secrets, for everybody on the node can read them.
        resources: limits.
        accelerator: what it computes with besides processors.
        probes: how it is asked for its health.
        replicas: how many of it run.
        rolling_ports: two ports of the loopback address with which podman replaces it without a gap; or none.
        golden: what it must answer before it gets requests.
        dns: whether it asks name servers.
        start_order: lower starts earlier and stops later.
        priority: 0 to 100; the highest is shed last.
    """

    name: str
    image: str
    models: tuple[Model, ...]
    port: int
    container_port: int = 8080
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    model_image: str = ""
    exposure: str = "node"
    accelerator: Accelerator | None = None
    probes: Probes = field(default_factory=Probes)
    replicas: int = 1
    rolling_ports: tuple[int, ...] = ()
    golden: tuple[GoldenCase, ...] = ()
    dns: bool = False
    start_order: int = 100
    priority: int = 50

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> InferenceService:
        """Read one item of ``edge_inference_services``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=_KEYS)
        in_image = fields.given("model_image")
        models = fields.build_list(
            "models", lambda item, at, _: Model.from_inventory(item, at, in_image=in_image), at_least=1
        )
        fields.no_duplicates(
            ((at, f"{model.name} version {model.version}") for at, model in models), "this version of the model"
        )
        service = cls(
            name=fields.read("name", _unit_name),
            image=fields.read("image", container_image),
            models=tuple(model for _, model in models),
            model_image=fields.read("model_image", container_image, default=""),
            port=fields.read("port", integer(1, 65535)),
            exposure=fields.read("exposure", choice("node", "internal"), default="node"),
            container_port=fields.read("container_port", integer(1, 65535), default=8080),
            arguments=tuple(argument for _, argument in fields.read_list("arguments", _argument)),
            environment=fields.build("environment", _environment, default={}),
            resources=fields.build("resources", Resources.from_inventory, default=Resources()),
            accelerator=_accelerator(fields),
            probes=fields.build("probes", Probes.from_inventory, default=Probes()),
            replicas=fields.read("replicas", integer(1, 100), default=1),
            rolling_ports=_rolling_ports(fields),
            golden=_golden(fields, models),
            dns=fields.read("dns", boolean, default=False),
            start_order=fields.read("start_order", integer(0, 100_000), default=100),
            priority=fields.read("priority", integer(0, 100), default=50),
        )
        fields.raise_if_any()
        return service


def inference_services(data: object, *, where: str) -> tuple[InferenceService, ...]:
    """Read the whole list ``edge_inference_services``; ``where`` is the path of the list.

    Raises:
        EdgeError: everything that is wrong in any item, and names and ports that two services share.
    """
    fields = Fields({where: data}, where="", known=(where,))
    made = fields.build_list(where, lambda item, at, _: InferenceService.from_inventory(item, where=at))
    names = [(f"{at}.name", service.name) for at, service in made]
    names += [(f"{at}.rolling_ports", f"{service.name}-next") for at, service in made if service.rolling_ports]
    fields.no_duplicates(names, "the name")
    ports = [(f"{at}.port", service.port) for at, service in made]
    ports += [
        (f"{at}.rolling_ports[{place}]", port)
        for at, service in made
        for place, port in enumerate(service.rolling_ports)
    ]
    fields.no_duplicates(ports, "the port")
    fields.raise_if_any()
    return tuple(service for _, service in made)


def order(services: Iterable[InferenceService]) -> list[InferenceService]:
    """Return services in the order they start: by ``start_order``, equal ones as they are listed."""
    return sorted(services, key=lambda service: service.start_order)


def _rolling_ports(fields: Fields) -> tuple[int, ...]:
    ports = [port for _, port in fields.read_list("rolling_ports", integer(1, 65535))]
    if ports and len(ports) != 2:
        fields.problems.add(
            fields.at("rolling_ports"),
            "must be two ports",
            found=repr(ports),
            expected="the old one's and the new one's",
        )
    return tuple(ports)


def _golden(fields: Fields, models: Iterable[tuple[str, Model]]) -> tuple[GoldenCase, ...]:
    """Read ``golden``; each case asks a model that the service has."""
    cases = fields.build_list("golden", lambda item, at, _: GoldenCase.from_inventory(item, at))
    offered = {(model.name, version) for _, model in models for version in (model.version, None)}
    for at, case in cases:
        if (case.model, case.version) not in offered:
            names = ", ".join(sorted(f"{name} version {version}" for name, version in offered if version))
            fields.problems.add(
                f"{at}.model",
                "is no model of this service",
                found=case.model if case.version is None else f"{case.model} version {case.version}",
                expected=f"one of {names}",
            )
    return tuple(case for _, case in cases)


def _accelerator(fields: Fields) -> Accelerator | None:
    return fields.build("accelerator", Accelerator.from_inventory) if fields.given("accelerator") else None


def _unit_name(value: object) -> str:
    name = label(value)
    if _TAKEN_UNITS.fullmatch(name):
        raise UnfitError(
            f"would replace the node's own {name}.service", expected="another name", remedy=f"Use '{name}-inference'."
        )
    return name


def _argument(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnfitError("must be a string", expected="a string")
    argument = str(value)
    if not argument.isprintable():
        raise UnfitError("must be a line of text", expected="printable characters on one line")
    return argument


def _environment(data: object, where: str) -> dict[str, str]:
    names = list(data) if isinstance(data, Mapping) else []
    fields = Fields(data, where=where, known=[str(name) for name in names])
    for name in names:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name), re.ASCII) is None:
            fields.problems.add(where, "has a bad variable name", found=repr(name), expected="letters, digits and _")
    values = {str(name): fields.read(str(name), _argument) for name in sorted(names, key=str)}
    fields.raise_if_any()
    return values
