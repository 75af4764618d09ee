"""Images of registries in the store that a podman node uses in place, opened by skopeo and mounted by the kernel."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from edgewright.image_fetching import fetch_images
from edgewright.image_manifest import Platform
from edgewright.lockfile import Lock
from edgewright.paths import Cache
from edgewright.sources.images import resolve_image
from edgewright.stages.image_store import ImageStore
from edgewright.stages.stage import Context
from edgewright.stages.tools_tree import ToolsTree
from edgewright.tools.sandbox import Mount, Sandbox, as_root, bind

if TYPE_CHECKING:
    from edgewright.image_places import ImagePlaces
    from edgewright.reporter import Reporter
    from edgewright.store import Store

PLATFORM = Platform.of_debian("amd64")
SERVER = "docker.io/lab/server:1.0"
MODELS = "docker.io/lab/models:5"


class HostTools(ToolsTree):
    """This machine's skopeo instead of the one of a pinned tools tree."""

    tree: Path

    def sandbox(self, context: Context, *mounts: Mount) -> Sandbox:
        own = [bind(Path(place), place) for place in ("/usr", "/etc")]
        return Sandbox(self.tree, context.epoch, (*own, *mounts))


def layer(entries: dict[str, bytes | None], *, owner: int = 0) -> bytes:
    """Return a layer with files; ``None`` is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.uid = member.gid = owner
            member.mtime = 1_500_000_000
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size, member.mode = len(content), 0o640
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


LAYERS = {
    "base": layer({"app": None, "app/old": b"old", "app/kept": b"kept", "gone": b"gone", "etc": None, "etc/a": b"a"}),
    # what a layer removes, and a folder that it empties first (image-spec, layer.md)
    "above": layer({".wh.gone": b"", "app": None, "app/.wh..wh..opq": b"", "app/new": b"new"}, owner=65532),
    "top": layer({"app/newer": b"newer"}),
}


@pytest.fixture
def lock(make_image: Any, places: ImagePlaces, store: Store, reporter: Reporter) -> tuple[Lock, Any]:
    """Two images, pinned and fetched from a registry; one of Docker's media types and of three layers."""
    made = make_image("hub/lab/server", "1.0", layers=tuple(LAYERS.values()), family="docker")
    make_image("hub/lab/models", "5", layers=("model",))
    images = {name: resolve_image(name, name, PLATFORM, places, store) for name in (SERVER, MODELS)}
    fetch_images(images.values(), places, store, reporter)
    return Lock(images=images), made


@pytest.fixture
def stage(lock: tuple[Lock, Any], store: Store, tmp_path: Path) -> ImageStore:
    tools = HostTools(lock[0], store)
    tools.tree = tmp_path / "host"
    for folder in ("usr", "etc", "proc", "dev", "run", "tmp", "var/tmp", "mnt"):
        (tools.tree / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tools.tree / name).symlink_to(f"usr/{name}")
    return ImageStore(lock[0], store, (), tools)


@pytest.fixture
def made(stage: ImageStore, tmp_path: Path) -> Path:
    return built(stage, tmp_path / "first")


def built(stage: ImageStore, folder: Path) -> Path:
    out = folder / "out"
    out.mkdir(parents=True)
    stage.run(Context(Cache(folder / "cache"), 1_700_000_000, folder / "log"), out)
    return out / "storage"


def skopeo(storage: Path, *words: str) -> str:
    """Ask skopeo about the store, which only lies beside one of its own, as on a node."""
    own = storage.parent / "own"
    transport = f"containers-storage:[overlay@{own}+{own}-run:overlay.imagestore={storage}]"
    return as_root(["skopeo", "--insecure-policy", *(word.replace("STORE", transport) for word in words)]).decode()


def test_podman_s_store_has_the_images_under_their_names_and_byte_for_byte(
    made: Path, lock: tuple[Lock, Any], tmp_path: Path
) -> None:
    pinned = lock[0].images[SERVER]
    config = json.loads(skopeo(made, "inspect", "--config", f"STORE{SERVER}"))
    assert config["rootfs"]["diff_ids"] == json.loads(lock[1].content[lock[1].configs["amd64"]])["rootfs"]["diff_ids"]
    assert skopeo(made, "inspect", "--format", "{{.Digest}}", f"STORE{SERVER}").strip() == pinned.manifest
    skopeo(made, "inspect", f"STORE{MODELS}")
    # skopeo puts the layers together again out of what is unpacked, and compares them with their digests.
    skopeo(made, "copy", f"STORE{SERVER}", f"dir:{tmp_path}/again")
    manifest = json.loads((tmp_path / "again/manifest.json").read_text())
    assert [entry["digest"] for entry in manifest["layers"]] == config["rootfs"]["diff_ids"]


def test_what_a_layer_removes_is_gone_where_the_kernel_mounts_it(made: Path, tmp_path: Path) -> None:
    (top,) = [each for each in json.loads((made / "overlay-images/images.json").read_text()) if SERVER in each["names"]]
    folder = made / "overlay" / top["layer"]
    lower = ":".join(
        [f"{folder}/diff", *(f"{made}/overlay/{part}" for part in (folder / "lower").read_text().split(":"))]
    )
    target = tmp_path / "mounted"
    target.mkdir()
    script = 'mount -t overlay -o "lowerdir=$1" overlay "$2" && cd "$2" && find . -type f | sort && stat -c %u app/new'
    found = as_root(["sh", "-c", script, "sh", lower, target]).decode()
    assert found.split() == ["./app/new", "./app/newer", "./etc/a", "65532"]


def everything(folder: Path) -> bytes:
    """Return all there is to the files of a folder: names, kinds, modes, owners, times, attributes, content."""
    options = ["--pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime", "--xattrs", "--xattrs-include=*"]
    return as_root(["tar", *options, "--sort=name", "--numeric-owner", "-cf", "-", "-C", folder, "."])


def test_no_layer_needs_an_attribute_that_only_root_can_write(made: Path) -> None:
    assert b"overlay.opaque" not in everything(made)


def test_an_image_that_only_a_disk_comes_from_is_not_in_it(stage: ImageStore, tmp_path: Path) -> None:
    stage.left_out = frozenset([SERVER])
    images = json.loads((built(stage, tmp_path / "first") / "overlay-images/images.json").read_text())
    assert [each["names"] for each in images] == [[MODELS]]


def test_it_is_the_same_twice(stage: ImageStore, made: Path, tmp_path: Path) -> None:
    again = built(stage, tmp_path / "second")
    assert hashlib.sha256(everything(made)).digest() == hashlib.sha256(everything(again)).digest()
