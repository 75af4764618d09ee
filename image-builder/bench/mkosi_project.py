"""mkosi's project for the same image: its settings, its partitions, and the files that are not packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.stages.uki import COMMAND_LINE
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from pathlib import Path

    from bench.workplace import Workplace
    from edgewright.stages.disk import Disk

# mkosi(1) of 25.3. Drivers in the initrd: its own list for initrds, as Edgewright has one, and not all there are.
# RemoveFiles: what Edgewright's mmdebstrap leaves out and WithDocs=no does not.
_SETTINGS = """\
[Distribution]
Distribution=debian
Release=trixie
Architecture=x86-64
LocalMirror=file:///mnt/mirror

[Output]
Format=disk
Output=image
OutputDirectory=out
ManifestFormat=
SplitArtifacts=
Seed=0e9d0f3a-9fb3-4f6c-9d1b-6a9a2b6b1f10
RepartDirectories=repart

[Build]
BuildSources=
CacheDirectory=cache
PackageCacheDirectory=pkgcache
WorkspaceDirectory=work
WithNetwork=no
RepartOffline=yes
History=no

[Content]
Packages=
{packages}
WithDocs=no
WithRecommends=no
RemoveFiles=
  /usr/share/locale/*
  /usr/share/lintian/*
  /usr/share/bug/*
Bootable=yes
Bootloader=systemd-boot
KernelModulesInitrdExclude=.*
KernelModulesInitrdInclude=default
SourceDateEpoch={epoch}
ExtraTrees=extra
KernelCommandLine={command_line}
"""

# As image-builder/node/repart.d, filled from the tree instead of from finished file systems.
_ESP = """\
CopyFiles=/boot:/
CopyFiles=/efi:/
Format=vfat
"""
_ROOT = """\
Format=erofs
Compression=lz4
CopyFiles=/
ExcludeFiles=/var/
ExcludeFiles=/boot/
ExcludeFiles=/efi/
Verity=data
VerityMatchKey=root
"""
_VERITY = """\
Verity=hash
VerityMatchKey=root
"""
_STATE = """\
Format=ext4
CopyFiles=/var:/
"""
# One for each partition, in the disk's order.
_PARTITIONS = (
    ("10-esp", "esp", "esp", _ESP),
    ("20-root-a", "root", "root-a", _ROOT),
    ("21-verity-a", "root-verity", "verity-a", _VERITY),
    ("30-root-b", "root", "_empty", ""),
    ("31-verity-b", "root-verity", "_empty", ""),
    ("40-state", "linux-generic", "state", _STATE),
)


def write_project(project: Path, place: Workplace) -> None:
    """Write mkosi's settings, partitions and extra files; the site must be built in the place's cache."""
    disk = place.plan.disk
    packages = "\n".join(f"  {name}" for name in place.lock.trees["node"].requested)
    # mkosi adds roothash=, and wants no root= beside it.
    command_line = " ".join(word for word in COMMAND_LINE.split() if not word.startswith("root="))
    settings = _SETTINGS.format(packages=packages, epoch=place.context.epoch, command_line=command_line)
    (project / "mkosi.conf").write_text(settings, encoding="utf-8")
    repart = project / "repart"
    repart.mkdir(exist_ok=True)
    report = json.loads((disk.output(place.cache) / "partitions.json").read_text(encoding="utf-8"))
    for (name, kind, label, content), made in zip(_PARTITIONS, report, strict=True):
        size = made["raw_size"]
        text = f"[Partition]\nType={kind}\nLabel={label}\nSizeMinBytes={size}\nSizeMaxBytes={size}\n{content}"
        (repart / f"{name}.conf").write_text(text, encoding="utf-8")
    _write_extra(project / "extra", place, disk)


def _write_extra(extra: Path, place: Workplace, disk: Disk) -> None:
    """Lay out what is no package: where /var is, the container store, models and guest disks."""
    as_root(["rm", "-rf", extra])
    storage = extra / "usr/lib/edgewright/containers/storage"
    for folder in (extra / "etc", storage.parent):
        folder.mkdir(parents=True)
    (extra / "etc" / "fstab").write_text("PARTLABEL=state /var ext4 defaults 0 0\n", encoding="utf-8")
    as_root(["cp", "-a", place.plan.root.store.output(place.cache) / "storage", storage])
    for file in disk.files:
        target = extra / "var" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = (
            file.guest.output(place.cache) / "disk"
            if file.guest
            else place.store.path(place.lock.artifact(file.artifact).digest)
        )
        as_root(["cp", "--sparse=always", source, target])
