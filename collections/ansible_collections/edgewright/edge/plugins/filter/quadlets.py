# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: inference services of a site to podman quadlets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: quadlets
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render a site's inference services as podman quadlets
description:
  - Checks the list C(edge_inference_services) and renders each service as a podman C(.container) file, in the order
    they start.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, version
options:
  _input:
    description: The list C(edge_inference_services).
    type: list
    elements: dict
    required: true
  site:
    description: The site's name, C(edge_site). It labels the containers.
    type: str
    required: true
  version:
    description: Version that the images built by the image builder (C(build:containers/NAME)) are tagged with.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Quadlets are in place
  ansible.builtin.copy:
    content: "{{ item.text }}"
    dest: "/etc/containers/systemd/{{ item.file }}"
    mode: "0644"
  loop: "{{ edge_inference_services | edgewright.edge.quadlets(edge_site, version='0.1.0') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: One dictionary a service, in start order.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the service and of its container.
      type: str
    file:
      description: Name of the quadlet file.
      type: str
    unit:
      description: Name of the systemd unit that podman makes from it.
      type: str
    text:
      description: Content of the quadlet file.
      type: str
    image:
      description: Name of the image in the node's container store.
      type: str
    models:
      description: Its models. Each has C(name), C(version), C(source) and the C(path) of its file on the node.
      type: list
      elements: dict
    port:
      description: TCP port on the node.
      type: int
    previous:
      description: Name of the service that starts before this one; null for the first.
      type: str
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    image_name,
    inference_services,
    model_path,
    order,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quadlet import quadlet_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def quadlets(services: object, site: str, version: str) -> list[dict[str, Any]]:
    """Render ``edge_inference_services``; every problem of every service is in the one error."""
    try:
        declared = inference_services(services, where="edge_inference_services")
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    units: list[dict[str, Any]] = []
    previous: str | None = None
    for service in order(declared):
        image = image_name(service.image, version=version)
        units.append(
            {
                "name": service.name,
                "file": f"{service.name}.container",
                "unit": f"{service.name}.service",
                "text": quadlet_unit(service, site=site, image=image, previous=previous),
                "image": image,
                "models": [
                    {
                        "name": model.name,
                        "version": model.version,
                        "source": model.source,
                        "path": model_path(service.name, model),
                    }
                    for model in service.models
                ],
                "port": service.port,
                "previous": previous,
            }
        )
        previous = service.name
    return units


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"quadlets": quadlets}
