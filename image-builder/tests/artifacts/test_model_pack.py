"""Model packs beside the inventory: pinned file by file, whatever their archives and their makers are up to."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.fetching import Fetching
from edgewright.lockfile import Lock
from edgewright.site import load_site
from edgewright.site_check import builder_problems
from edgewright.sources.artifacts import resolve_artifact
from edgewright.store import Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgewright.reporter import Reporter

MODEL = b"onnx" * 50_000
ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
PATH = "org.cncf.model.filepath"
WHERE = "group_vars/all.yml:3: source"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, content


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in entries:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-19", "-c"], input=content, capture_output=True, check=True).stdout


GOOD = tar(entry("shelf", type=tarfile.DIRTYPE), entry("shelf/model.onnx", MODEL), entry("shelf/labels.txt", b"a\nb\n"))
PACKED: dict[str, Callable[[bytes], bytes]] = {"tar": bytes, "tar+gzip": gzip.compress, "tar+zstd": zstd}


class Pack:
    """An OCI layout with model packs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.entries: list[dict[str, Any]] = []

    def blob(self, content: bytes, kind: str, path: str = "", **changes: Any) -> dict[str, Any]:
        digest = digest_of(content)
        (self.blobs / digest.removeprefix("sha256:")).write_bytes(content)
        named = {"annotations": {PATH: path}} if path else {}
        return {"mediaType": kind, "digest": digest, "size": len(content), **named, **changes}

    def layer(
        self, content: bytes, form: str = "tar", path: str = "", kind: str = "weight", **more: Any
    ) -> dict[str, Any]:
        return self.blob(content, f"application/vnd.cncf.model.{kind}.v1.{form}", path, **more)

    def add(self, tag: str, *layers: dict[str, Any], artifact: str = ARTIFACT, config: str = CONFIG) -> Pack:
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "artifactType": artifact, "layers": list(layers)}
        manifest["config"] = self.blob(b'{"descriptor": {"name": "shelf"}}', config)
        described = self.blob(json.dumps(manifest).encode(), kind)
        self.entries.append({**described, "annotations": {"org.opencontainers.image.ref.name": tag}})
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))
        return self


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return Pack(tmp_path / "inventory" / "models" / "shelf")


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return tmp_path / "inventory"


def locked(source: str, inventory: Path, store: Store, reporter: Reporter) -> Lock:
    return Lock(artifacts={source: resolve_artifact(source, WHERE, inventory, store, reporter)})


