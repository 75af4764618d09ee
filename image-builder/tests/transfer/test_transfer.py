"""``edgewright artifacts``: what leaves one machine is what the other builds from, or it does not get in."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from random import Random
from typing import Any

import command_line
import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.lockfile import Artifact, Image, Lock
from edgewright.pins import Blob
from edgewright.reporter import Reporter
from edgewright.store import Store
from edgewright.transfer import Entry, SiteContents
from edgewright.transfer_read import import_exports
from edgewright.transfer_write import write_folder

SHARED = b"shared by all sites" * 9000


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Machine:
    """A machine with a cache of its own, and a site in the working folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.cache = folder / f"cache of {name}"
        self.store = Store(self.cache / "store")

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        result = command_line.run("artifacts", *words, "--cache", self.cache, cwd=self.folder)
        assert "Traceback" not in result.stderr
        return result.returncode, result.stdout, result.stderr

    def json(self, *words: str | Path) -> tuple[int, Any]:
        code, out, _ = self.run(*words, "--json")
        return code, json.loads(out)

    def digests(self) -> set[str]:
        return set(self.store.all_digests())


def _site(machine: Machine, name: str, *own: bytes) -> list[bytes]:
    """Write an inventory whose lock pins files, and an image of two blobs, that the machine's store has."""
    folder = machine.folder / name
    (folder / "group_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all:\n  hosts:\n    box:\n")
    (folder / "group_vars" / "all.yml").write_text(f"edge_site: {name}\n")
    contents = [SHARED, *own]
    artifacts = {}
    for index, content in enumerate(contents):
        source = f"https://files.example/{name}/{index}" if index else "https://files.example/shared"
        artifacts[source] = Artifact(source, _digest(content), len(content), (source,))
    manifest, blobs = b"{}" + name.encode(), (b"config of " + name.encode(), Random(name).randbytes(70_000))  # noqa: S311 - repeatable
    pinned = tuple(Blob(_digest(blob), len(blob)) for blob in blobs)
    image = Image("docker.io/library/tool:1", "linux/amd64", None, _digest(manifest), 1, pinned)
    Lock(artifacts=artifacts, images={image.reference: image}).dump(folder / "site.lock.yml")
    everything = [*contents, manifest, *blobs]
    for content in everything:
        machine.store.adopt_stream(io.BytesIO(content))
    return [*everything, (folder / "site.lock.yml").read_bytes()]


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "there")


def _file_of(export: Path, content: bytes) -> Path:
    value = _digest(content).removeprefix("sha256:")
    return export / "sha256" / value[:2] / value


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("target", ["stick", "site.tar"])
def test_what_is_exported_is_imported_byte_for_byte(here: Machine, there: Machine, tmp_path: Path, target: str) -> None:
    everything = _site(here, "shop", b"own" * 1000, b"")
    code, answer = here.json("export", target, "-i", "shop")
    assert (code, answer["site"], answer["files"]) == (0, "shop", len(everything))
    assert answer["size"] == sum(map(len, everything))
    if target.endswith(".tar"):
        subprocess.run(["tar", "-xf", target, "--one-top-level=unpacked"], cwd=tmp_path, check=True)
        stick = tmp_path / "unpacked"
    else:
        stick = tmp_path / target
    names = [path for path in stick.rglob("*") if path.is_file() and path.parts[-3] == "sha256"]
    said = subprocess.run(["sha256sum", *names], check=True, capture_output=True, text=True).stdout
    assert all(Path(line.split()[1]).name == line.split()[0] for line in said.splitlines())
    assert {f"sha256:{path.name}" for path in names} == {_digest(content) for content in everything}
    assert there.run("verify", target)[0] == 0
    code, answer = there.json("import", target, "-i", "shop")
    assert (code, answer["sites"], answer["files"], answer["missing"]) == (0, ["shop"], len(everything), [])
    assert there.digests() == {_digest(content) for content in everything}
    assert all(there.store.path(_digest(content)).read_bytes() == content for content in everything)
    assert there.run("verify", "-i", "shop")[0] == 0
    code, answer = there.json("import", target)
    assert (code, answer["files"], answer["kept"]) == (0, 0, len(everything))


def test_an_archive_is_the_same_bytes_each_time_and_none_is_replaced(here: Machine, tmp_path: Path) -> None:
    _site(here, "shop", b"own")
    assert here.run("export", "a.tar", "-i", "shop")[0] == 0
    assert here.run("export", "b.tar", "-i", "shop")[0] == 0
    subprocess.run(["cmp", tmp_path / "a.tar", tmp_path / "b.tar"], check=True)
    code, _, err = here.run("export", "a.tar", "-i", "shop")
    assert code == 2
    assert "the archive is there already" in err


def test_an_export_that_was_cut_off_goes_on_and_mends_what_is_damaged(here: Machine, tmp_path: Path) -> None:
    everything = _site(here, "shop", b"own" * 1000)
    here.run("export", "stick", "-i", "shop")
    assert here.json("export", "stick", "-i", "shop")[1]["written"] == 0
    own = _file_of(tmp_path / "stick", everything[1])
    _flip(own)
    (tmp_path / "stick" / "sites").joinpath(f"{'0' * 64}.json.tmp").write_text("half")
    assert here.json("export", "stick", "-i", "shop")[1]["written"] == len(everything[1])
    assert own.read_bytes() == everything[1]


