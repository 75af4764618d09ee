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
extends_documentation_fragment:
  - edgewright.edge.inference_services
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
    exposure:
      description: Whether the port is the node's, V(node), or only the node itself can reach it, V(internal).
      type: str
    own_port:
      description: Port of the node that its container has; another than C(port) where a proxy stands before it.
      type: int
    proxy:
      description: Content of nginx's file for it, where it is replaced without a gap; else empty.
      type: str
    stand_in:
      description: What answers while it is replaced, with C(file), C(unit), C(text), C(port) and
        C(folder), where its models are; else empty.
      type: dict
    golden:
      description: What it must answer, as M(edgewright.edge.inference_probe) takes it.
      type: list
      elements: dict
    check:
      description: Command that asks it whether it is ready.
      type: str
    image:
      description: Name of its image in the node's container store.
      type: str
    model_image:
      description: Name of the image with its models in that store; empty where they are files of the node.
      type: str
    images:
      description: Images it needs. Each has the C(source) that the inventory names, and the C(name) in the store.
      type: list
      elements: dict
    models:
      description: Its models. Each has C(name) and C(version).
      type: list
      elements: dict
    files:
      description: Its models' files. Each has C(source), and the C(path) of the file on the node.
      type: list
      elements: dict
    folders:
      description: Folders on the node that these files are in, outer ones first.
      type: list
      elements: str
    port:
      description: TCP port on the node.
      type: int
    previous:
      description: Name of the service that starts before this one; null for the first.
      type: str
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"quadlets": late_filter("quadlets")}
