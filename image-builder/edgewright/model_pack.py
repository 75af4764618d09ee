"""Models packed as OCI artifacts in a folder: a ModelPack (modelpack/model-spec, docs/spec.md and docs/annotations.md).

Nobody vouches for such a folder: each blob is compared with the digest that the manifest has, and of an archive a plain
file is read, by its name, into the store; nothing is ever unpacked by the names in it.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import oci_folder
from edgewright.http_retry import Permanent
from edgewright.pack_layer import read_files
from edgewright.store import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import ModelPackSource

    from edgewright.store import Store

Result = TypeVar("Result")

_ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
_LAYER_TYPE = re.compile(
    r"application/vnd\.cncf\.model\.(weight|weight\.config|doc|code|dataset)\.v1\.(raw|tar|tar\+gzip|tar\+zstd)"
)
# Of the layer; ORAS writes the second one when it is not told the first.
_NAMES = ("org.cncf.model.filepath", "org.opencontainers.image.title")
_LARGEST_JSON = 4 << 20  # bytes, as registries allow for a manifest
_WRONG = "Do not trust this pack: make or copy it again."


@dataclass(frozen=True)
class Layer:
    """One layer: what it holds (``weight``, …), how (``raw``, ``tar``, …), and its path in the pack, if it says one."""

    kind: str
    form: str
    digest: str
    size: int
    path: str


def take_from_pack(
    source: ModelPackSource, where: str, inventory: Path, store: Store, take: Callable[[IO[bytes]], Result]
) -> Result:
    """Give the file that a source names to ``take``, and return what that returns.

    Args:
        source: the pack and the file; without a file, the only one that holds weights.
        where: who asks for it, for errors.
        inventory: what its folder is relative to.
        store: keeps the layer for as long as it is read.
        take: reads the file to its end.

    Raises:
        EdgeError: there is no such pack or file, several fit, or the pack is not what it says.
    """
    layout = inventory / source.folder
    layers = _layers(layout, source.tag, where)
    found: list[tuple[str, Result]] = []
    for layer in _candidates(layers, source.member, where):
        with _verified(layout, layer, where, store) as stored:
            if layer.form == "raw":
                with stored.open("rb") as stream:
                    found.append((layer.path, take(stream)))
            else:
                found += read_files(stored, layer.form, source.member, where, take)
    if len(found) != 1:
        raise _not_one(source, where, layers, [name for name, _ in found])
    return found[0][1]


@contextlib.contextmanager
def _verified(layout: Path, layer: Layer, where: str, store: Store) -> Iterator[Path]:
    """Show a copy of a layer whose digest was compared; it is not read where it lies."""
    try:
        blob = oci_folder.blob_path(layout, layer.digest)
    except Permanent as reason:
        raise EdgeError(Problem(where, "the pack is not whole", str(reason), remedy=_WRONG)) from None
    if (size := blob.stat().st_size) != layer.size:
        what = f"{blob} has another size than the pack says"
        raise EdgeError(Problem(where, what, f"{size} bytes", f"{layer.size} bytes", _WRONG))
    own = store.has(layer.digest)
    try:
        path = store.add_file(blob, layer.digest)
    except EdgeError as error:
        found = error.problems[0].found
        what = f"{blob} has other bytes than its name says"
        raise EdgeError(Problem(where, what, found, layer.digest, _WRONG)) from None
    try:
        yield path
    finally:
        # What is wanted of an archive is in the store by itself.
        if not own and layer.form != "raw":
            store.discard(layer.digest)


def _candidates(layers: list[Layer], wanted: str, where: str) -> list[Layer]:
    """Return the layers that may have the wanted file."""
    if not wanted:
        weights = [layer for layer in layers if layer.kind == "weight"]
        if len(weights) != 1:
            names = ", ".join(layer.path or "one without a name" for layer in weights) or "none"
            remedy = "Name the file that is meant: modelpack:<folder>#<path in the pack>."
            raise EdgeError(Problem(where, "the pack has not one layer of weights", names, "one", remedy))
        return weights
    exact = [layer for layer in layers if layer.path == wanted]
    above = [layer for layer in layers if layer.path and wanted.startswith(f"{layer.path.rstrip('/')}/")]
    archives = [layer for layer in exact or above or layers if layer.form != "raw"]
    return [layer for layer in exact if layer.form == "raw"] + archives


def _not_one(source: ModelPackSource, where: str, layers: Iterable[Layer], found: list[str]) -> EdgeError:
    if found:
        remedy = "Name the one that is meant: modelpack:<folder>#<path in the pack>." if not source.member else _WRONG
        return EdgeError(Problem(where, "several files of the pack fit", ", ".join(sorted(found)), "one", remedy))
    known = [layer.path for layer in layers if layer.path]
    near = difflib.get_close_matches(source.member, known, n=3, cutoff=0.3) or sorted(known)[:5]
    expected = f"for instance {', '.join(near)}" if near else ""
    what = "the pack has no such file" if source.member else "the pack's layer of weights has no file"
    return EdgeError(Problem(where, what, source.member, expected, "Correct the part after '#'."))


def _layers(layout: Path, tag: str, where: str) -> list[Layer]:
    """Return the layers of the pack under a tag of a layout; without a tag, of the only one.

    Raises:
        EdgeError: there is none, or it is no ModelPack.
    """
    if not (layout / "oci-layout").is_file():
        remedy = f"Put the pack there (skopeo copy docker://… oci:{layout}), or correct the path."
        raise EdgeError(Problem(where, "there is no OCI layout", str(layout), remedy=remedy))
    try:
        digest = oci_folder.find(layout, tag, tag) if tag else oci_folder.only(layout)
        manifest = _json(oci_folder.blob_path(layout, digest), digest, where)
        config = found if isinstance(found := manifest.get("config"), dict) else {}
        kinds = (manifest.get("artifactType"), config.get("mediaType"))
        if kinds != (_ARTIFACT_TYPE, _CONFIG_TYPE):
            said = f"artifactType {kinds[0]}, configuration {kinds[1]}"
            expected = f"{_ARTIFACT_TYPE} and {_CONFIG_TYPE}"
            raise EdgeError(Problem(where, "this is no ModelPack", said, expected, "Correct the folder or the tag."))
        _json(oci_folder.blob_path(layout, str(config.get("digest"))), str(config.get("digest")), where)
    except Permanent as reason:
        raise EdgeError(Problem(where, "the pack cannot be had", str(reason), remedy=_WRONG)) from None
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not entries:
        raise EdgeError(Problem(where, "the pack has no layers", remedy=_WRONG))
    return [layer for entry in entries if (layer := _layer(entry, where)) is not None]


def _layer(entry: Any, where: str) -> Layer | None:
    """Read a layer's descriptor; none of a type that ModelPack does not know is of use."""
    entry = entry if isinstance(entry, dict) else {}
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise EdgeError(
            Problem(where, "the pack has a layer without a digest or size", repr(entry)[:200], remedy=_WRONG)
        )
    match = _LAYER_TYPE.fullmatch(str(entry.get("mediaType")))
    if match is None:
        return None
    annotations = entry.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    path = next((value for name in _NAMES if isinstance(value := annotations.get(name), str)), "")
    return Layer(match[1], match[2], digest, size, path.removeprefix("./"))


def _json(path: Path, digest: str, where: str) -> dict[str, Any]:
    """Read a small blob, compared with its digest.

    Raises:
        EdgeError: other bytes, too many of them, or no JSON object.
    """
    if path.stat().st_size > _LARGEST_JSON:
        raise EdgeError(Problem(where, f"{path} is too large", f"more than {_LARGEST_JSON} bytes", remedy=_WRONG))
    found, _ = digest_of_file(path)
    if found != digest:
        raise EdgeError(Problem(where, f"{path} has other bytes than its name says", found, digest, _WRONG))
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise EdgeError(Problem(where, f"{path} is no JSON ({error})", remedy=_WRONG)) from None
    if not isinstance(data, dict):
        raise EdgeError(Problem(where, f"{path} is no JSON object", type(data).__name__, remedy=_WRONG))
    return data
