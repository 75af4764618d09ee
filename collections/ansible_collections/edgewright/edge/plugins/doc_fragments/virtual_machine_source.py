# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules for virtual machines of other homes share."""

from __future__ import annotations


class ModuleDocFragment:
    """What C(extends_documentation_fragment) takes from here."""

    DOCUMENTATION = r"""
options:
  src:
    description:
      - The source. A C(.ovf) or C(.ova) of VMware or VirtualBox, a libvirt domain in XML (C(virsh dumpxml)), or a disk
        alone (qcow2, raw, VMDK, VHD, VHDX, VDI). It is only read.
    type: path
    required: true
    aliases: [path, source]
  name:
    description: Name of the machine on the site, an RFC 1123 label. Without it the source's, made one.
    type: str
  system:
    description: Identifier of the machine to take, of an OVF with several.
    type: str
  runtime:
    description:
      - What will run it. V(podman) is libvirt, which has IDE. V(k3s) is KubeVirt, which has not.
    type: str
    choices: [podman, k3s]
    default: podman
  format:
    description: Format of the disks that are made. Without it C(qcow2), and C(raw) for O(runtime=k3s), which needs it.
    type: str
    choices: [qcow2, raw]
  folder:
    description: Folder below the inventory's that C(file:) sources of the disks begin with.
    type: str
    default: disks
  timezone:
    description:
      - IANA name of the zone that the guest's hardware clock shows. Windows takes it for local time, and no source says
        which that is.
    type: str
  networks:
    description: The site's network by the source's name of it. Cards on others are on C(default).
    type: dict
    default: {}
  virtio:
    description:
      - Whether the guest is known to have virtio drivers. Its disks and network cards are virtio then; otherwise they
        are what it has drivers for as it is.
    type: bool
    default: false
  memory:
    description: Memory of a machine whose source does not say, as V(4GiB).
    type: str
    default: 2GiB
  cpus:
    description: Processors of a machine whose source does not say.
    type: int
    default: 2
  disk_folders:
    description: Where disks of a libvirt domain may lie, besides the folder of the XML.
    type: list
    elements: path
    default: [/var/lib/libvirt/images]
"""
