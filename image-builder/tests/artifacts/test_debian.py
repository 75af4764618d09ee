"""apt resolves from archives made here: real packages, real signatures, a real web server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.exits import NeedsNetworkError
from edgewright.lockfile import Lock
from edgewright.pins import Distribution, Package
from edgewright.resolve import Resolver
from edgewright.resolve_request import Request
from edgewright.sources.debian import Apt

if TYPE_CHECKING:
    from edgewright.reporter import Reporter
    from edgewright.store import Store

Deb = tuple[Path, Package]
MakeDeb = Callable[..., Deb]


@pytest.fixture
def base(make_deb: MakeDeb) -> list[Deb]:
    return [make_deb("base-files", Essential="yes"), make_deb("apt", Depends="libapt"), make_deb("libapt", "2:3.0")]


@pytest.fixture
def old(archive: Any) -> Lock:
    mirrors: dict[str, tuple[str, ...]] = {
        name: (f"{archive.web.url}/{name}",) for name in ("debian", "debian-security")
    }
    return Lock(Distribution(mirrors=mirrors))


@pytest.fixture
def relock(archive: Any, store: Store, tmp_path: Path, reporter: Reporter) -> Callable[..., Lock]:
    def run(old: Lock, upgrade: bool = False, **trees: list[str]) -> Lock:
        resolver = Resolver(store, tmp_path / "apt", reporter, upgrade=upgrade, keyring=archive.keyring)
        return resolver.relock(old, Request(trees))

    return run


def test_a_tree_is_essential_packages_apt_what_is_asked_for_and_what_that_needs(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    unwanted = [make_deb("liked"), make_deb("hinted"), make_deb("stranger")]
    tool, library = (
        make_deb("tool", Depends="library (>= 2)", Recommends="liked", Suggests="hinted"),
        make_deb("library", "1:2-1"),
    )
    archive.publish(*base, *unwanted, tool, library)
    lock = relock(old, node=["tool"], tools=["stranger"])
    assert [each.name for each in lock.tree("node")] == ["apt", "base-files", "libapt", "library", "tool"]
    assert [each.name for each in lock.tree("tools")] == ["apt", "base-files", "libapt", "stranger"]
    assert lock.trees["node"].requested == ("tool",)
    pinned = lock.packages["library"]
    assert (pinned.version, pinned.digest, pinned.size) == ("1:2-1", library[1].digest, library[1].size)
    assert archive.web.files[lock.package_urls(pinned)[0].removeprefix(archive.web.url)] == library[0].read_bytes()


def test_security_updates_win(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    fixed = make_deb("tool", "1.0+deb13u1")
    archive.publish(*base, make_deb("tool"), security=(fixed,))
    pinned = relock(old, node=["tool"]).packages["tool"]
    assert pinned.version == "1.0+deb13u1"
    assert pinned.path.startswith("debian-security/pool/")


def test_locking_twice_gives_the_same_bytes_and_asks_nothing_the_second_time(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    archive.publish(*base, make_deb("tool"))
    first = relock(old, node=["tool"])
    assert first.distribution.snapshots == ("20260913T075541Z",)  # a day after the indices' date, not the clock's
    archive.web.requests.clear()
    assert relock(first, node=["tool"]).to_text() == first.to_text()
    assert archive.web.requests == []
    assert relock(first, upgrade=True, node=["tool"]).to_text() == first.to_text()
    assert archive.web.requests != []


def test_pins_are_kept_while_something_is_added_and_move_only_with_upgrade(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    archive.publish(*base, make_deb("tool"), make_deb("other"))
    first = relock(old, node=["tool"])
    archive.publish(*base, make_deb("tool"), make_deb("tool", "2.0"), make_deb("other"))
    more = relock(first, node=["tool", "other"])
    assert {name: each.version for name, each in more.packages.items() if name in {"tool", "other"}} == {
        "tool": "1.0",
        "other": "1.0",
    }
    assert relock(more, upgrade=True, node=["tool", "other"]).packages["tool"].version == "2.0"


def test_a_version_that_left_the_mirror_is_kept_if_it_was_fetched(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock], store: Store
) -> None:
    tool = make_deb("tool")
    archive.publish(*base, tool, make_deb("other"))
    first = relock(old, node=["tool"])
    archive.publish(*base, make_deb("tool", "2.0"), make_deb("other"))
    assert relock(first, node=["tool", "other"]).packages["tool"].version == "2.0"  # not in the store: nothing to keep
    store.add_file(tool[0], tool[1].digest)
    kept = relock(first, node=["tool", "other"])
    assert kept.packages["tool"] == first.packages["tool"]
    assert kept.packages["other"].version == "1.0"


def test_what_nobody_asks_for_any_more_is_dropped_without_a_look_at_the_network(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    archive.publish(*base, make_deb("tool"), make_deb("other"))
    first = relock(old, node=["tool"], tools=["other"])
    archive.web.requests.clear()
    less = relock(first, node=["tool"])
    assert sorted(less.packages) == ["apt", "base-files", "libapt", "tool"]
    assert archive.web.requests == []
    assert Lock.from_text(less.to_text()) == less


def test_every_tree_s_mistakes_are_told_at_once(
    archive: Any, base: list[Deb], make_deb: MakeDeb, old: Lock, relock: Callable[..., Lock]
) -> None:
    one, two = make_deb("one", Conflicts="two"), make_deb("two", Depends="absent")
    archive.publish(*base, one, two)
    with pytest.raises(EdgeError) as caught:
        relock(old, node=["nonsuch", "missing"], tools=["one", "two"], other=["-o=Evil"])
    lines = str(caught.value).splitlines()
    assert not isinstance(caught.value, NeedsNetworkError)
    assert (
        "packages of 'node': Debian trixie has no such package; found missing. Correct the list of packages." in lines
    )
    assert (
        "packages of 'node': Debian trixie has no such package; found nonsuch. Correct the list of packages." in lines
    )
    assert "tree other: this is no package name; found '-o=Evil'." in lines
    (together,) = [line for line in lines if line.startswith("packages of 'tools': cannot be installed together")]
    assert "two : Depends: absent but it is not installable" in together


def test_an_archive_signed_by_somebody_else_is_refused(
    archive: Any,
    make_key: Callable[[str], tuple[Path, Path]],
    base: list[Deb],
    old: Lock,
    store: Store,
    tmp_path: Path,
    reporter: Reporter,
) -> None:
    archive.publish(*base)
    _, stranger = make_key("stranger")
    with pytest.raises(NeedsNetworkError, match=r"is not signed|NO_PUBKEY"):
        Resolver(store, tmp_path / "apt", reporter, keyring=stranger).relock(old, Request({"node": []}))


def test_an_index_that_was_tampered_with_is_refused(
    archive: Any, base: list[Deb], old: Lock, relock: Callable[..., Lock]
) -> None:
    archive.publish(*base)
    path = "/debian/dists/trixie/InRelease"
    archive.web.files[path] = archive.web.files[path].replace(b"Origin: Tests", b"Origin: Evil!")
    with pytest.raises(NeedsNetworkError, match=r"BADSIG|not signed|[Ii]nvalid"):
        relock(old, node=[])


def test_the_next_mirror_is_asked_when_the_first_is_down(
    archive: Any,
    make_web: Callable[[], Any],
    base: list[Deb],
    make_deb: MakeDeb,
    old: Lock,
    relock: Callable[..., Lock],
) -> None:
    archive.publish(*base, make_deb("tool"))
    empty = make_web()
    mirrors = {name: (f"{empty.url}/{name}", *urls) for name, urls in old.distribution.mirrors.items()}
    lock = relock(Lock(Distribution(mirrors=mirrors)), node=["tool"])
    assert lock.package_urls(lock.packages["tool"])[1].startswith(archive.web.url)
    assert empty.requests != []


def test_no_mirror_at_all_needs_the_network(relock: Callable[..., Lock]) -> None:
    nowhere: tuple[str, ...] = ("http://127.0.0.1:9/debian",)
    mirrors = dict.fromkeys(("debian", "debian-security"), nowhere)
    with pytest.raises(NeedsNetworkError, match="the package indices could not be had"):
        relock(Lock(Distribution(mirrors=mirrors)), node=[])


def test_a_missing_keyring_names_the_package_to_install(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgeError, match="Install the package debian-archive-keyring"),
        Apt(tmp_path, Distribution(), tmp_path / "absent.gpg"),
    ):
        pass
