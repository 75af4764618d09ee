"""Single files from outside, and what a site asks for."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any

import command_line
import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.fetching import Fetching
from edgewright.lockfile import Artifact, Distribution, Lock, Tree
from edgewright.resolve import Resolver
from edgewright.resolve_changes import changes
from edgewright.resolve_request import Request, gaps, request_of
from edgewright.site import load_site
from edgewright.sources.artifacts import resolve_artifact
from edgewright.store import Store

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from edgewright.reporter import Reporter

MODEL = b"onnx" * 5000


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def wheel(web: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Publish a wheel with a model in it on a package index."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("modelpack/models/v3/model.onnx", MODEL)
        archive.writestr("modelpack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: modelpack\nVersion: 1.0\n")
        archive.writestr("modelpack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("modelpack-1.0.dist-info/RECORD", "")
    name = "modelpack-1.0-py3-none-any.whl"
    web.files[f"/{name}"] = content.getvalue()
    link = f'<a href="/{name}#sha256={hashlib.sha256(content.getvalue()).hexdigest()}">{name}</a>'
    web.files["/simple/modelpack/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return content.getvalue()


SOURCE = "pypi:modelpack==1.0#modelpack/models/v3/model.onnx"


def test_a_member_of_a_wheel_is_pinned_by_its_own_digest_and_the_wheels(
    web: Any, wheel: bytes, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    artifact = resolve_artifact(SOURCE, "all.yml:1", tmp_path, store, reporter)
    url = f"{web.url}/modelpack-1.0-py3-none-any.whl"
    member = "modelpack/models/v3/model.onnx"
    assert artifact == Artifact(SOURCE, _digest(MODEL), len(MODEL), (url,), member, _digest(wheel), len(wheel))
    assert store.path(artifact.digest).read_bytes() == MODEL


def test_fetch_unpacks_the_member_and_then_needs_the_wheel_no_more(
    wheel: bytes, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    artifact = resolve_artifact(SOURCE, "all.yml:1", tmp_path, store, reporter)
    elsewhere = Store(tmp_path / "elsewhere")
    fetching = Fetching(Lock(artifacts={SOURCE: artifact}), elsewhere, tmp_path, reporter)
    assert [(each.name, each.digest, each.size) for each in fetching.missing()] == [
        (SOURCE, _digest(wheel), len(wheel))
    ]
    fetching.fetch()
    assert elsewhere.path(_digest(MODEL)).read_bytes() == MODEL
    elsewhere.discard(_digest(wheel))
    assert fetching.missing() == []


def test_a_member_that_is_not_there_names_the_nearest(
    wheel: bytes, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    assert wheel
    with pytest.raises(EdgeError) as caught:
        resolve_artifact("pypi:modelpack==1.0#models/v2/model.onnx", "all.yml:7", tmp_path, store, reporter)
    assert str(caught.value) == (
        "all.yml:7: the wheel has no such member; found models/v2/model.onnx; expected for instance "
        "modelpack/models/v3/model.onnx. Correct the part after '#'."
    )


def test_a_web_file_is_downloaded_once_and_pinned(
    web: Any, step: Any, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    web.files["/disk.img"] = MODEL
    web.script["/disk.img"] = [step(503), step(cut_after=100)]
    artifact = resolve_artifact(f"{web.url}/disk.img", "all.yml:1", tmp_path, store, reporter)
    assert (artifact.digest, artifact.size) == (_digest(MODEL), len(MODEL))
    assert store.path(artifact.digest).read_bytes() == MODEL
    with pytest.raises(EdgeError, match="answers 404 Not Found"):
        resolve_artifact(f"{web.url}/absent.img", "all.yml:1", tmp_path, store, reporter)


def test_a_local_file_is_copied_and_a_changed_one_is_noticed(store: Store, tmp_path: Path, reporter: Reporter) -> None:
    (tmp_path / "disks").mkdir()
    disk = tmp_path / "disks" / "till.qcow2"
    disk.write_bytes(MODEL)
    artifact = resolve_artifact("file:disks/till.qcow2", "all.yml:1", tmp_path, store, reporter)
    fetching = Fetching(Lock(artifacts={artifact.source: artifact}), store, tmp_path, reporter)
    disk.write_bytes(b"changed")
    with pytest.raises(EdgeError, match=f"till.qcow2: .*found {_digest(b'changed')}; expected {_digest(MODEL)}"):
        fetching.fetch()
    disk.write_bytes(MODEL)
    fetching.fetch()
    assert store.path(artifact.digest).read_bytes() == MODEL


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("file:../secret", "the file lies outside the inventory's folder"),
        ("file:/etc/passwd", "the file lies outside the inventory's folder"),
        ("file:absent.img", "there is no such file"),
        ("ftp://example.invalid/x", "this is not a source of an artifact"),
        ("pypi:magika#model.onnx", "this is not a source of an artifact"),
        ("", "this is not a source of an artifact"),
    ],
)
def test_a_bad_source_is_told_with_its_place(
    source: str, text: str, store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    with pytest.raises(EdgeError) as caught:
        resolve_artifact(source, "group_vars/all.yml:14: edge_x", tmp_path, store, reporter)
    assert str(caught.value).startswith(f"group_vars/all.yml:14: edge_x: {text}")


def test_relocking_keeps_pins_but_looks_at_local_files_again(store: Store, tmp_path: Path, reporter: Reporter) -> None:
    (tmp_path / "disk.img").write_bytes(b"new")
    web = Artifact("http://127.0.0.1:9/gone", _digest(b"x"), 1, ("http://127.0.0.1:9/gone",))
    old = Lock(artifacts={web.source: web, "file:disk.img": Artifact("file:disk.img", _digest(b"old"), 3)})
    request = Request({}, {}, dict.fromkeys(old.artifacts, "all.yml:1"), tmp_path)
    new = Resolver(store, tmp_path / "apt", reporter).relock(old, request)
    assert new.artifacts[web.source] == web
    assert new.artifacts["file:disk.img"].digest == _digest(b"new")
    (difference,) = [each for each in changes(old, new) if each.kind == "artifacts"]
    assert difference.lines() == [
        "artifacts: 1 kept, 1 changed",
        f"  ~ file:disk.img {_digest(b'old')[:19]} -> {_digest(b'new')[:19]}",
    ]
    dropped = Resolver(store, tmp_path / "apt", reporter).relock(old, Request({}, {}, {}, tmp_path))
    assert dropped.artifacts == {}


def _inventory(folder: Path, **variables: Any) -> Path:
    (folder / "group_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all:\n  hosts:\n    box: {}\n")
    everything = {"edge_site": "test", "edge_runtime": "podman", **variables}
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(everything, sort_keys=False))
    return folder


def test_a_site_asks_for_its_trees_wheels_and_artifacts(tmp_path: Path) -> None:
    service = {"name": "x", "image": "build:containers/inference-server", "models": [{"name": "m", "source": SOURCE}]}
    machine = {"name": "vm", "disks": [{"source": "build:guests/till"}, {"source": "file:disk.img"}]}
    site = load_site(_inventory(tmp_path / "site", edge_inference_services=[service], edge_virtual_machines=[machine]))
    request = request_of(site)
    assert {"container-inference-server", "emulator", "node", "tools"} <= set(request.trees)
    assert any(line.startswith("onnxruntime") for line in request.containers["inference-server"])
    assert {source: where.partition(":")[0] for source, where in request.artifacts.items()} == {
        SOURCE: "group_vars/all.yml", "file:disk.img": "group_vars/all.yml",
    }  # fmt: skip
    assert "edge_virtual_machines[0].disks[1].source" in request.artifacts["file:disk.img"]
    missing = gaps(Lock(), request)
    # An image can be made without its emulator, with a lock of before there was one.
    assert len(missing) == len(request.trees.keys() - {"emulator"}) + 1 + 2
    assert all("edgewright lock" in problem.remedy for problem in missing)
    trees = {name: Tree(tuple(asked), ()) for name, asked in request.trees.items()}
    assert len(gaps(Lock(trees=trees), request)) == 3
    trees["emulator"] = Tree((), ())
    assert len(gaps(Lock(trees=trees), request)) == 4


def _lock(inventory: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return command_line.run("lock", "-i", inventory, "--cache", cache)


def test_lock_refuses_images_without_a_name_of_a_registry_with_line_and_remedy(tmp_path: Path) -> None:
    model = {"name": "m", "source": "https://models.invalid/m.onnx"}
    service = {"name": "x", "image": "registry.invalid/Server:1", "port": 8000, "models": [model]}
    inventory = _inventory(tmp_path / "site", edge_inference_services=[service])
    result = _lock(inventory, tmp_path / "cache")
    assert result.returncode == 2
    assert "group_vars/all.yml:5: edge_inference_services[0].image: " in result.stderr
    assert "found 'registry.invalid/Server:1'; expected build:containers/<name>, or <registry>" in result.stderr
    assert not (inventory / "site.lock.yml").exists()


def test_lock_changes_nothing_and_asks_nothing_when_all_is_pinned(tmp_path: Path) -> None:
    inventory = _inventory(tmp_path / "site")
    request = request_of(load_site(inventory))
    trees = {name: Tree(tuple(asked), ()) for name, asked in request.trees.items()}
    nowhere = Distribution(mirrors={"debian": ("http://127.0.0.1:9/debian",)})
    Lock(nowhere, trees=trees).dump(inventory / "site.lock.yml")
    result = _lock(inventory, tmp_path / "cache")
    assert (result.returncode, "nothing to change" in result.stdout) == (0, True)


def test_lock_without_a_network_is_exit_3_and_writes_nothing(tmp_path: Path) -> None:
    inventory = _inventory(tmp_path / "site")
    mirrors: dict[str, tuple[str, ...]] = {"debian": ("http://127.0.0.1:9/debian",)}
    Lock(Distribution(mirrors=mirrors)).dump(inventory / "site.lock.yml")
    before = (inventory / "site.lock.yml").read_bytes()
    result = _lock(inventory, tmp_path / "cache")
    assert result.returncode == 3
    assert "the package indices could not be had" in result.stderr
    assert (inventory / "site.lock.yml").read_bytes() == before