def test_an_unfinished_export_is_no_export(here: Machine, there: Machine, tmp_path: Path) -> None:
    _site(here, "shop")
    here.run("export", "stick", "-i", "shop")
    for index in (tmp_path / "stick" / "sites").iterdir():
        index.unlink()
    code, _, err = there.run("import", "stick")
    assert code == 2
    assert "The export was not finished" in err


def test_what_is_not_in_the_store_is_named_before_anything_is_written(here: Machine, tmp_path: Path) -> None:
    everything = _site(here, "shop", b"own")
    here.store.discard(_digest(everything[1]))
    code, answer = here.json("export", "stick", "-i", "shop")
    assert code == 3
    assert [error["where"] for error in answer["errors"]] == ["https://files.example/shop/1"]
    assert not (tmp_path / "stick").exists()


def test_a_store_that_the_disk_damaged_is_not_exported(here: Machine, tmp_path: Path) -> None:
    everything = _site(here, "shop", b"own" * 100)
    _flip(here.store.path(_digest(everything[1])))
    for target in ("stick", "site.tar"):
        code, answer = here.json("export", target, "-i", "shop")
        assert code == 2
        assert "fetch --verify" in answer["errors"][0]["remedy"]
    assert not (tmp_path / "site.tar").exists()
    assert not _file_of(tmp_path / "stick", everything[1]).exists()
    assert not list(tmp_path.glob(".site*"))


def test_a_folder_with_other_things_in_it_is_left_alone(here: Machine, tmp_path: Path) -> None:
    _site(here, "shop")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    code, _, err = here.run("export", "photos", "-i", "shop")
    assert code == 2
    assert "this folder holds something else" in err
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_flipped_byte_is_found_and_does_not_land(here: Machine, there: Machine, tmp_path: Path, kind: str) -> None:
    everything = _site(here, "shop", b"own" * 1000)
    target = tmp_path / ("stick" if kind == "folder" else "site.tar")
    here.run("export", target, "-i", "shop")
    if kind == "folder":
        _flip(_file_of(target, everything[1]))
    else:
        raw = bytearray(target.read_bytes())
        raw[raw.index(everything[1]) + 7] ^= 1
        target.write_bytes(raw)
    for action in ("verify", "import"):
        code, answer = there.json(action, target)
        assert code == 2
        (error,) = answer["errors"]
        assert error["where"] == f"{target}: https://files.example/shop/1"
        assert error["expected"] == _digest(everything[1])
        assert error["found"].startswith("sha256:")
        assert error["found"] != error["expected"]
    assert there.digests() == {_digest(content) for content in everything} - {_digest(everything[1])}
    assert sorted(path.name for path in (there.store.root / "partial").iterdir()) == ["lock"]
    code, answer = there.json("import", target, "-i", "shop")
    assert code == 2
    assert there.run("verify", "-i", "shop")[0] == 3


def test_a_half_file_and_a_missing_file_are_told_together(here: Machine, there: Machine, tmp_path: Path) -> None:
    everything = _site(here, "shop", b"own" * 1000, b"more" * 1000)
    stick = tmp_path / "stick"
    here.run("export", stick, "-i", "shop")
    half = _file_of(stick, everything[1])
    half.write_bytes(everything[1][:-5])
    _file_of(stick, everything[2]).unlink()
    code, answer = there.json("import", stick)
    assert code == 2
    found = {error["where"].rpartition("/")[2]: error["what"] for error in answer["errors"]}
    assert found == {"1": "the file is damaged", "2": "the file is not in the export"}
    here.run("export", "again", "-i", "shop")
    code, answer = there.json("import", "again")
    assert (code, answer["files"], answer["kept"]) == (0, 2, len(everything) - 2)


def test_several_sites_share_an_export_and_several_exports_are_taken_together(
    here: Machine, there: Machine, tmp_path: Path
) -> None:
    shop, plant = _site(here, "shop", b"s" * 5000), _site(here, "plant", b"p" * 5000)
    for name in ("shop", "plant"):
        assert here.run("export", "both", "-i", name)[0] == 0
        assert here.run("export", f"only-{name}.tar", "-i", name)[0] == 0
    code, answer = there.json("import", "both")
    assert (code, answer["sites"]) == (0, ["plant", "shop"])
    assert there.digests() == {_digest(content) for content in (*shop, *plant)}
    # each of the exports has the shared file, one of them damaged: the other's is taken
    _flip(_file_of(tmp_path / "both", SHARED))
    third = Machine(tmp_path, "third")
    assert third.run("import", "both", "only-shop.tar", "only-plant.tar")[0] == 0
    assert third.digests() == there.digests()


