# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: certificates and keys that an operator gives, to what is wrong in them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_problems
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Say what is wrong in certificates that are given for the site's ingress
description:
  - Looks whether certificate and key can be read and belong together, and whether the certificate can be what it is
    given as. No key is ever in a message. Use it in tasks with C(no_log) all the same.
options:
  _input:
    description: >-
      Mapping with any of C(ingress__certificate), C(ingress__key), C(ingress__ca_certificate) and C(ingress__ca_key),
      in PEM, and C(edge_ingress).
    type: dict
    required: true
  names:
    description: Host names that a given certificate must be for.
    type: list
    elements: str
    default: []
  with_keys:
    description: Whether keys can be read; while an image is built they stay in their vault.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Certificate is one
  ansible.builtin.assert:
    that: "{{ {'ingress__certificate': pem, 'ingress__key': key} | edgewright.edge.certificate_problems == [] }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: A message for each problem.
  type: list
  elements: str
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"certificate_problems": late_filter("certificate_problems")}
