from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.lockfile import Artifact, Container, Distribution, Image, Lock, Package, Tree, Wheel
from edgewright.pins import Blob
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "0123456789abcdef" * 4

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
digests = st.binary(min_size=32, max_size=32).map(lambda content: f"sha256:{content.hex()}")
sizes = st.integers(0, 2**50)
names = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,8}", fullmatch=True)
segments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=8).filter(
    lambda part: part != ".."
)
urls = st.lists(segments.map(lambda part: f"https://example.invalid/{part}"), max_size=2).map(tuple)

blobs = st.lists(st.builds(Blob, digests, sizes), max_size=3).map(tuple)


def _member_or_not(source: str, digest: str, size: int, where: tuple[str, ...], member: str) -> Artifact:
    if member:
        return Artifact(source, digest, size, where, member, digest, size)
    return Artifact(source, digest, size, where)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    packages = {
        name: Package(name, draw(texts), draw(names), draw(digests), draw(sizes), f"debian/{draw(segments)}")
        for name in draw(st.sets(names, max_size=4))
    }
    tree = Tree(tuple(sorted(draw(st.sets(names, max_size=3)))), tuple(sorted(packages)))
    wheels = tuple(
        Wheel(name, draw(texts), draw(segments), draw(digests), draw(sizes), draw(urls))
        for name in sorted(draw(st.sets(names, max_size=3)))
    )
    artifacts = {
        source: _member_or_not(source, draw(digests), draw(sizes), draw(urls), draw(st.one_of(st.just(""), segments)))
        for source in draw(st.sets(texts, max_size=3))
    }
    images = {
        name: Image(name, draw(texts), draw(st.none() | digests), draw(digests), draw(sizes), draw(blobs))
        for name in draw(st.sets(texts, max_size=3))
    }
    return Lock(
        distribution=Distribution(snapshots=tuple(draw(st.lists(st.just("20261123T005303Z"), max_size=1)))),
        packages=packages,
        trees={draw(texts): tree} if packages else {},
        containers={draw(texts): Container(tuple(sorted(draw(st.sets(texts, max_size=2)))), wheels)},
        artifacts=artifacts,
        images=images,
    )


@given(locks())
@settings(max_examples=150, deadline=None)
def test_a_lock_reads_back_as_it_was_written(lock: Lock) -> None:
    text = lock.to_text()
    assert Lock.from_text(text) == lock
    assert Lock.from_text(text).to_text() == text
    plain = yaml.safe_load(text)  # another reader sees the same
    assert {name: (each["version"], each["digest"], each["size"]) for name, each in plain["packages"].items()} == {
        name: (each.version, each.digest, each.size) for name, each in lock.packages.items()
    }
    assert {source: each.get("member", "") for source, each in plain["artifacts"].items()} == {
        source: each.member for source, each in lock.artifacts.items()
    }
    assert {name: (each["index"], each["manifest"]) for name, each in plain.get("images", {}).items()} == {
        name: (each.index, each.manifest) for name, each in lock.images.items()
    }


def test_the_order_things_were_found_in_does_not_show() -> None:
    one, two = (Package(name, "1", "all", DIGEST, 1, f"debian/{name}") for name in ("aa", "bb"))
    tree = {"node": Tree(("aa",), ("aa", "bb"))}
    assert (
        Lock(packages={"aa": one, "bb": two}, trees=tree).to_text()
        == Lock(packages={"bb": two, "aa": one}, trees={"node": Tree(("aa",), ("bb", "aa"))}).to_text()
    )