def _archive(path: Path, *members: tarfile.TarInfo, whole: Path) -> None:
    """Write the members of a right archive, and others after them."""
    with tarfile.open(whole) as source, tarfile.open(path, "w") as target:
        for member in source:
            target.addfile(member, source.extractfile(member))
        for member in members:
            target.addfile(member, io.BytesIO(b"evil") if member.isfile() else None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("/tmp/evil", tarfile.REGTYPE),
        ("sha256/../../evil", tarfile.REGTYPE),
        ("sha256/ab/evil", tarfile.REGTYPE),
        (f"sha256/ab/{'ab' * 32}", tarfile.SYMTYPE),
        (f"sha256/ab/{'ab' * 32}", tarfile.LNKTYPE),
        (f"sha256/ab/{'ab' * 32}", tarfile.CHRTYPE),
        (f"sha256/ab/{'cd' * 32}", tarfile.REGTYPE),
    ],
)
def test_an_archive_with_anything_else_in_it_is_refused_as_a_whole(
    here: Machine, there: Machine, tmp_path: Path, name: str, kind: bytes
) -> None:
    _site(here, "shop")
    here.run("export", "good.tar", "-i", "shop")
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, 4 if kind == tarfile.REGTYPE else 0, "../../evil"
    _archive(tmp_path / "evil.tar", member, whole=tmp_path / "good.tar")
    code, _, err = there.run("import", "evil.tar")
    assert code == 2
    assert "that no export has" in err
    assert repr(name) in err
    assert there.digests() == set()
    assert not list(tmp_path.rglob("evil"))


def test_an_index_that_climbs_out_of_the_export_is_refused(here: Machine, there: Machine, tmp_path: Path) -> None:
    _site(here, "shop")
    here.run("export", "stick", "-i", "shop")
    (index,) = (tmp_path / "stick" / "sites").iterdir()
    data = json.loads(index.read_text())
    data["files"][0]["digest"] = "sha256:../../../../etc/passwd"
    index.write_text(json.dumps(data))
    code, _, err = there.run("import", "stick")
    assert code == 2
    assert "the index is damaged" in err
    index.write_text(index.read_text()[:-30])
    assert there.run("import", "stick")[0] == 2
    assert there.digests() == set()


def test_all_that_is_no_export_is_told_at_once(here: Machine, there: Machine, tmp_path: Path) -> None:
    _site(here, "shop")
    here.run("export", "stick", "-i", "shop")
    (tmp_path / "text.tar").write_text("no archive")
    (tmp_path / "empty").mkdir()
    code, answer = there.json("import", "nowhere", "text.tar", "empty", "stick")
    assert code == 2
    assert [error["where"] for error in answer["errors"]] == ["nowhere", "text.tar", "empty"]
    assert there.digests() == set()


def test_the_store_is_read_again_with_and_without_an_inventory(here: Machine) -> None:
    everything = _site(here, "shop", b"own" * 100)
    assert here.run("verify")[0] == 0
    _flip(here.store.path(_digest(everything[1])))
    for words, name in ((["-i", "shop"], "https://files.example/shop/1"), ([], f"file {_digest(everything[1])}")):
        code, answer = here.json("verify", *words)
        assert code == 2
        assert [error["where"] for error in answer["errors"]] == [name]
    here.store.discard(_digest(everything[1]))
    assert here.run("verify")[0] == 0
    assert here.run("verify", "-i", "shop")[0] == 3


def test_large_files_are_written_in_pieces_and_survive_a_fat_file_system(
    tmp_path: Path, here: Machine, there: Machine
) -> None:
    content = Random(1).randbytes(1_000_003)  # noqa: S311 - repeatable
    digest, size = here.store.adopt_stream(io.BytesIO(content))
    contents = SiteContents("shop", digest, (Entry(digest, size, "disk"),))
    reporter = Reporter(stream=io.StringIO(), output=io.StringIO())
    stick = tmp_path / "stick"
    assert write_folder(contents, here.store, stick, reporter, piece=300_000) == size
    pieces = sorted(
        path for path in stick.rglob("*") if digest.removeprefix("sha256:") in path.name and "sites" not in path.parts
    )
    assert [path.stat().st_size for path in pieces] == [300_000, 300_000, 300_000, 100_003]
    assert write_folder(contents, here.store, stick, reporter, piece=300_000) == 0
    fat = tmp_path / "fat.img"
    subprocess.run(["mkfs.vfat", "-C", fat, "8192"], check=True, capture_output=True)
    subprocess.run(["mcopy", "-s", "-i", fat, stick, "::"], check=True)
    subprocess.run(["mcopy", "-s", "-n", "-i", fat, "::stick", tmp_path / "back"], check=True)
    assert import_exports([tmp_path / "back"], there.store, reporter).size == size
    assert there.store.path(digest).read_bytes() == content
    _flip(pieces[1])
    with pytest.raises(EdgeError, match="the file is damaged"):
        import_exports([stick], Store(tmp_path / "third"), reporter)


def test_wrong_use_says_what_is_right(here: Machine) -> None:
    _site(here, "shop")
    for words, expected in (
        (["export", "stick"], "edgewright artifacts export PATH -i INVENTORY"),
        (["export", "-i", "shop"], "edgewright artifacts export PATH -i INVENTORY"),
        (["import"], "edgewright artifacts import PATH"),
    ):
        code, _, err = here.run(*words)
        assert code == 2
        assert expected in err
