"""One model of an inference service, the same for every runtime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import (
    BuildSource,
    model_file,
    parse_source,
)
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, integer, text
from ansible_collections.edgewright.edge.plugins.module_utils.names import label
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB, TIB, millicpus, size

MODELS_ROOT: Final = "/var/lib/edgewright/models"
MODEL_FILE: Final = "model.onnx"
_KEYS: Final = (
    "name",
    "image",
    "models",
    "port",
    "container_port",
    "arguments",
    "environment",
    "resources",
    "start_order",
    "priority",
)
# A service's systemd unit bears its name; these are units a node has already, which a generated one would replace.
_TAKEN_UNITS: Final = re.compile(
    "auditd|chrony|console-getty|cron|dbus|dbus-broker|dnsmasq|emergency|getty|iscsid|libvirtd|logrotate|networking|"
    "nftables|nginx|podman|rescue|rsyslog|ssh|sshd|swtpm|tpm2-abrmd|udev|user|virtlockd|virtlogd|"
    "(systemd|edgewright|libvirt|virt|podman|netavark|serial-getty)-.*"
)
# The grammar of github.com/distribution/reference, with the registry's host required.
_HOST: Final = r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9-]+(?=:[0-9]))(?::[0-9]{1,5})?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"{_HOST}(?:/{_PART})+(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Model:
    """One version of one model that a service offers: its name in the protocol, its version, its artifact source."""

    name: str
    version: int
    source: str

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Model:
        """Read one item of ``models``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("name", "version", "source"))
        name = fields.read("name", _model_name)
        version = fields.read("version", integer(1, 2**31 - 1), default=1)
        source = fields.read("source", model_file)
        fields.raise_if_any()
        return cls(name, version, source)


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
        port: TCP port on the node.
        container_port: TCP port the server listens on.
        arguments: of the image's entry point.
        environment: variables of the server.
        resources: limits.
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
    start_order: int = 100
    priority: int = 50

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> InferenceService:
        """Read one item of ``edge_inference_services``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=_KEYS)
        models = fields.build_list("models", lambda item, at, _: Model.from_inventory(item, at), at_least=1)
        fields.no_duplicates(
            ((at, f"{model.name} version {model.version}") for at, model in models), "this version of the model"
        )
        service = cls(
            name=fields.read("name", _unit_name),
            image=fields.read("image", _image),
            models=tuple(model for _, model in models),
            port=fields.read("port", integer(1, 65535)),
            container_port=fields.read("container_port", integer(1, 65535), default=8080),
            arguments=tuple(argument for _, argument in fields.read_list("arguments", _argument)),
            environment=fields.build("environment", _environment, default={}),
            resources=fields.build("resources", Resources.from_inventory, default=Resources()),
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
    fields.no_duplicates(((f"{at}.name", service.name) for at, service in made), "the name")
    fields.no_duplicates(((f"{at}.port", service.port) for at, service in made), "the port")
    fields.raise_if_any()
    return tuple(service for _, service in made)


def order(services: Iterable[InferenceService]) -> list[InferenceService]:
    """Return services in the order they start: by ``start_order``, equal ones as they are listed."""
    return sorted(services, key=lambda service: service.start_order)


def repository_path(service: str) -> str:
    """Return where a node keeps the model repository of the service with this name."""
    return f"{MODELS_ROOT}/{service}"


def model_path(service: str, model: Model) -> str:
    """Return where a node keeps a model's file, in the layout of Triton's model repositories."""
    return f"{repository_path(service)}/{model.name}/{model.version}/{MODEL_FILE}"


def image_name(image: str, *, version: str) -> str:
    """Return the name a container store knows an ``image`` by; images built here have the tag ``version``."""
    if image.startswith("build:"):
        return f"localhost/edgewright/{image.rpartition('/')[2]}:{version}"
    return image


def _model_name(value: object) -> str:
    name = text(value)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", name, re.ASCII) is None:
        raise UnfitError(
            "is not a model name", expected="1 to 128 of letters, digits and _ . -, not beginning with one of these"
        )
    return name


def _unit_name(value: object) -> str:
    name = label(value)
    if _TAKEN_UNITS.fullmatch(name):
        raise UnfitError(
            f"would replace the node's own {name}.service", expected="another name", remedy=f"Use '{name}-inference'."
        )
    return name


def _image(value: object) -> str:
    image = text(value)
    expected = "build:containers/<name>, or <registry>/<name>:<tag> or <registry>/<name>@sha256:<digest>"
    if image.startswith("build:"):
        source = parse_source(image)
        if isinstance(source, BuildSource) and source.kind != "containers":
            raise UnfitError("builds a guest, not a container", expected=expected)
        return str(source)
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise UnfitError("is not a full image reference", expected=expected)
    if not match["tag"] and not match["digest"]:
        raise UnfitError("names no version", expected=expected, remedy="Add a tag or a digest.")
    if match["tag"] == "latest" and not match["digest"]:
        raise UnfitError("has a tag that moves", expected=expected, remedy="Name a version instead of 'latest'.")
    return image


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
