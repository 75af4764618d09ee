"""Putting a finished image where the user wants it: whole or not at all, and only when it is another one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.tools.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.pipeline import Pipeline
    from edgewright.stages.stage import Context

# Which build the folder holds, and the sizes and times of its files: enough to see that nobody has touched them.
_STAMP = ".edgewright-build.json"


@dataclass(frozen=True)
class Delivered:
    """A delivered image; sizes in bytes, ``digest`` as ``sha256:<hex>``."""

    image: Path
    digest: str
    size: int
    allocated: int


def deliver(plan: Pipeline, context: Context, output: Path) -> Delivered:
    """Copy the image and its evidence into the folder ``output``, which is made when needed.

    The image is copied, not linked: a user who boots or changes it must not change the cache. Holes stay holes, and on
    a file system with reflinks no data is copied. Each file is renamed into place when it is complete, the checksums
    last.
    """
    stage = plan.evidence
    finished = stage.output(context.cache)
    output.mkdir(parents=True, exist_ok=True)
    names = sorted((path.name for path in finished.iterdir()), key=lambda name: (name == "SHA256SUMS", name))
    stamp = output / _STAMP
    if _state(output, names, stage.key()) != _read(stamp):
        stamp.unlink(missing_ok=True)
        for name in names:
            fresh = output / f".{name}.{os.getpid()}"
            try:
                run(["cp", "--sparse=always", "--reflink=auto", finished / name, fresh])
                fresh.replace(output / name)
            finally:
                fresh.unlink(missing_ok=True)
        stamp.write_text(_state(output, names, stage.key()), encoding="utf-8")
    image = output / f"{plan.root.site.name}.raw"
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    status = image.stat()
    return Delivered(image, manifest["image"]["digest"], status.st_size, status.st_blocks * 512)


def _state(output: Path, names: list[str], key: str) -> str:
    files = {}
    for name in names:
        try:
            status = (output / name).stat()
        except FileNotFoundError:
            return ""
        files[name] = [status.st_size, status.st_mtime_ns]
    return json.dumps({"key": key, "files": files}, sort_keys=True)


def _read(stamp: Path) -> str | None:
    try:
        return stamp.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
