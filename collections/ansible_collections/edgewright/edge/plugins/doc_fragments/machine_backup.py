# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules for backups of virtual machines share."""

from __future__ import annotations


class ModuleDocFragment:
    """What C(extends_documentation_fragment) takes from here."""

    DOCUMENTATION = r"""
options:
  libvirt_state:
    description: Folder of libvirt's own state, with UEFI variables and TPMs.
    type: path
    default: /var/lib/libvirt
"""
