#!/usr/bin/env python3
"""Make an image of models as an archive that podman loads: ``model_image.py ARCHIVE IMAGE PATH=FILE…``.

Each FILE is at PATH below ``/models`` of the image, which has one layer and nothing to run, as KServe's modelcars are.
The form is docker's own archive (``manifest.json``, image specification 1.2), written without docker.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path


def packed(files: dict[str, bytes]) -> bytes:
    """Return a tar file of these files, with the folders that they are in."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folders = {str(folder) for name in files for folder in Path(name).parents if str(folder) != "."}
        for folder in sorted(folders):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def main() -> None:
    """Write the archive."""
    archive, image = Path(sys.argv[1]), sys.argv[2]
    pairs = (argument.partition("=") for argument in sys.argv[3:])
    layer = packed({f"models/{path}": Path(file).read_bytes() for path, _, file in pairs})
    diff = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "created": "1970-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [image], "Layers": ["layer.tar"]}]).encode()
    archive.write_bytes(packed({"manifest.json": manifest, name: config, "layer.tar": layer}))


if __name__ == "__main__":
    main()
