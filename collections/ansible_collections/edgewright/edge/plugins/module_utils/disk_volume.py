"""How a virtual machine has a disk: as a file of its node, as a container image, or as a volume that CDI fills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import DOCKER
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, choice, text
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import DISK_CLASS
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields

LOCAL: Final = "local"
CONTAINER_DISK: Final = "container_disk"
DATA_VOLUME: Final = "data_volume"
VOLUMES: Final = (LOCAL, CONTAINER_DISK, DATA_VOLUME)
ACCESS_MODES: Final = ("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany")
KEYS: Final = ("volume", "storage_class", "access_mode", "checksum")
_HTTP: Final = ("http://", "https://")


@dataclass(frozen=True)
class Volume:
    """Where a disk's bytes are while its machine runs.

    Attributes:
        kind: ``local``, a file on the node; ``container_disk``, a layer over a container image, which forgets what the
            guest writes when it stops; ``data_volume``, a volume of the cluster that CDI fills once.
        storage_class: of a data volume.
        access_mode: of a data volume; with ``ReadWriteMany`` its machine can move to another node while it runs.
        checksum: ``sha256:<hex>`` of what CDI downloads; empty for an image.
    """

    kind: str = LOCAL
    storage_class: str = ""
    access_mode: str = ""
    checksum: str = ""

    @property
    def local(self) -> bool:
        """Whether the disk is on one node, which has to be given its content."""
        return self.kind == LOCAL


ON_NODE: Final = Volume()
"""A file on the node."""


def read_volume(fields: Fields, *, source: str | None, form: str | None, size: int | None) -> Volume:
    """Read the keys of a disk that say how it is had; what is wrong goes into the problems of ``fields``.

    Args:
        fields: the disk's mapping.
        source: the disk's source, or ``None`` if it could not be read.
        form: its format, ``raw`` or ``qcow2``.
        size: its declared size in bytes.
    """
    kind = fields.read("volume", choice(*VOLUMES), default=LOCAL)
    storage_class = fields.read("storage_class", _storage_class, default="")
    access_mode = fields.read("access_mode", choice(*ACCESS_MODES), default="")
    checksum = fields.read("checksum", _checksum, default="")
    if source is None or kind is None:
        return ON_NODE
    image = source.startswith(DOCKER)
    if image and form != "raw":
        fields.problems.add(
            fields.at("format"),
            "says nothing of an image's disk, which is made raw where it has to be a file",
            found=repr(form),
            remedy="Leave 'format' out.",
        )
    for key in ("storage_class", "access_mode", "checksum"):
        if kind != DATA_VOLUME and fields.given(key):
            fields.problems.add(
                fields.at(key),
                "is one of a data volume",
                found=f"volume {kind}",
                remedy=f"Set 'volume: {DATA_VOLUME}', or leave it out.",
            )
    if kind == CONTAINER_DISK:
        _check_container_disk(fields, source, size)
    if kind == DATA_VOLUME:
        _check_data_volume(fields, source, size)
        return Volume(kind, storage_class or DISK_CLASS, access_mode or ACCESS_MODES[0], checksum or "")
    return Volume(kind)


def _check_container_disk(fields: Fields, source: str, size: int | None) -> None:
    if not source.startswith(DOCKER):
        fields.problems.add(
            fields.at("source"),
            "is no container image, which a container disk is",
            found=repr(source),
            expected=f"{DOCKER}<registry>/<name>:<tag>",
            remedy="Leave 'volume' out to have the disk as a file on the node.",
        )
    if size is not None:
        fields.problems.add(
            fields.at("size"),
            "cannot be given to a container disk, which is as large as its image's",
            found=str(size),
            remedy="Leave it out.",
        )


def _check_data_volume(fields: Fields, source: str, size: int | None) -> None:
    if not source.startswith((DOCKER, *_HTTP)):
        fields.problems.add(
            fields.at("source"),
            "cannot be had from inside of the cluster, where CDI fills a data volume",
            found=repr(source),
            expected=f"{DOCKER}<registry>/<name>:<tag> or http(s)://",
            remedy="Leave 'volume' out to have the disk as a file on the node.",
        )
    if size is None or size < MIB:
        # CDI 1.66, renderPvcSpecVolumeSize: without a size, or with less than 1 MiB, there is no volume.
        fields.problems.add(
            fields.at("size"),
            "is what a data volume is made with",
            found="nothing" if size is None else str(size),
            expected="at least 1MiB",
            remedy="Give the size the guest is to see.",
        )
    if source.startswith(_HTTP) and not fields.given("checksum"):
        fields.problems.add(
            fields.at("checksum"),
            "is missing: CDI would take whatever the server gives",
            expected="sha256: and 64 hexadecimal digits",
            remedy="Add 'checksum' with what `sha256sum` says of the file.",
        )
    if source.startswith(DOCKER) and fields.given("checksum"):
        fields.problems.add(
            fields.at("checksum"),
            "is for files of a server: CDI does not look at it for an image",
            remedy="Leave it out; the lock pins the image.",
        )


def _storage_class(value: object) -> str:
    name = text(value)
    if len(name) > 253 or re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name, re.ASCII) is None:
        raise UnfitError("is no name of a storage class", expected="letters a-z, digits, '-' and '.'")
    return str(name)


def _checksum(value: object) -> str:
    digest = text(value)
    if re.fullmatch(r"sha256:[0-9a-f]{64}", digest, re.ASCII) is None:
        raise UnfitError("is no digest of SHA-256", expected="sha256: and 64 hexadecimal digits")
    return str(digest)
