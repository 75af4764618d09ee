# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the filters for inference services share."""

from __future__ import annotations


class ModuleDocFragment:
    """What C(extends_documentation_fragment) takes from here."""

    DOCUMENTATION = r"""
options:
  site:
    description: The site's name, C(edge_site). It labels what is rendered.
    type: str
    required: true
  version:
    description: Version that the images built by the image builder (C(build:containers/NAME)) are tagged with.
    type: str
    required: true
"""
    CLUSTER = r"""
options:
  _input:
    description: Lists C(edge_inference_services) by node, nodes in the cluster's order.
    type: dict
    required: true
"""