def test_a_package_is_one_line_so_that_an_upgrade_is_a_one_line_diff() -> None:
    def text(version: str) -> list[str]:
        package = Package("bash", version, "amd64", DIGEST, 1, "debian/pool/bash.deb")
        return Lock(packages={"bash": package}, trees={"node": Tree(("bash",), ("bash",))}).to_text().splitlines()

    differing = [pair for pair in zip(text("1.0"), text("1.1"), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1


GOOD = f"""\
version: 1
distribution:
  suite: trixie
  architecture: amd64
  snapshots: ["20261123T005303Z"]
  mirrors:
    debian:
      - "http://deb.debian.org/debian"
packages:
  bash: {{version: "5.2", architecture: amd64, size: 10, digest: "{DIGEST}", path: debian/pool/bash.deb}}
trees:
  node:
    requested: [bash]
    packages: [bash]
containers:
  server:
    requested: ["numpy>=2"]
    wheels:
      numpy: {{version: "2.4", size: 5, digest: "{DIGEST}", filename: n.whl, urls: ["https://example.invalid/n.whl"]}}
artifacts:
  file:disk.img:
    digest: {DIGEST}
    size: 7
"""

BAD = [
    (
        "version: 1",
        "version: 2",
        "1: version: the lock has another format than this program's; found 2; expected 1.",
    ),
    (
        "version: 1\n",
        "",
        "1: the lock has another format than this program's; found none; expected 1.",
    ),
    (
        "version: 1\n",
        "version: 1\nversion: 1\n",
        "2: this key is there twice; found version.",
    ),
    (
        "suite: trixie",
        "suite: [",
        "5: this is not YAML:",
    ),
    (
        "  suite: trixie\n",
        "",
        "2: distribution: key 'suite' is missing.",
    ),
    (
        "artifacts:",
        "artefacts: {}\nartifacts:",
        "20: artefacts: unknown key; found artefacts.",
    ),
    (
        'version: "5.2"',
        "version: 5.2",
        "10: packages.bash.version: bad value; found 5.2; expected text in quotes.",
    ),
    (
        "size: 10",
        "size: -1",
        "10: packages.bash.size: bad value; found -1; expected a number of bytes.",
    ),
    (
        f'10, digest: "{DIGEST}"',
        "10, digest: md5:12",
        "10: packages.bash.digest: bad value; found md5:12; expected 'sha256:' and 64",
    ),
    (
        "debian/pool/bash.deb",
        "../../etc/passwd",
        "10: packages.bash.path: bad value; found ../../etc/passwd;",
    ),
    (
        "debian/pool/bash.deb",
        "ubuntu/bash.deb",
        "10: packages.bash.path: unknown archive; found ubuntu/bash.deb; expected a path that",
    ),
    (
        "  bash: {",
        "  BASH: {",
        "10: packages.BASH: this is no Debian package name; found BASH.",
    ),
    (
        "packages: [bash]",
        "packages: [bash, dash]",
        "14: trees.node.packages[1]: this package is not pinned; found dash.",
    ),
    (
        "packages: [bash]",
        "packages: []",
        "10: packages.bash: no tree has this package; found bash.",
    ),
    (
        "requested: [bash]",
        "requested: bash",
        "13: trees.node.requested: bad value; found bash; expected a list of texts.",
    ),
    (
        "filename: n.whl",
        "filename: ../n.whl",
        "19: containers.server.wheels.numpy.filename: bad value;",
    ),
    (
        'urls: ["https://',
        'urls: ["ftp://',
        "19: containers.server.wheels.numpy.urls: bad value;",
    ),
    (
        "    size: 7",
        "    size: 7\n    member: a",
        "21: artifacts.file:disk.img: key 'archive_digest' is missing; expected all of",
    ),
    (
        "    size: 7",
        "    size: 7\n    colour: red",
        "24: artifacts.file:disk.img.colour: unknown key; found colour;",
    ),
    (
        "packages:\n  bash",
        "packages: &x\n  bash",
        None,
    ),
    (
        "    packages: [bash]",
        "    packages: &a [bash]\n  other: {requested: *a, packages: [bash]}",
        "15: trees.other.requested: YAML aliases",
    ),
    (
        "trees:\n  node:",
        "trees:\n  7:",
        "12: keys must be text; found 7. Put it in quotes.",
    ),
    (
        "20261123T005303Z",
        "yesterday",
        "5: distribution.snapshots: bad value;",
    ),
    (
        '      - "http://deb.debian.org/debian"',
        "      []",
        "7: distribution.mirrors.debian: bad value; found []; expected at least one URL.",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), BAD)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, expected: str | None) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if expected is None:
        Lock.from_text(text)
        return
    with pytest.raises(EdgeError) as caught:
        Lock.from_text(text, "site.lock.yml")
    assert any(line.startswith(f"site.lock.yml:{expected}") for line in str(caught.value).splitlines()), caught.value


def test_all_errors_come_at_once() -> None:
    text = (
        GOOD.replace("size: 10", "size: many").replace("filename: n.whl", "file: n.whl").replace("size: 7", "sise: 7")
    )
    with pytest.raises(EdgeError) as caught:
        Lock.from_text(text)
    assert {problem.where.partition(":")[2].partition(":")[0] for problem in caught.value.problems} >= {
        "10",
        "19",
        "23",
    }


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_makes_the_reader_fail_otherwise_than_with_its_errors(text: str) -> None:
    for content in (text, GOOD.replace("trixie", text), GOOD + text):
        try:
            Lock.from_text(content)
        except EdgeError:
            continue


def test_the_answers_of_a_lock() -> None:
    lock = Lock.from_text(GOOD)
    assert [package.name for package in lock.tree("node")] == ["bash"]
    assert [wheel.filename for wheel in lock.wheels("server")] == ["n.whl"]
    assert lock.artifact("file:disk.img").size == 7
    with pytest.raises(EdgeError, match="Run 'edgewright lock'"):
        lock.tree("tools")
    with pytest.raises(EdgeError, match="artifact 'file:other' is not pinned"):
        lock.artifact("file:other")


def test_urls_are_in_mirror_order_with_every_snapshot_and_escaped() -> None:
    distribution = Distribution(
        snapshots=("20261123T000000Z", "20260101T000000Z"),
        mirrors={"debian": ("http://one.invalid/debian/", "https://two.invalid/{snapshot}")},
    )
    assert distribution.urls("debian/pool/g/g++_1~2_all.deb") == [
        "http://one.invalid/debian/pool/g/g%2B%2B_1~2_all.deb",
        "https://two.invalid/20261123T000000Z/pool/g/g%2B%2B_1~2_all.deb",
        "https://two.invalid/20260101T000000Z/pool/g/g%2B%2B_1~2_all.deb",
    ]


def test_an_equal_file_is_left_alone_and_no_temporary_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "site.lock.yml"
    lock = Lock.from_text(GOOD)
    assert lock.dump(path) is True
    before = path.stat()
    assert lock.dump(path) is False
    assert path.stat() == before
    assert Lock.load(path) == lock
    assert [each.name for each in tmp_path.iterdir()] == ["site.lock.yml"]


def test_a_site_without_a_lock_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"not locked yet.*edgewright lock -i "):
        Lock.load(tmp_path / "site.lock.yml")
