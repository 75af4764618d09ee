"""A disk in a pinned image, made a file by the builder's stage, and found by those who place it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible
from edgewright.built import publish
from edgewright.lockfile import Image, Lock, Tree
from edgewright.pins import Blob
from edgewright.pipeline import pipeline
from edgewright.site import load_site
from edgewright.stages.container_disks import ContainerDisk
from edgewright.stages.tools_tree import ToolsTree
from edgewright.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.stages.stage import Context

REFERENCE = "registry.example/guests/till:1"
SOURCE = f"docker://{REFERENCE}"
MIB = 1 << 20


def raw_disk(folder: Path) -> Path:
    path = folder / "disk.raw"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(3 * MIB)
        file.write(b"a guest's data")
    return path


def qcow2(raw: Path, *options: str) -> Path:
    path = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path], check=True)
    return path


def pinned(store: Store, disk: Path) -> Image:
    """Put an image with this disk into the store, as ``fetch`` does."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(disk, f"disk/{disk.name}")
    blobs = []
    for content in (b"{}", archive.getvalue()):
        digest, size = store.adopt_stream(io.BytesIO(content))
        blobs.append({"mediaType": "application/octet-stream", "digest": digest, "size": size})
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": blobs[0], "layers": blobs[1:]}
    digest, size = store.adopt_stream(io.BytesIO(json.dumps(manifest).encode()))
    parts = tuple(Blob(str(blob["digest"]), int(str(blob["size"]))) for blob in blobs)
    return Image(REFERENCE, "linux/amd64", None, digest, size, parts)


@pytest.fixture
def store(context: Context) -> Store:
    return Store(context.cache.store)


@pytest.fixture
def tools(context: Context, store: Store, tree: Path) -> ToolsTree:
    """A tools tree that is built already: a few programs of this machine."""
    made = ToolsTree(Lock(trees={"tools": Tree((), ())}), store)
    output = made.output(context.cache)
    output.mkdir(parents=True)
    (output / "tree").symlink_to(tree)
    return made


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_disk_becomes_a_sparse_raw_file_whatever_it_was(
    context: Context, store: Store, tools: ToolsTree, tmp_path: Path, form: str
) -> None:
    raw = raw_disk(tmp_path)
    stage = ContainerDisk(pinned(store, raw if form == "raw" else qcow2(raw)), store, tools)
    assert stage.build(context)
    made = stage.output(context.cache) / "disk"
    assert [path.name for path in made.parent.iterdir()] == ["disk"]
    subprocess.run(["cmp", raw, made], check=True)
    assert made.stat().st_blocks * 512 < MIB


@pytest.mark.usefixtures("namespaces")
def test_a_disk_that_is_the_rest_of_another_is_refused(
    context: Context, store: Store, tools: ToolsTree, tmp_path: Path
) -> None:
    base = qcow2(raw_disk(tmp_path))
    snapshot = tmp_path / "snapshot.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", snapshot], check=True)
    with pytest.raises(EdgeError, match=rf"image {REFERENCE}: has a backing file"):
        ContainerDisk(pinned(store, snapshot), store, tools).build(context)


def site_with(folder: Path, runtime: str, *disks: dict[str, Any]) -> Path:
    site = folder / "site"
    (site / "group_vars").mkdir(parents=True)
    (site / "hosts.yml").write_text("k3s_server: {hosts: {box-1: {ansible_connection: local}}}\n")
    machines = [{"name": "v", "memory": "1GiB", "disks": list(disks)}]
    shared = {"edge_site": "a", "edge_runtime": runtime, "edge_virtual_machines": machines}
    (site / "group_vars" / "all.yml").write_text(yaml.safe_dump(shared))
    return site


@pytest.mark.parametrize(("runtime", "path", "owner"), [("podman", "v/disk0.img", 0), ("k3s", "v/disk0/disk.img", 107)])
def test_an_image_has_the_file_and_a_nodes_registry_only_images_that_are_pulled(
    store: Store, tmp_path: Path, runtime: str, path: str, owner: int
) -> None:
    pulled = "registry.example/guests/pulled:1"
    disks: list[dict[str, Any]] = [{"source": SOURCE, "size": "16MiB"}]
    if runtime == "k3s":
        disks.append({"source": f"docker://{pulled}", "volume": "container_disk"})
    site = load_site(site_with(tmp_path, runtime, *disks))
    images = {name: Image(name, "linux/amd64", None, f"sha256:{'1' * 64}", 1, ()) for name in (REFERENCE, pulled)}
    lock = Lock(images=images, trees={name: Tree((), ()) for name in ("tools", "node")})
    plan = pipeline(site, lock, store, version="1", vault_password_file=None)
    (file,) = plan.disk.files
    assert (file.path, file.owner, file.size) == (f"lib/edgewright/virtual-machines/{path}", owner, 16 * MIB)
    assert file.guest in plan.container_disks
    assert file.guest in plan.disk.needs()
    if runtime == "k3s":
        assert set(plan.root.store.inputs()["images"]) == {pulled}


@pytest.mark.usefixtures("namespaces")
def test_nodes_reached_over_ssh_get_the_disk_that_the_lock_pins(
    context: Context, store: Store, tools: ToolsTree, tmp_path: Path
) -> None:
    image = pinned(store, raw_disk(tmp_path))
    site = site_with(tmp_path, "podman", {"source": SOURCE})
    lock = Lock(images={REFERENCE: image}, trees={name: Tree((), ()) for name in ("tools", "node")})
    lock.dump(site / "site.lock.yml")

    def find() -> str:
        template = f"{{{{ lookup('edgewright.edge.artifact', '{SOURCE}') }}}}"
        cache = {"EDGEWRIGHT_CACHE": str(context.cache.root)}
        done = ansible("ansible", "all", "-i", site, "-m", "debug", "-a", json.dumps({"msg": template}), **cache)
        return str(json.loads(done.stdout[done.stdout.index("=> {") + 3 :])["msg"])

    assert "has not been built" in find()
    plan = pipeline(load_site(site), lock, store, version="1", vault_password_file=None)
    (stage,) = plan.container_disks
    assert stage.tools.key() == tools.key()
    stage.build(context)
    digest = publish(plan, context)[SOURCE]
    found = find()
    assert found == str(store.path(digest))
    with store.path(digest).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest.removeprefix("sha256:")
    subprocess.run(["cmp", tmp_path / "disk.raw", found], check=True)
    # Another image under the same name has another disk.
    lock = Lock(images={REFERENCE: pinned(store, qcow2(tmp_path / "disk.raw"))}, trees=lock.trees)
    lock.dump(site / "site.lock.yml")
    assert "has not been built" in find()
