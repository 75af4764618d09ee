"""An inference service as a podman quadlet, in the dialect of podman 5.4 (podman-systemd.unit(5))."""

from __future__ import annotations

from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService, repository_path
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import cpus_text

USER: Final = 65532
"""User and group id every server runs as, whatever its image says; it owns nothing on the node."""
STOP_SECONDS: Final = 30


def quadlet_unit(service: InferenceService, *, site: str, image: str, previous: str | None) -> str:
    """Render the quadlet of a service.

    Limits are given to podman and not to the unit: the container has a control group of its own below the unit's, and a
    server that sizes its thread pools by its quota looks there. podman 5.4 has no quadlet key for them.

    The unit does not wait for the network to be online, as quadlets do by default: a site without a network is normal.

    Args:
        service: the service.
        site: name of the site, which labels the container.
        image: name of its image in the node's container store.
        previous: name of the service that starts before this one, if any.
    """
    unit = [f"Description=Inference service {service.name} of site {site}", "StartLimitIntervalSec=0"]
    if previous is not None:
        unit.append(f"After={previous}.service")
    container = [
        f"Image={image}",
        "Pull=never",
        f"ContainerName={service.name}",
        f"Label=edgewright.site={site}",
        f"PublishPort={service.port}:{service.container_port}",
        f"Volume={repository_path(service.name)}:/models:ro",
        f"User={USER}",
        f"Group={USER}",
        "ReadOnly=true",
        "ReadOnlyTmpfs=true",
        "NoNewPrivileges=true",
        "DropCapability=all",
        f"StopTimeout={STOP_SECONDS}",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(service.environment.items())),
    ]
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
            "Restart=always",
            "RestartSec=2",
            "TimeoutStartSec=300",
            f"TimeoutStopSec={STOP_SECONDS + 15}",
        ],
        "Quadlet": ["DefaultDependencies=false"],
        "Install": ["WantedBy=multi-user.target"],
    }
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def _quoted(word: str) -> str:
    """Quote one word for a unit file: nothing in it is a specifier, a variable or a separator (systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