@pytest.mark.parametrize("form", [*PACKED, "raw"])
def test_a_file_of_a_pack_is_pinned_and_fetched_by_its_own_digest(
    form: str, pack: Pack, inventory: Path, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    raw = form == "raw"
    pack.add("5", pack.layer(MODEL if raw else PACKED[form](GOOD), form, "shelf/model.onnx" if raw else ""))
    source = "modelpack:models/shelf:5#shelf/model.onnx"
    lock = locked(source, inventory, store, reporter)
    assert (lock.artifact(source).digest, lock.artifact(source).size) == (digest_of(MODEL), len(MODEL))
    assert Lock.from_text(lock.to_text()) == lock
    other = Store(tmp_path / "other")
    Fetching(lock, other, inventory, reporter).fetch()
    assert other.path(digest_of(MODEL)).read_bytes() == MODEL
    assert other.all_digests() == [digest_of(MODEL)]  # and no archive besides


@pytest.mark.parametrize("form", ["raw", "tar+gzip"])
def test_without_a_path_it_is_the_one_file_of_weights_of_the_one_pack(
    form: str, pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    weights = MODEL if form == "raw" else gzip.compress(tar(entry("any.onnx", MODEL)))
    readme = pack.layer(b"read me", "raw", "README.md", kind="doc")
    pack.add("latest", readme, pack.layer(weights, form))
    source = "modelpack:models/shelf"
    assert locked(source, inventory, store, reporter).artifact(source).digest == digest_of(MODEL)


def test_a_pack_that_other_programs_have_copied_is_the_same(
    pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    # As ORAS names what it is given.
    title = {"org.opencontainers.image.title": "model.onnx"}
    pack.add("5", pack.layer(MODEL, "raw", annotations=title), pack.layer(GOOD, "tar", kind="weight.config"))
    target = f"oci:{inventory}/models/copied:six"
    subprocess.run(["skopeo", "--insecure-policy", "copy", f"oci:{pack.folder}:5", target], check=True)
    shutil.rmtree(pack.folder)
    for path, content in (("model.onnx", MODEL), ("shelf/labels.txt", b"a\nb\n")):
        source = f"modelpack:models/copied:six#{path}"
        assert locked(source, inventory, store, reporter).artifact(source).digest == digest_of(content)


def test_a_pack_that_changes_is_pinned_anew_and_what_was_pinned_is_not_had(
    pack: Pack, inventory: Path, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    source = "modelpack:models/shelf:5"
    lock = locked(source, inventory, store, reporter) if pack.add("5", pack.layer(MODEL, "raw")) else Lock()
    pack.entries.clear()
    pack.add("5", pack.layer(b"other", "raw"))
    with pytest.raises(EdgeError, match=f"not those pinned.*found {digest_of(b'other')}; expected {digest_of(MODEL)}"):
        Fetching(lock, Store(tmp_path / "other"), inventory, reporter).fetch()
    assert locked(source, inventory, store, reporter).artifact(source).digest == digest_of(b"other")


def test_check_tells_of_a_pack_that_is_not_there(inventory: Path) -> None:
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {hosts: {box: {}}}\n")
    service = {"name": "s", "models": [{"name": "m", "source": "modelpack:models/shelf:5"}]}
    (inventory / "group_vars" / "all.yml").write_text(json.dumps({"edge_inference_services": [service]}))
    (problem,) = builder_problems(load_site(inventory))
    assert "there is no OCI layout in the inventory folder" in str(problem)


# What a pack must not do


def lying_header() -> bytes:
    """An extended header that claims to be gigabytes long, and zeros enough for it to be believed."""
    member = tarfile.TarInfo("./PaxHeaders/model.onnx")
    member.type, member.size = tarfile.XHDTYPE, 3 << 30
    return member.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20)


def holes() -> bytes:
    member = tarfile.TarInfo("model.onnx")
    member.size = 512
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "model.onnx"}
    member.pax_headers = {**pax, "GNU.sparse.realsize": str(1 << 50)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(b"0\n".ljust(512, b"\0")))
    return buffer.getvalue()


WEIGHTS = entry("model.onnx", MODEL)
ZEROS = bytes(192 << 20)
HARMFUL = {
    "out": (tar(WEIGHTS, entry("../../etc/cron.d/x", b"x")), "a path that leads out of it"),
    "absolute": (tar(entry("/etc/cron.d/x", b"x"), WEIGHTS), "a path that leads out of it"),
    "symlink": (tar(entry("model.onnx", type=tarfile.SYMTYPE, linkname="/etc/shadow")), "no plain file there"),
    "hardlink": (tar(entry("model.onnx", type=tarfile.LNKTYPE, linkname="/etc/shadow")), "no plain file there"),
    "device": (tar(entry("model.onnx", type=tarfile.CHRTYPE, devmajor=1)), "no plain file there"),
    "holes": (holes(), "no plain file there"),
    "twice": (tar(WEIGHTS, entry("./model.onnx", b"other")), "has a file twice"),
    "header": (lying_header(), "a header that lies"),
    "short": (tar(WEIGHTS)[:100_000], "archive is damaged"),
    "noise": (b"no archive" * 1000, "archive is damaged"),
    "nothing": (b"", "archive is damaged"),
    "elsewhere": (tar(entry("other.onnx", MODEL)), "the pack has no such file"),
}


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize(("content", "told"), HARMFUL.values(), ids=HARMFUL)
def test_an_archive_that_would_do_harm_is_refused_and_nothing_of_it_stays(
    form: str, content: bytes, told: str, pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    pack.add("5", pack.layer(PACKED[form](content), form))
    with pytest.raises(EdgeError, match=f"all.yml:3: source: .*{told}"):
        resolve_artifact("modelpack:models/shelf:5#model.onnx", WHERE, inventory, store, reporter)
    assert set(store.all_digests()) <= {digest_of(MODEL)}


@pytest.mark.parametrize("form", ["tar+gzip", "tar+zstd"])
@pytest.mark.parametrize("place", ["inside", "behind"])
def test_an_archive_that_makes_much_out_of_little_is_refused(
    form: str, place: str, pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    content = tar(entry("model.onnx", ZEROS)) if place == "inside" else tar(entry("model.onnx", b"x")) + ZEROS
    pack.add("5", pack.layer(PACKED[form](content), form))
    with pytest.raises(EdgeError, match="decompresses to more than 100 times its size"):
        resolve_artifact("modelpack:models/shelf:5#model.onnx", WHERE, inventory, store, reporter)


@pytest.mark.parametrize("form", ["tar+gzip", "tar+zstd"])
def test_an_archive_that_is_cut_off_is_refused(
    form: str, pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    pack.add("5", pack.layer(PACKED[form](tar(WEIGHTS))[:-3], form))
    with pytest.raises(EdgeError, match="archive is damaged"):
        resolve_artifact("modelpack:models/shelf:5#model.onnx", WHERE, inventory, store, reporter)


def bad_bytes(pack: Pack) -> None:
    layer = pack.layer(MODEL, "raw")
    pack.add("5", layer)
    (pack.blobs / layer["digest"][7:]).write_bytes(MODEL[:-1] + b"!")


def bad_config(pack: Pack) -> None:
    pack.add("5", pack.layer(MODEL, "raw"))
    (pack.blobs / digest_of(b'{"descriptor": {"name": "shelf"}}')[7:]).write_bytes(b'{"descriptor": {"name": "other"}}')


def lost(pack: Pack) -> None:
    layer = pack.layer(MODEL, "raw")
    pack.add("5", layer)
    (pack.blobs / layer["digest"][7:]).unlink()


BROKEN: dict[str, tuple[Callable[[Pack], Any], str, str]] = {
    "bytes": (bad_bytes, "", "has other bytes than its name says"),
    "config": (bad_config, "", "has other bytes than its name says"),
    "size": (lambda pack: pack.add("5", pack.layer(MODEL, "raw", size=7)), "", "another size than the pack says"),
    "lost": (lost, "", "the pack is not whole"),
    "outside": (lambda pack: pack.add("5", pack.layer(MODEL, "raw", digest="sha256:../../x")), "", "is not whole"),
    "image": (lambda pack: pack.add("5", artifact="", config=IMAGE_CONFIG), "", "this is no ModelPack"),
    "tag": (lambda pack: pack.add("6", pack.layer(MODEL, "raw")), ":5", "has no image 5"),
    "tags": (
        lambda pack: pack.add("6", pack.layer(MODEL, "raw")).add("7", pack.layer(b"x", "raw")), "", r"tag \(6, 7\)"
    ),
    "weights": (
        lambda pack: pack.add("5", pack.layer(MODEL, "raw", "a"), pack.layer(b"x", "raw", "b")), "", "found a, b"
    ),
    "several": (lambda pack: pack.add("5", pack.layer(GOOD)), "", "found shelf/labels.txt, shelf/model.onnx"),
    "path": (lambda pack: pack.add("5", pack.layer(MODEL, "raw", "model.onnx")), "#modle.onnx", "instance model.onnx"),
    "index": (lambda pack: (pack.folder / "index.json").write_text("[" * 100_000), "", "cannot be read"),
    "folder": (lambda pack: shutil.rmtree(pack.folder), "", "there is no OCI layout"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "rest", "told"), BROKEN.values(), ids=BROKEN)
def test_a_pack_that_is_not_what_it_says_is_refused(
    make: Callable[[Pack], Any], rest: str, told: str, pack: Pack, inventory: Path, store: Store, reporter: Reporter
) -> None:
    make(pack)
    with pytest.raises(EdgeError, match=f"all.yml:3: source: .*{told}"):
        resolve_artifact(f"modelpack:models/shelf{rest}", WHERE, inventory, store, reporter)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), max_size=8), st.integers(0, 4096))
def test_whatever_an_archive_has_is_read_or_refused(
    pack: Pack, inventory: Path, store: Store, reporter: Reporter, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(tar(entry("a", b"first"), entry("model.onnx", b"weights")))
    for place, value in changes:
        content[place] = value
    pack.entries.clear()
    pack.add("5", pack.layer(bytes(content[: len(content) - cut])))
    try:
        found = resolve_artifact("modelpack:models/shelf:5#model.onnx", WHERE, inventory, store, reporter)
    except EdgeError:
        return
    assert found.size <= len(content)
