# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``quadlets`` does: inference services of a site to podman quadlets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import staged_path
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services, order
from ansible_collections.edgewright.edge.plugins.module_utils.placed_service import placed
from ansible_collections.edgewright.edge.plugins.module_utils.quadlet import (
    STAND_IN,
    own_port,
    quadlet_unit,
    refusals,
)
from ansible_collections.edgewright.edge.plugins.module_utils.service_proxy import proxy_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

_WHERE = "edge_inference_services"


def quadlets(services: object, site: str, version: str) -> list[dict[str, Any]]:
    """Render ``edge_inference_services``; every problem of every service is in the one error."""
    problems = Problems()
    try:
        declared = inference_services(services, where=_WHERE)
        for number, service in enumerate(declared):
            problems.found += refusals(service, where=f"{_WHERE}[{number}]")
        problems.raise_if_any()
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    units: list[dict[str, Any]] = []
    previous: str | None = None
    for service in order(declared):
        known = placed(service, version=version)
        text = quadlet_unit(
            service, site=site, image=known["image"], previous=previous, model_image=known["model_image"]
        )
        units.append(
            {
                **known,
                "file": f"{service.name}.container",
                "unit": f"{service.name}.service",
                "text": text,
                "own_port": own_port(service),
                **_rolling(service, known, site),
                "previous": previous,
            }
        )
        previous = service.name
    return units


def _rolling(service: InferenceService, known: Mapping[str, Any], site: str) -> dict[str, Any]:
    """Return what replaces a service without a gap."""
    if not service.rolling_ports:
        return {"proxy": "", "stand_in": {}}
    text = quadlet_unit(
        service, site=site, image=known["image"], previous=None, model_image=known["model_image"], stand_in=True
    )
    name = f"{service.name}{STAND_IN}"
    stand_in = {
        "file": f"{name}.container",
        "unit": f"{name}.service",
        "text": text,
        "folder": staged_path(service.name),
    }
    return {"proxy": proxy_file(service), "stand_in": {**stand_in, "port": own_port(service, stand_in=True)}}
