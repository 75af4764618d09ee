"""An inference service as a podman quadlet, in the dialect of podman 5.4 (podman-systemd.unit(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils import published_port
from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import repository_path, staged_path
from ansible_collections.edgewright.edge.plugins.module_utils.placed_service import CHECK
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import cpus_text

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

USER: Final = 65532
"""User and group id every server runs as, whatever its image says; it owns nothing on the node."""
STOP_SECONDS: Final = 30
MODELS_IN_CONTAINER: Final = "/models"
MODELS_IN_IMAGE: Final = "/models"
"""Where an image of models has them (KServe's modelcar)."""
_CREATE_SECONDS: Final = 60
STAND_IN: Final = "-next"
"""What a stand-in's name has after the service's."""


def refusals(service: InferenceService, *, where: str) -> list[Problem]:
    """Return what of a service podman on a single machine cannot give, with paths below ``where``."""
    problems = Problems()
    if service.replicas > 1:
        problems.add(
            f"{where}.replicas",
            "podman runs a service once, on this machine",
            found=str(service.replicas),
            expected="1",
            remedy="Leave 'replicas' out, or set 'edge_runtime: k3s'.",
        )
    if service.accelerator is not None and not service.accelerator.devices:
        problems.add(
            f"{where}.accelerator",
            "names a resource only, and podman has no device plugins",
            found=service.accelerator.resource,
            expected="'devices': device nodes such as /dev/dri/renderD128, or CDI devices such as nvidia.com/gpu=all",
        )
    for key, image in (("image", service.image), ("model_image", service.model_image)):
        if "@" in image:
            problems.add(
                f"{where}.{key}",
                "has a digest, and podman's store finds what an archive brought by its tag",
                found=image,
                expected="<registry>/<name>:<tag>",
                remedy="Leave the digest out; an archive is known by its own, and site.lock.yml pins one.",
            )
    return problems.found


def own_port(service: InferenceService, *, stand_in: bool = False) -> int:
    """Return the node's port that the container itself has; its stand-in has another one."""
    return service.rolling_ports[int(stand_in)] if service.rolling_ports else service.port


def quadlet_unit(
    service: InferenceService,
    *,
    site: str,
    image: str,
    previous: str | None,
    model_image: str = "",
    stand_in: bool = False,
) -> str:
    """Render the quadlet of a service.

    It counts as started when the server lives, so the next one starts then; one that takes longer than its probes
    allow is started anew.

    Limits are given to podman and not to the unit: the container has a control group of its own below the unit's, and a
    server that sizes its thread pools by its quota looks there. podman 5.4 has no quadlet key for them.

    Whoever connects while the container comes or goes is refused (published_port.py).

    The unit does not wait for the network to be online, as quadlets do by default: a site without a network is normal.

    Args:
        service: the service.
        site: name of the site, which labels the container.
        image: name of its image in the node's container store.
        previous: name of the service that starts before this one, if any.
        model_image: name of the image with its models in that store, if it has one.
        stand_in: the service's stand-in, which answers while it is replaced, and is not started with the node. Its
            models are those that the service is to have.
    """
    unit = [f"Description=Inference service {service.name} of site {site}", "StartLimitIntervalSec=0"]
    if stand_in:
        # One that failed is forgotten as soon as it is no longer declared.
        unit.append("CollectMode=inactive-or-failed")
    if previous is not None:
        unit.append(f"After={previous}.service")
    container = [
        f"Image={image}",
        "Pull=never",
        f"ContainerName={service.name}{STAND_IN if stand_in else ''}",
        f"Label=edgewright.site={site}",
        f"PublishPort={_address(service)}{own_port(service, stand_in=stand_in)}:{service.container_port}",
        _models(service, model_image, stand_in=stand_in),
        f"User={USER}",
        f"Group={USER}",
        "ReadOnly=true",
        "ReadOnlyTmpfs=true",
        "NoNewPrivileges=true",
        "DropCapability=all",
        f"StopTimeout={STOP_SECONDS}",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(service.environment.items())),
    ]
    if service.accelerator is not None:
        container += [f"AddDevice={device}" for device in service.accelerator.devices]
        container += [f"GroupAdd={group}" for group in service.accelerator.groups]
    limits = []
    if service.resources.millicpus is not None:
        limits.append(f"--cpus={cpus_text(service.resources.millicpus)}")
    if service.resources.memory is not None:
        limits.append(f"--memory={service.resources.memory}")
    if limits:
        container.append(f"PodmanArgs={' '.join(limits)}")
    if service.arguments:
        container.append(f"Exec={' '.join(_quoted(argument) for argument in service.arguments)}")
    sections = {
        "Unit": unit,
        "Container": container,
        "Service": [
            *(() if stand_in else ("Restart=always", "RestartSec=2")),
            *published_port.unit_lines(own_port(service, stand_in=stand_in)),
            f"ExecStartPost={_wait_command(service, own_port(service, stand_in=stand_in))}",
            f"TimeoutStartSec={service.probes.startup + _CREATE_SECONDS}",
            f"TimeoutStopSec={STOP_SECONDS + 15}",
        ],
        "Quadlet": ["DefaultDependencies=false"],
    }
    if not stand_in:
        sections["Install"] = ["WantedBy=multi-user.target"]
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def _address(service: InferenceService) -> str:
    return "127.0.0.1:" if service.exposure == "internal" or service.rolling_ports else ""


def _models(service: InferenceService, model_image: str, *, stand_in: bool) -> str:
    if service.model_image:
        return f"Mount=type=image,source={model_image},destination={MODELS_IN_CONTAINER},subpath={MODELS_IN_IMAGE}"
    repository = staged_path(service.name) if stand_in else repository_path(service.name)
    return f"Volume={repository}:{MODELS_IN_CONTAINER}:ro"


def _wait_command(service: InferenceService, port: int) -> str:
    probes = service.probes
    wait = f"--live --within {probes.startup} --period {probes.period} --timeout {probes.timeout}"
    return f"{CHECK} {wait} {port}"


def _quoted(word: str) -> str:
    """Quote one word for a unit file: nothing in it is a specifier, a variable or a separator (systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
