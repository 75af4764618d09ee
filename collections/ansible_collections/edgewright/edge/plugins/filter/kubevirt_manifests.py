# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: KubeVirt and CDI as manifests for k3s."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubevirt_manifests
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render KubeVirt and CDI as manifests
description:
  - Checks the mapping C(edge_kubernetes) and renders what k3s has to apply for it - the operators' published manifests,
    adapted to the cluster's size, the objects that configure KubeVirt and CDI, and a storage class for disks.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: cluster, operators
options:
  _input:
    description: The mapping C(edge_kubernetes); an empty one means the newest tested versions.
    type: dict
    required: true
  cluster:
    description: The cluster.
    type: dict
    required: true
    suboptions:
      nodes: {description: Number of its nodes., type: int, required: true}
      virtualization:
        description: What the nodes can do, C(edge_virtualization).
        type: str
        choices: [kvm, emulation]
        default: kvm
      certificates:
        description:
          - How long certificates last - C(ca_years), C(server_years), and C(renew_days) before their end they are
            renewed.
        type: dict
      namespaces: {description: Namespaces of virtual machines., type: list, elements: str}
  operators:
    description: Text of the operators' published manifests, by C(kubevirt) and C(cdi).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Manifests are in place
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "/var/lib/rancher/k3s/server/manifests/{{ item.name }}"
    mode: "0600"
  loop: >-
    {{ edge_kubernetes | edgewright.edge.kubevirt_manifests(
       {'nodes': 1}, {'kubevirt': lookup('ansible.builtin.file', 'kubevirt-operator.yaml')}) }}
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: One dictionary a file, sorted by name; none where C(edge_kubernetes) says that there is no KubeVirt.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file.
      type: str
    content:
      description: Its text.
      type: str
"""

from typing import TYPE_CHECKING, Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import Virtualization, manifests
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """YAML as Kubernetes reads it: what looks like a date is a string, and so is a lone ``=`` (YAML 1.1's value)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:value", _Loader.construct_yaml_str)


def kubevirt_manifests(edge_kubernetes: object, cluster: object, operators: Mapping[str, str]) -> list[dict[str, Any]]:
    """Render the manifests; every problem is in the one error."""
    try:
        platform, site = Platform.from_inventory(edge_kubernetes), Virtualization.from_role(cluster)
        # Bytes, because libyaml takes no subclass of str, and Ansible's strings are one.
        parsed = {name: list(yaml.load_all(text.encode(), Loader=_Loader)) for name, text in operators.items()}
        files = manifests(platform, site, parsed)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    except yaml.YAMLError as error:
        message = f"an operator's manifest is no YAML: {error}. Run 'edgewright fetch' again."
        raise AnsibleFilterError(message) from error
    head = "Managed by Edgewright (role kubevirt)."
    return [{"name": name, "content": yaml_documents(objects, head=head)} for name, objects in files]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubevirt_manifests": kubevirt_manifests}
