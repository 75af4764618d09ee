"""A pinned container image as an archive that containerd imports: an OCI image layout in a tar file.

OCI image layout 1.1 (image-layout.md). The name is an annotation, and the index, if there is one, is kept as it is, so
that references by tag and by the index's digest both find the image (k3s pkg/agent/containerd, ``parseNamedTagged``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_REMEDY: Final = "Run 'edgewright lock', then 'edgewright fetch', where there is a network."
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class PinnedImage:
    """What a lock says of an image.

    Attributes:
        reference: full name with tag.
        root: digest of the index, or of the manifest where there is no index.
        digests: of all files it consists of, the root first.
    """

    reference: str
    root: str
    digests: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Name of its archive: another content has another name, for k3s goes by names (k3s issue 14284)."""
        name = re.sub(r"[^a-zA-Z0-9.-]", "_", self.reference)
        return f"{name}-{self.root.partition(':')[2][:12]}.tar"


def pinned_images(lock: object, *, where: str) -> list[PinnedImage]:
    """Return the images of a lock (the parsed YAML of ``site.lock.yml``), sorted by name; ``where`` is the lock's path.

    Raises:
        EdgeError: a pin is damaged.
    """
    images = lock.get("images") if isinstance(lock, Mapping) else None
    found = []
    for reference, pin in sorted((images or {}).items()):
        known: Mapping[str, Any] = pin if isinstance(pin, Mapping) else {}
        blobs = [blob.get("digest") if isinstance(blob, Mapping) else None for blob in known.get("blobs") or ()]
        digests = [*([known["index"]] if known.get("index") else []), known.get("manifest"), *blobs]
        if not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests) or not blobs:
            raise EdgeError(Problem(where, f"the pin of image '{reference}' is damaged", remedy=_REMEDY))
        found.append(PinnedImage(str(reference), str(digests[0]), tuple(dict.fromkeys(map(str, digests)))))
    return found


def layout_files(image: PinnedImage, root: bytes) -> dict[str, bytes]:
    """Return the small files of the layout by path; ``root`` is the content of the index or manifest.

    Raises:
        EdgeError: the root is no JSON object.
    """
    try:
        media_type = json.loads(root).get("mediaType") or _MANIFEST
    except (ValueError, AttributeError) as error:
        raise EdgeError(Problem(image.reference, "its manifest is damaged in the store", remedy=_REMEDY)) from error
    annotations = {
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
    }
    entry = {"mediaType": media_type, "digest": image.root, "size": len(root), "annotations": annotations}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, sort_keys=True).encode(),
    }
