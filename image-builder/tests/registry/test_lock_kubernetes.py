"""A k3s site's lock: releases by their published checksums, manifests, and every image that any of them names."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.container_disk import extract_disk
from edgewright.exits import NeedsNetworkError
from edgewright.image_manifest import read_manifest
from edgewright.lockfile import Lock
from edgewright.resolve_changes import changes
from edgewright.resolve_request import gaps
from edgewright.site import load_site
from edgewright.site_check import refuse_bad_site
from edgewright.store import Store

from .outside_world import BINARY, K3S, MANIFEST, OPERATOR

if TYPE_CHECKING:
    from .conftest import Maker
    from .outside_world import World

# what the operator of KubeVirt 1.9 starts
KUBEVIRT = (
    "virt-operator", "virt-api", "virt-controller", "virt-handler", "virt-launcher", "virt-exportproxy",
    "virt-exportserver",
)  # fmt: skip


def test_the_release_is_pinned_by_its_published_checksum_and_its_binary_is_not_downloaded(world: World) -> None:
    lock = world.lock()
    binary = lock.artifacts[f"{K3S}k3s"]
    assert (binary.digest, binary.size) == (f"sha256:{hashlib.sha256(BINARY).hexdigest()}", len(BINARY))
    assert binary.urls == (f"{K3S}k3s",)  # canonical: the mirror is this controller's business
    assert not world.front.asked("^GET .*/k3s$")
    assert set(lock.artifacts) == {
        f"{K3S}k3s",
        f"{K3S}k3s-images.txt",
        "file:manifests/report.yml",
    }
    world.fetching(lock).fetch()
    assert world.store.path(binary.digest).read_bytes() == BINARY


def test_images_are_found_in_lists_operators_manifests_and_the_inventory(world: World) -> None:
    lock = world.lock()
    assert set(lock.images) == {
        "docker.io/rancher/mirrored-pause:3.6",
        "docker.io/rancher/klipper-lb:v0.4.17",
        "docker.io/library/prepare:2",
        "docker.io/library/busybox:1.37.0",
        "registry.example/shop/report:1",
    }
    made = world.made["hub/rancher/mirrored-pause:3.6"]
    assert lock.images["docker.io/rancher/mirrored-pause:3.6"].index == made.index
    fetching = world.fetching(lock)
    fetching.fetch()
    assert fetching.missing() == []
    for image in lock.images.values():
        for digest in image.digests:
            said = subprocess.run(["sha256sum", world.store.path(digest)], check=True, capture_output=True, text=True)
            assert said.stdout.split()[0] == digest.removeprefix("sha256:")


def test_what_kubevirts_operator_deploys_is_pinned_with_its_manifest(world: World, make_image: Maker) -> None:
    for name in KUBEVIRT:
        make_image(f"quay/kubevirt/{name}", "v1.9.0")
    world.write(kubevirt="v1.9.0", manifests=[], images=[])
    lock = world.lock()
    operator = lock.artifacts["https://github.com/kubevirt/kubevirt/releases/download/v1.9.0/kubevirt-operator.yaml"]
    assert operator.size == len(OPERATOR)
    named = {reference for reference in lock.images if reference.startswith("quay.io/")}
    assert named == {f"quay.io/kubevirt/{name}:v1.9.0" for name in KUBEVIRT}


def test_images_of_disks_are_pinned_and_what_cdi_downloads_itself_is_not(world: World, make_image: Maker) -> None:
    for name in ("container", "volume"):
        make_image(f"example/guests/{name}", "1", layers=(name,))
    disk = io.BytesIO()
    with tarfile.open(fileobj=disk, mode="w") as archive:
        member = tarfile.TarInfo("disk/till.img")
        member.size = len(BINARY)
        archive.addfile(member, io.BytesIO(BINARY))
    make_image("example/guests/file", "1", layers=("base", disk.getvalue()))
    source = "docker://registry.example/guests"
    digest = f"sha256:{'a' * 64}"
    disks = [
        {"source": f"{source}/file:1"},
        {"source": f"{source}/container:1", "volume": "container_disk"},
        {"source": f"{source}/volume:1", "volume": "data_volume", "size": "1GiB"},
        {"source": "https://nowhere.invalid/a.img", "volume": "data_volume", "size": "1GiB", "checksum": digest},
    ]
    world.write(kubevirt="v1.9.0", cdi="v1.66.0", manifests=[], images=[])
    world.variables["edge_virtual_machines"] = [{"name": "v", "memory": "1GiB", "disks": disks}]
    world.save()
    refuse_bad_site(load_site(world.folder))
    request = world.request()
    # What is a file of the node needs not be in its registry.
    assert set(request.disks) == {"registry.example/guests/file:1"}
    assert {name for name in request.images if "guests" in name} == {
        "registry.example/guests/container:1",
        "registry.example/guests/volume:1",
    }
    assert not [name for name in request.artifacts if "nowhere" in name]
    world.write(kubevirt=None, manifests=[], images=[])
    del world.variables["edge_kubernetes"], world.variables["edge_mirrors"][0:2]
    world.variables |= {"edge_runtime": "podman", "edge_virtualization": "emulation"}
    world.variables["edge_virtual_machines"] = [{"name": "v", "memory": "1GiB", "disks": disks[:1]}]
    world.save()
    refuse_bad_site(load_site(world.folder))
    lock = world.lock()
    assert set(lock.images) == {"registry.example/guests/file:1"}
    assert gaps(lock, world.request()) == []
    fetching = world.fetching(lock)
    fetching.fetch()
    assert fetching.missing() == []
    (image,) = lock.images.values()
    manifest = read_manifest(world.store.path(image.manifest).read_bytes(), image.reference)
    layers = [world.store.path(layer.digest) for layer in manifest.layers]
    extract_disk(layers, image.reference, world.folder / "till.img")
    assert (world.folder / "till.img").read_bytes() == BINARY


def test_what_is_pinned_stays_though_tags_move_until_upgrade(world: World, make_image: Maker) -> None:
    old = world.lock()
    make_image("hub/library/busybox", "1.37.0", layers=("moved",))
    world.front.requests.clear()
    new = world.lock(old)
    assert new == old
    assert world.front.requests == []
    world.write(images=["busybox:1.37.0", "rancher/klipper-lb:v0.4.17"], manifests=[])
    fewer = world.lock(old)
    assert set(old.images) - set(fewer.images) == {"docker.io/library/prepare:2", "registry.example/shop/report:1"}
    upgraded = world.lock(old, upgrade=True)
    assert upgraded.images["docker.io/library/busybox:1.37.0"] != old.images["docker.io/library/busybox:1.37.0"]
    images = changes(old, upgraded)[-1]
    assert images.kind == "container images"
    assert [name for name, _, _ in images.changed] == ["docker.io/library/busybox:1.37.0"]


def test_another_store_gets_everything_from_the_lock_alone(world: World, tmp_path: Path) -> None:
    lock = Lock.from_text(world.lock().to_text())
    other = Store(tmp_path / "other")
    fetching = world.fetching(lock, other)
    assert "image docker.io/library/busybox:1.37.0" in {each.name for each in fetching.missing()}
    fetching.fetch()
    assert all(other.has(digest) for digest in fetching.digests())


def test_all_that_cannot_be_had_is_told_at_once_with_its_place(world: World, fault: Any) -> None:
    world.write(images=["busybox:1.99", "registry.example/no/such:1", "nowhere.invalid/a:1"])
    world.front.files.pop("/k3s/v1.36.5+k3s1/sha256sum-amd64.txt")
    world.front.faults = [fault("manifests/3.6$", status=500, times=99)]
    with pytest.raises(EdgeError) as caught:
        world.lock()
    wrong = {problem.where.split(": ", 1)[1]: problem for problem in caught.value.problems}
    assert all(problem.where.startswith("group_vars/all.yml:3: ") for problem in wrong.values())
    assert set(wrong) == {
        "edge_kubernetes.k3s",
        "edge_kubernetes.images[0]: docker.io/library/busybox:1.99",
        "edge_kubernetes.images[1]: registry.example/no/such:1",
        "edge_kubernetes.images[2]: nowhere.invalid/a:1",
        f"edge_kubernetes.k3s: {K3S}k3s-images.txt: docker.io/rancher/mirrored-pause:3.6",
    }


def test_only_the_network_in_the_way_is_said_to_be_that(world: World) -> None:
    world.write(images=["nowhere.invalid/a:1"])
    with pytest.raises(NeedsNetworkError) as caught:
        world.lock()
    (problem,) = caught.value.problems
    assert "no such host" in problem.found


def test_a_mirror_can_be_a_folder_on_a_stick(world: World, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    for name, content in world.front.files.items():
        (stick / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (stick / name.lstrip("/")).write_bytes(content)
    world.front.files.clear()
    world.variables["edge_mirrors"][0]["location"] = f"file:{stick}/k3s/"
    world.variables["edge_mirrors"][1]["location"] = f"file:{stick}/kubevirt/"
    world.save()
    lock = world.lock()
    assert lock.artifacts[f"{K3S}k3s"].size == len(BINARY)
    other = Store(tmp_path / "other")
    world.fetching(lock, other).fetch()
    assert other.path(lock.artifacts[f"{K3S}k3s"].digest).read_bytes() == BINARY
    (stick / "k3s" / "v1.36.5+k3s1" / "k3s").write_bytes(BINARY[:-1] + b"!")
    with pytest.raises(EdgeError, match="not those pinned"):
        world.fetching(lock, Store(tmp_path / "third")).fetch()
    (stick / "k3s" / "v1.36.5+k3s1" / "k3s").unlink()
    with pytest.raises(EdgeError, match="the mirror's folder has no such file"):
        world.fetching(lock, Store(tmp_path / "fourth")).fetch()


def test_a_binary_that_is_not_the_published_one_is_not_kept(world: World) -> None:
    lock = world.lock()
    world.front.files["/k3s/v1.36.5+k3s1/k3s"] = BINARY[:-1] + b"!"
    with pytest.raises(EdgeError, match="not those pinned"):
        world.fetching(lock).fetch()
    assert not world.store.has(lock.artifacts[f"{K3S}k3s"].digest)


def test_an_inventory_that_asks_for_more_than_the_lock_has_is_told(world: World) -> None:
    lock = world.lock()
    assert gaps(lock, world.request()) == []
    world.write(images=["busybox:1.37.0", "alpine:3"], k3s="v1.36.4+k3s1")
    found = {gap.expected for gap in gaps(lock, world.request())}
    old, new = "v1.36.5%2Bk3s1", "v1.36.4%2Bk3s1"
    assert found == {
        "docker.io/library/alpine:3",
        *(f"{K3S}{name}".replace(old, new) for name in ("k3s", "k3s-images.txt")),
    }


def test_what_is_no_image_in_a_manifest_is_told_with_its_place(world: World) -> None:
    manifest = world.folder / "manifests" / "report.yml"
    manifest.write_text(MANIFEST.replace("library/prepare:2", "Library/Prepare:2"))
    with pytest.raises(EdgeError) as caught:
        world.request()
    (problem,) = caught.value.problems
    assert problem.where.startswith(
        "group_vars/all.yml:3: edge_kubernetes.manifests[0]: file:manifests/report.yml: CronJob"
    )


def test_a_manifest_that_is_no_yaml_is_told_with_its_place(world: World) -> None:
    (world.folder / "manifests" / "report.yml").write_text("a: [")
    with pytest.raises(EdgeError) as caught:
        world.request()
    (problem,) = caught.value.problems
    assert problem.where == "group_vars/all.yml:3: edge_kubernetes.manifests[0]"
    assert "file:manifests/report.yml is no YAML" in problem.what


def test_check_finds_a_manifest_that_is_not_there_before_anything_is_locked(world: World) -> None:
    (world.folder / "manifests" / "report.yml").unlink()
    with pytest.raises(EdgeError) as caught:
        refuse_bad_site(load_site(world.folder))
    (problem,) = caught.value.problems
    assert problem.where == f"{world.folder}/group_vars/all.yml:3: edge_kubernetes.manifests[0]"
    assert problem.what == "there is no such file in the inventory folder"


def test_a_real_release_in_a_local_mirror_is_locked_and_fetched_with_its_images(world: World, tmp_path: Path) -> None:
    cache = os.environ.get("EDGEWRIGHT_CACHE") or Path(os.environ["REAL_HOME"]) / ".cache" / "edgewright"
    mirror = Path(os.environ.get("EDGEWRIGHT_K3S_MIRROR") or Path(cache) / "mirror" / "k3s")
    archives = sorted(mirror.glob("*/k3s-airgap-images-amd64.tar.zst"))
    if not archives:
        pytest.skip(
            f"there is no release of k3s with its images in {mirror} (EDGEWRIGHT_K3S_MIRROR names another folder)"
        )
    release = archives[-1].parent
    images = tmp_path / "images"
    images.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", archives[-1], "-C", images], check=True)
    world.write(k3s=release.name, manifests=[], images=[])
    world.variables["edge_mirrors"][0]["location"] = f"file:{mirror}/"
    world.variables["edge_mirrors"][2]["location"] = f"oci:{images}/"
    world.save()
    lock = world.lock()
    assert set(lock.images) == set((release / "k3s-images.txt").read_text().split())
    world.fetching(lock).fetch()
    (binary,) = (artifact for source, artifact in lock.artifacts.items() if source.endswith("/k3s"))
    said = subprocess.run(["sha256sum", release / "k3s"], check=True, capture_output=True, text=True).stdout
    assert binary.digest == f"sha256:{said.split()[0]}"
    subprocess.run(["cmp", world.store.path(binary.digest), release / "k3s"], check=True)
    assert world.fetching(lock).missing() == []
