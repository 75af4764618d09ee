"""A local apt repository of exactly the locked packages of one tree, for installing with no network.

It is flat (``deb [trusted=yes] copy:/where ./``): links to the store's files under the mirror's names, and a
``Packages`` index with the stanza of each .deb: its own control file, plus what the lock says of it (sources.list(5),
Debian repository format). ``trusted`` is right here because each file's bytes were checked against the lock.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import NeedsNetworkError
from edgewright.tools.process import run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.pins import Package
    from edgewright.store import Store


def local_repository(lock: Lock, tree: str, store: Store, destination: Path) -> Path:
    """Make a repository of a tree's packages in the new folder ``destination``; return it.

    The index's bytes depend on nothing but the packages. Packages are hard links where the store is on the same file
    system, else symbolic links.

    Raises:
        EdgeError: the tree is not in the lock.
        NeedsNetworkError: packages that are not in the store, all of them.
    """
    return repository_of(lock.tree(tree), store, destination, suite=lock.distribution.suite)


def repository_of(packages: Iterable[Package], store: Store, destination: Path, *, suite: str = "trixie") -> Path:
    """Make a repository of these packages, as ``local_repository`` does.

    Its ``Release`` names the suite: mmdebstrap looks for Essential packages in the archive of that code name only.
    """
    wanted = sorted(packages, key=lambda package: package.name)
    missing = [package for package in wanted if not store.has(package.digest)]
    if missing:
        raise NeedsNetworkError(
            Problem(f"package {package.name} {package.version}", "not in the store", remedy="Run 'edgewright fetch'.")
            for package in missing
        )
    destination.mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        controls = list(pool.map(lambda package: control(package, store), wanted))
    stanzas = []
    for package, text in zip(wanted, controls, strict=True):
        _link(store.path(package.digest), destination / package.filename)
        digest = package.digest.removeprefix("sha256:")
        stanzas.append(f"{text}Filename: ./{package.filename}\nSize: {package.size}\nSHA256: {digest}\n")
    index = "\n".join(stanzas).encode()
    (destination / "Packages").write_bytes(index)
    (destination / "Release").write_text(
        f"Suite: {suite}\nCodename: {suite}\nSHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n",
        encoding="utf-8",
    )
    return destination


def control(package: Package, store: Store) -> str:
    """Return the control file of a package in the store (kept there, so that it is read out once).

    Raises:
        EdgeError: the .deb is not the package that the lock calls it.
    """
    kept = store.control_path(package.digest)
    if kept.is_file():
        text = kept.read_text(encoding="utf-8")
    else:
        text = _read_control(store.path(package.digest))
        store.add_control(package.digest, text)
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
    found = (fields.get("Package"), fields.get("Version"), fields.get("Architecture"))
    expected = (package.name, package.version, package.architecture)
    if found != expected:
        raise EdgeError(
            Problem(
                f"package {package.name}",
                "the file with the pinned digest is another package",
                " ".join(str(part) for part in found),
                " ".join(expected),
                "Run 'edgewright lock --upgrade'.",
            )
        )
    return text


def _read_control(path: Path) -> str:
    """Return the control file of a .deb (deb(5)); dpkg-deb knows every compression that Debian uses."""
    archive = run(["dpkg-deb", "--ctrl-tarfile", path], hint="Install dpkg (it is part of every Debian and Ubuntu).")
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        member = members.extractfile("./control")
        if member is None:
            raise EdgeError(Problem(str(path), "the package has no control file"))
        return member.read().decode().rstrip("\n") + "\n"


def _link(source: Path, name: Path) -> None:
    try:
        os.link(source, name)
    except OSError:  # another file system, or too many links
        name.symlink_to(source.resolve())
