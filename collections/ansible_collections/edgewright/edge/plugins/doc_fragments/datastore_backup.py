# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules for backups of k3s's datastore share."""

from __future__ import annotations


class ModuleDocFragment:
    """What C(extends_documentation_fragment) takes from here."""

    DOCUMENTATION = r"""
attributes:
  diff_mode:
    details: All that it writes is secret.
options:
  data_dir:
    description: Folder of k3s's data.
    type: path
    default: /var/lib/rancher/k3s
  node_password:
    description: File of the node's password, without which a server put up again is refused its own name.
    type: path
    default: /etc/rancher/node/password
"""
