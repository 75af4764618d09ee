# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: the digests that a site pins container images with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_digest
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Digests of pinned container images
description:
  - Returns what C(site.lock.yml) beside the inventory pins container images with. Nothing else is read, and nothing is
    downloaded.
options:
  _terms:
    description: Full names of images with their tags, as the lock has them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Pods are others when the image is
  ansible.builtin.set_fact:
    digest: "{{ lookup('edgewright.edge.image_digest', 'registry.lan/models/shelf:5') }}"
"""

RETURN = r"""
_raw:
  description:
    - C(sha256:<hex>) of each image, in order, of its index where it has one, else of its manifest.
    - An empty text for an image that is not pinned.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_pin import LOCK_NAME
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.image_archive import pinned_images
from ansible_collections.edgewright.edge.plugins.plugin_utils.site_lock import read_lock


class LookupModule(LookupBase):  # type: ignore[misc]
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the digest of each image."""
        self.set_options(var_options=variables, direct=kwargs)
        lock = Path(str((variables or {}).get("inventory_dir"))) / LOCK_NAME
        if not lock.is_file():
            return ["" for _ in terms]
        try:
            pins = {image.reference: image.root for image in pinned_images(read_lock(lock), where=str(lock))}
        except EdgeError as error:
            raise AnsibleLookupError(str(error)) from error
        return [pins.get(str(term), "") for term in terms]
