"""Local repositories are read by apt, which did not make them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.exits import NeedsNetworkError
from edgewright.lockfile import Lock, Package, Tree
from edgewright.repository import local_repository
from edgewright.store import Store

MakeDeb = Callable[..., tuple[Path, Package]]


@pytest.fixture
def lock(make_deb: MakeDeb, store: Store) -> Lock:
    debs = [
        make_deb("tool", "1:2.0-1+b2", Depends="library (>= 1)"),
        make_deb("library", compress="gzip"),
        make_deb("data", compress="zstd"),
        make_deb("plain", compress="none"),
    ]
    for deb, package in debs:
        store.add_file(deb, package.digest)
    packages = {package.name: package for _, package in debs}
    return Lock(
        packages=packages, trees={"node": Tree(("tool",), tuple(sorted(packages))), "small": Tree((), ("data",))}
    )


def _apt(folder: Path, repository: Path, *words: str) -> str:
    for part in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [trusted=yes] copy:{repository} ./\n")
    (folder / "apt.conf").write_text(
        f'Dir "{folder}"; Dir::Cache "{folder}/cache";\n'
        f'Dir::State "{folder}/state"; Dir::State::status "{folder}/status";\n'
        f'Dir::Etc "{folder}/etc"; Dir::Etc::SourceList "{folder}/sources.list"; Dir::Etc::Parts "/dev/null";\n'
        'APT::Architecture "amd64"; APT::Architectures { "amd64"; }; APT::Sandbox::User "root";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "http_proxy": "http://127.0.0.1:9"}
    run = [subprocess.run(argv, env=environment, check=True, capture_output=True, text=True, cwd=folder) for argv in (
        ["apt-get", "update"], [*words]
    )]  # fmt: skip
    return run[-1].stdout


def test_apt_sees_exactly_the_locked_packages_and_can_have_them(lock: Lock, store: Store, tmp_path: Path) -> None:
    repository = local_repository(lock, "node", store, tmp_path / "repository")
    (tmp_path / "apt").mkdir()
    shown = _apt(tmp_path / "apt", repository, "apt-cache", "dumpavail")
    assert sorted(line for line in shown.splitlines() if line.startswith(("Package: ", "Version: "))) == sorted(
        line for each in lock.packages.values() for line in (f"Package: {each.name}", f"Version: {each.version}")
    )
    _apt(tmp_path / "apt", repository, "apt-get", "download", "tool", "library", "data", "plain")
    got = {path.name.partition("_")[0]: path.read_bytes() for path in (tmp_path / "apt").glob("*.deb")}
    assert got == {name: store.path(each.digest).read_bytes() for name, each in lock.packages.items()}


def test_apt_installs_from_it_with_dependencies(lock: Lock, store: Store, tmp_path: Path) -> None:
    repository = local_repository(lock, "node", store, tmp_path / "repository")
    (tmp_path / "apt").mkdir()
    said = _apt(tmp_path / "apt", repository, "apt-get", "--simulate", "install", "tool")
    assert "Inst library (1.0 " in said
    assert "Inst tool (1:2.0-1+b2 " in said


def test_the_index_depends_on_nothing_but_the_packages(lock: Lock, store: Store, tmp_path: Path) -> None:
    first = local_repository(lock, "node", store, tmp_path / "first")
    again = local_repository(lock, "node", store, tmp_path / "again")
    assert (first / "Packages").read_bytes() == (again / "Packages").read_bytes()
    assert sorted(path.name for path in first.iterdir()) == sorted(
        ["Packages", "Release", *(each.filename for each in lock.packages.values())]
    )
    assert sorted(path.name for path in local_repository(lock, "small", store, tmp_path / "small").iterdir()) == [
        "Packages", "Release", "data_1.0_all.deb"
    ]  # fmt: skip


def test_all_packages_missing_in_the_store_are_named(lock: Lock, tmp_path: Path) -> None:
    with pytest.raises(NeedsNetworkError) as caught:
        local_repository(lock, "node", Store(tmp_path / "empty"), tmp_path / "repository")
    assert len(caught.value.problems) == 4
    assert str(caught.value.problems[0]) == "package data 1.0: not in the store. Run 'edgewright fetch'."
    assert not (tmp_path / "repository").exists()


def test_a_file_that_is_another_package_than_the_lock_says_is_refused(
    lock: Lock, store: Store, tmp_path: Path, make_deb: MakeDeb
) -> None:
    deb, other = make_deb("other")
    store.add_file(deb, other.digest)
    tool = lock.packages["tool"]
    forged = Package(tool.name, tool.version, tool.architecture, other.digest, other.size, tool.path)
    wrong = Lock(packages={"tool": forged}, trees={"node": Tree((), ("tool",))})
    with pytest.raises(EdgeError, match=r"another package; found other 1.0 all; expected tool 1:2.0-1\+b2 all"):
        local_repository(wrong, "node", store, tmp_path / "repository")
