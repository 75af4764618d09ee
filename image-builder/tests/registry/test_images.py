"""From a tag in a registry to bytes in the store, past everything that a registry can do wrong."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.exits import NeedsNetworkError
from edgewright.image_fetching import fetch_images, missing_images
from edgewright.image_manifest import Platform
from edgewright.lockfile import Lock
from edgewright.sources.images import resolve_image
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgewright.image_places import ImagePlaces
    from edgewright.pins import Image
    from edgewright.reporter import Reporter

    # the classes of conftest
    Front = Any
    Maker = Callable[..., Any]

AMD64 = Platform.of_debian("amd64")


def lock_image(reference: str, places: ImagePlaces, store: Store, platform: Platform = AMD64) -> Image:
    return resolve_image(reference, "all.yml:7: image", platform, places, store)


def check_whole(store: Store, made: Any, platform: str = "amd64") -> None:
    """Every file of the image is in the store, as another program reads it."""
    wanted = [made.index, made.manifests[platform], made.configs[platform], *made.layers[platform]]
    for digest in filter(None, wanted):
        said = subprocess.run(["sha256sum", store.path(digest)], check=True, capture_output=True, text=True).stdout
        assert said.split()[0] == digest.removeprefix("sha256:")


@pytest.mark.parametrize("family", ["oci", "docker"])
def test_a_tag_becomes_digests_and_the_digests_become_the_registrys_own_bytes(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front, family: str
) -> None:
    made = make_image("hub/library/tool", f"1-{family}", layers=("a", family), family=family)
    reference = f"docker.io/library/tool:1-{family}"
    image = lock_image(reference, places, store)
    assert (image.reference, image.platform) == (reference, "linux/amd64")
    assert (image.index, image.manifest) == (made.index, made.manifests["amd64"])
    assert {blob.digest for blob in image.blobs} == {made.configs["amd64"], *made.layers["amd64"]}
    assert all(len(made.content[blob.digest]) == blob.size for blob in image.blobs)
    assert image.size == sum(len(made.content[digest]) for digest in image.digests)
    assert not front.asked("/blobs/" + made.layers["amd64"][0])  # locking costs no layers
    assert Lock.from_text(Lock(images={reference: image}).to_text()).images == {reference: image}
    fetched = fetch_images([image], places, store, reporter)
    check_whole(store, made)
    assert fetched.received == sum(blob.size for blob in image.blobs)
    assert all(store.path(digest).read_bytes() == made.content[digest] for digest in image.digests)
    assert not store.has(made.layers["arm64"][0])
    assert [path.name for path in (store.root / "partial").iterdir()] == ["lock"]


def test_what_is_there_is_not_asked_for_again(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front
) -> None:
    make_image("hub/library/first", "1", layers=("base", "own"))
    second = make_image("hub/library/second", "1", layers=("base", "other"))
    images = [lock_image(f"docker.io/library/{name}:1", places, store) for name in ("first", "second")]
    fetch_images(images[:1], places, store, reporter)
    front.requests.clear()
    (missing,) = missing_images(images, store)
    assert missing.name == "image docker.io/library/second:1"
    shared, own = second.layers["amd64"]
    assert missing.size == len(second.content[own]) + len(second.content[second.configs["amd64"]])
    fetch_images(images, places, store, reporter)
    assert not front.asked(f"/blobs/{shared}")
    assert len(front.asked(f"GET .*/blobs/{own}")) == 1
    check_whole(store, second)
    front.requests.clear()
    assert fetch_images(images, places, store, reporter).files == 0
    assert front.requests == []


def test_a_layer_that_images_share_comes_once_also_when_they_are_fetched_together(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front
) -> None:
    made = [make_image(f"hub/library/sharing{number}", "1", layers=("base", f"s{number}")) for number in range(4)]
    images = [lock_image(f"docker.io/library/sharing{number}:1", places, store) for number in range(4)]
    front.delay = 0.05
    fetch_images(images, places, store, reporter, at_once=4)
    for each in made:
        check_whole(store, each)
    assert len(front.asked(f"GET .*/blobs/{made[0].layers['amd64'][0]}")) == 1


def test_an_image_changed_behind_its_tag_is_fetched_as_it_was_locked(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter
) -> None:
    old = make_image("hub/library/moving", "1", layers=("old",))
    image = lock_image("docker.io/library/moving:1", places, store)
    new = make_image("hub/library/moving", "1", layers=("new",))
    fetch_images([image], places, store, reporter)
    check_whole(store, old)
    assert not store.has(new.layers["amd64"][0])
    assert lock_image("docker.io/library/moving:1", places, store).index == new.index


def test_a_store_without_the_manifests_gets_them_by_digest(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, tmp_path: Path
) -> None:
    made = make_image("hub/library/elsewhere", "1")
    image = lock_image("docker.io/library/elsewhere:1", places, store)
    other = Store(tmp_path / "other")
    fetch_images([image], places, other, reporter)
    check_whole(other, made)
    assert other.path(made.index).read_bytes() == made.content[made.index]


def test_the_platform_that_fits_best_is_chosen(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter
) -> None:
    made = make_image("hub/library/arms", "1", platforms=("amd64", "arm/v5", "arm/v7", "arm/v6", "arm64/v8"))
    images = {
        debian: lock_image("docker.io/library/arms:1", places, store, Platform.of_debian(debian))
        for debian in ("amd64", "armhf", "arm64")
    }
    assert images["amd64"].manifest == made.manifests["amd64"]
    assert images["armhf"].manifest == made.manifests["arm/v7"]
    assert images["arm64"].manifest == made.manifests["arm64/v8"]
    fetch_images([images["armhf"]], places, store, reporter)
    check_whole(store, made, "arm/v7")


def test_an_image_for_other_machines_only_is_refused(make_image: Maker, places: ImagePlaces, store: Store) -> None:
    make_image("hub/library/foreign", "1", platforms=("arm64/v8", "arm/v7"))
    with pytest.raises(EdgeError) as caught:
        lock_image("docker.io/library/foreign:1", places, store)
    (problem,) = caught.value.problems
    assert problem.where == "all.yml:7: image"
    assert (problem.found, problem.expected) == ("linux/arm64/v8, linux/arm/v7", "linux/amd64")


def test_an_image_without_an_index_is_checked_by_its_configuration(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter
) -> None:
    made = make_image("hub/library/single", "1", platforms=("amd64",), with_index=False)
    image = lock_image("docker.io/library/single:1", places, store)
    assert (image.index, image.manifest) == (None, made.manifests["amd64"])
    fetch_images([image], places, store, reporter)
    check_whole(store, made)
    make_image("hub/library/single", "arm", platforms=("arm64",), with_index=False)
    with pytest.raises(EdgeError, match="found linux/arm64; expected linux/amd64"):
        lock_image("docker.io/library/single:arm", places, store)


def test_a_digest_in_the_name_is_what_is_locked(make_image: Maker, places: ImagePlaces, store: Store) -> None:
    old = make_image("hub/library/digest", "1", layers=("x",))
    make_image("hub/library/digest", "1", layers=("y",))
    reference = f"docker.io/library/digest:1@{old.index}"
    image = lock_image(reference, places, store)
    assert (image.reference, image.index) == (reference, old.index)


@pytest.mark.parametrize(
    "fault_fields",
    [
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 500},
        {"status": 503},
        {"cut_after": 0},
        {"cut_after": 40_000},
    ],
    ids=["429", "500", "503", "cut at once", "cut half-way"],
)
def test_what_may_pass_is_tried_again(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front, fault: Any,
    fault_fields: Any,
) -> None:  # fmt: skip
    made = make_image("hub/library/flaky", "1", layers=("first", "second"))
    front.faults = [fault(f"manifests/{made.index}|manifests/1$", **{**fault_fields, "cut_after": -1})]
    if "cut_after" in fault_fields:
        front.faults = [fault("manifests/1$", cut_after=10)]
    image = lock_image("docker.io/library/flaky:1", places, store)
    assert front.faults[0].times == 0
    second = made.layers["amd64"][1]
    front.faults = [fault(f"blobs/{second}", **fault_fields)]
    fetch_images([image], places, store, reporter)
    assert front.faults[0].times == 0
    check_whole(store, made)


def test_an_interrupted_fetch_keeps_the_layers_that_came(
    make_image: Maker, places: ImagePlaces, make_places: Any, store: Store, reporter: Reporter, front: Front, fault: Any
) -> None:
    made = make_image("hub/library/resumed", "1", layers=("r1", "r2", "r3"))
    image = lock_image("docker.io/library/resumed:1", places, store)
    *whole, lost = made.layers["amd64"]
    front.faults = [fault(f"blobs/{lost}", cut_after=20_000, times=99)]
    with pytest.raises(NeedsNetworkError) as caught:
        fetch_images([image], places, store, reporter)
    (problem,) = caught.value.problems
    assert problem.where == "image docker.io/library/resumed:1"
    assert "run 'edgewright fetch' again: it goes on where it stopped" in problem.remedy
    assert all(store.has(digest) for digest in whole)
    assert not store.has(lost)
    front.faults = []
    front.requests.clear()
    fetch_images([image], make_places(**{"docker_io/": f"{front.address}/hub/"}), store, reporter)
    assert [each.rpartition("/")[2] for each in front.asked("GET .*/blobs/")].count(lost) == 1
    assert not any(front.asked(f"GET .*/blobs/{digest}") for digest in whole)
    check_whole(store, made)


def test_layers_that_a_killed_run_left_are_taken_up_after_their_digest_was_checked(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front
) -> None:
    made = make_image("hub/library/killed", "1", layers=("k1", "k2"))
    image = lock_image("docker.io/library/killed:1", places, store)
    good, bad = made.layers["amd64"]
    left = store.root / "partial" / f"{image.manifest.removeprefix('sha256:')}.image" / "blobs" / "sha256"
    left.mkdir(parents=True)
    (left / good.removeprefix("sha256:")).write_bytes(made.content[good])
    (left / bad.removeprefix("sha256:")).write_bytes(made.content[bad][:-1])
    fetch_images([image], places, store, reporter)
    assert not front.asked(f"GET .*/blobs/{good}")
    assert len(front.asked(f"GET .*/blobs/{bad}")) == 1
    check_whole(store, made)


def test_wrong_bytes_are_an_error_that_names_image_and_digests_and_are_not_kept(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front, fault: Any
) -> None:
    made = make_image("hub/library/flipped", "1", layers=("f1",))
    image = lock_image("docker.io/library/flipped:1", places, store)
    (layer,) = made.layers["amd64"]
    front.faults = [fault(f"blobs/{layer}", flip=True, times=99)]
    with pytest.raises(EdgeError) as caught:
        fetch_images([image], places, store, reporter)
    assert not isinstance(caught.value, NeedsNetworkError)
    (problem,) = caught.value.problems
    assert problem.where == "image docker.io/library/flipped:1"
    assert layer in problem.found
    assert not store.has(layer)


def test_a_wrong_manifest_is_never_believed(
    make_image: Maker, places: ImagePlaces, store: Store, tmp_path: Path, reporter: Reporter, front: Front, fault: Any
) -> None:
    made = make_image("hub/library/liar", "1")
    image = lock_image("docker.io/library/liar:1", places, store)
    front.faults = [fault(f"manifests/{made.index}", flip=True, times=99)]
    other = Store(tmp_path / "other")
    with pytest.raises(EdgeError, match="not those pinned"):
        fetch_images([image], places, other, reporter)
    assert not other.has(made.index)


def test_a_password_is_taken_from_the_auth_file_and_never_shown(
    make_image: Maker, places: ImagePlaces, store: Store, reporter: Reporter, front: Front, tmp_path: Path
) -> None:
    made = make_image("hub/library/private", "1")
    front.password = "robot:s3cret-of-the-tests"
    with pytest.raises(EdgeError) as caught:
        lock_image("docker.io/library/private:1", places, store)
    assert "skopeo login" in caught.value.problems[0].remedy
    auth = base64.b64encode(front.password.encode()).decode()
    (tmp_path / "home" / "auth.json").write_text(json.dumps({"auths": {front.address: {"auth": auth}}}))
    image = lock_image("docker.io/library/private:1", places, store)
    fetch_images([image], places, store, reporter)
    check_whole(store, made)
    (tmp_path / "home" / "auth.json").write_text(json.dumps({"auths": {front.address: {"auth": auth[:-4] + "AAA="}}}))
    with pytest.raises(EdgeError) as caught:
        lock_image("docker.io/library/private:1", places, store)
    assert "s3cret" not in str(caught.value)
    assert auth not in str(caught.value)


def test_an_unknown_image_says_what_to_do(places: ImagePlaces, store: Store) -> None:
    with pytest.raises(EdgeError) as caught:
        lock_image("docker.io/library/nowhere:1", places, store)
    (problem,) = caught.value.problems
    assert not isinstance(caught.value, NeedsNetworkError)
    assert problem.where == "all.yml:7: image"
    assert "manifest unknown" in problem.found
    assert "Correct the image's name or tag" in problem.remedy


def test_a_registry_that_is_not_there_needs_the_network_and_every_image_is_named(
    make_image: Maker, places: ImagePlaces, make_places: Any, store: Store, reporter: Reporter, tmp_path: Path
) -> None:
    names = [f"docker.io/library/lost{number}:1" for number in range(3)]
    for number in range(3):
        make_image(f"hub/library/lost{number}", "1", layers=(f"lost{number}",))
    images = [lock_image(name, places, store) for name in names]
    nobody = make_places(**{"docker_io/": "127.0.0.1:1/hub/"})
    with pytest.raises(NeedsNetworkError) as caught:
        fetch_images(images, nobody, Store(tmp_path / "other"), reporter)
    assert [problem.where for problem in caught.value.problems] == [f"image {name}" for name in names]
    assert all("connection refused" in problem.found for problem in caught.value.problems)


def test_plain_http_is_only_for_the_loopback_and_for_who_asks_for_it() -> None:
    from edgewright.tools.skopeo import is_loopback

    assert all(
        is_loopback(each) for each in ("localhost:5000/a:1", "127.0.0.1:5000/a", "[::1]:5000/a", "127.3.2.1/a:1")
    )
    assert not any(is_loopback(each) for each in ("docker.io/a:1", "localhost.evil.example/a", "10.0.0.1:5000/a"))


def test_the_longest_prefix_of_the_mirrors_wins(
    make_image: Maker, make_places: Any, store: Store, front: Front, reporter: Reporter
) -> None:
    quay = make_image("mirror/quay/kubevirt/virt-api", "v1", layers=("q",))
    make_image("hub/library/any", "1")
    places = make_places(
        **{
            "docker_io/": f"{front.address}/hub/",
            "quay_io/": f"{front.address}/wrong/",
            "quay_io/kubevirt/": f"{front.address}/mirror/quay/kubevirt/",
        }
    )
    image = lock_image("quay.io/kubevirt/virt-api:v1", places, store)
    assert (image.reference, image.index) == ("quay.io/kubevirt/virt-api:v1", quay.index)
    fetch_images([image], places, store, reporter)
    check_whole(store, quay)
    assert not front.asked("/wrong/")


@pytest.mark.parametrize("one_for_all", [False, True], ids=["a layout a repository", "one layout for all"])
def test_a_folder_on_a_stick_serves_images(
    make_image: Maker, make_places: Any, store: Store, reporter: Reporter, registry_port: int, tmp_path: Path,
    one_for_all: bool,
) -> None:  # fmt: skip
    made = make_image("stick/library/carried", "2.0", layers=("c1", "c2"))
    stick = tmp_path / "stick"
    layout = stick if one_for_all else stick / "library" / "carried"
    layout.parent.mkdir(parents=True, exist_ok=True)
    name = "docker.io/library/carried:2.0" if one_for_all else "2.0"
    source = f"docker://127.0.0.1:{registry_port}/stick/library/carried:2.0"
    subprocess.run(
        ["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", source, f"oci:{layout}:{name}"], check=True
    )
    places = make_places(**{"docker_io/": f"oci:{stick}/"})
    image = lock_image("docker.io/library/carried:2.0", places, store)
    assert (image.index, image.manifest) == (made.index, made.manifests["amd64"])
    fetch_images([image], places, store, reporter)
    check_whole(store, made)
    with pytest.raises(EdgeError, match=r"has no image docker\.io/library/carried:3\.0"):
        lock_image("docker.io/library/carried:3.0", places, store)
