"""Debian packages: apt itself resolves them, on a state of its own, and checks the archive's signatures.

apt runs with its own folders, an empty dpkg status, only our sources and no Recommends, as an ordinary user. What a
tree comes to is what ``mmdebstrap --variant=apt`` would install: the Essential packages (asked for by apt's pattern
``?essential``, as mmdebstrap asks), apt, and the packages asked for.
"""

from __future__ import annotations

import email.utils
import fcntl
import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.exits import NeedsNetworkError
from edgewright.pins import SNAPSHOT_PLACEHOLDER, Distribution, Package, Tree
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Which suites of each archive are taken; "{}" is the code name.
_SUITES = {"debian": ("{}", "{}-updates"), "debian-security": ("{}-security",)}
_ALWAYS = ("?essential", "apt")

# How this host reaches a mirror (proxy, certificates, a clock that is off) is the host's affair; its apt knows.
_HOSTS_AFFAIR = re.compile(r"Acquire::(https?|Check-Valid-Until|Check-Date|ForceIPv[46]|Max-FutureTime)\b")
_URI_LINE = re.compile(r"'([^']+)' (\S+) \d+")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Policy manual 5.6.1
_KEPT = "kept"


@dataclass(frozen=True)
class Resolved:
    """What the requests came to.

    Attributes:
        trees: by name, with all dependencies.
        packages: by name.
        snapshot: a time stamp for snapshot.debian.org.
        gone: names of packages that were held on to and that the mirrors no longer have.
    """

    trees: dict[str, Tree]
    packages: dict[str, Package]
    snapshot: str
    gone: tuple[str, ...]


class Apt:
    """apt on a state of its own below ``root``; use it in a ``with`` block (one process at a time).

    Args:
        root: folder for apt's state, kept between runs so that unchanged indices are not downloaded again.
        distribution: suite, architecture and mirrors.
        keyring: keys that may sign the archives.
        log: file that apt's messages are appended to.
    """

    def __init__(
        self, root: Path, distribution: Distribution, keyring: Path = KEYRING, log: Path | None = None
    ) -> None:
        self._root = root
        self._distribution = distribution
        self._keyring = keyring
        self._log = log
        self._mirrors: dict[str, str] = {}
        self._kept: dict[str, Package] = {}

    def __enter__(self) -> Self:
        for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        self._lock = (self._root / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self._keyring.is_file():
            remedy = "Install the package debian-archive-keyring."
            raise EdgeError(
                Problem(str(self._keyring), "the keys that sign Debian's archives are missing", "", "", remedy)
            )
        self._write_settings()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _write_settings(self) -> None:
        root = self._root
        (root / "status").write_text("")
        settings = [
            f'Dir "{root}/";',
            f'Dir::Etc "{root}/etc";',
            f'Dir::Etc::SourceList "{root}/sources.list";',
            f'Dir::Etc::Preferences "{root}/preferences";',
            *(f'Dir::Etc::{part} "/dev/null";' for part in ("Main", "Parts", "SourceParts", "PreferencesParts")),
            f'Dir::State "{root}/state";',
            f'Dir::State::Status "{root}/status";',
            f'Dir::Cache "{root}/cache";',
            f'APT::Architecture "{self._distribution.architecture}";',
            f'APT::Architectures {{ "{self._distribution.architecture}"; }};',
            'APT::Install-Recommends "false";',
            'APT::Install-Suggests "false";',
            # The _apt user may not read below a user's home. Signatures are checked as ever.
            'APT::Sandbox::User "root";',
            'APT::Update::Error-Mode "any";',  # else a failed download is a warning and exit code 0
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'Acquire::http::Timeout "30";',
            'Acquire::https::Timeout "30";',
        ]
        host = run(["apt-config", "dump"], hint="Install apt, or lock on a Debian or Ubuntu machine.").decode()
        settings += [line for line in host.splitlines() if _HOSTS_AFFAIR.match(line)]
        (root / "apt.conf").write_text("\n".join(settings) + "\n")

    @property
    def _environment(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self._root / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def _run(self, *words: str) -> str:
        return run(words, env=self._environment, log=self._log).decode()

    def prefer(self, packages: Iterable[Package], repository: Path | None = None) -> None:
        """Hold on to versions locked before; ``repository`` is a local one with those that were fetched already."""
        stanzas = []
        for package in packages:
            stanzas.append(f"Package: {package.name}\nPin: version {package.version}\nPin-Priority: 1001\n")
            self._kept[package.filename] = package
        (self._root / "preferences").write_text("\n".join(stanzas))
        link = self._root / _KEPT
        link.unlink(missing_ok=True)
        if repository is not None:
            link.symlink_to(repository.resolve())

    def update(self) -> None:
        """Get the archives' indices from the first mirrors that answer.

        Raises:
            NeedsNetworkError: no mirror gives indices with a good signature.
        """
        mirrors = {
            archive: [url.rstrip("/") for url in urls if SNAPSHOT_PLACEHOLDER not in url]
            for archive, urls in self._distribution.mirrors.items()
        }
        failure: ToolError | None = None
        for attempt in range(max(len(urls) for urls in mirrors.values())):
            self._mirrors = {archive: urls[min(attempt, len(urls) - 1)] for archive, urls in mirrors.items() if urls}
            (self._root / "sources.list").write_text("\n".join(self._sources()) + "\n")
            try:
                self._run("apt-get", "-q", "update")
            except ToolError as error:
                if error.returncode == 127:
                    raise
                failure = error
            else:
                return
        said = [line[3:] for line in failure.output.splitlines() if line.startswith(("E: ", "W: "))] if failure else []
        raise NeedsNetworkError(
            Problem(
                ", ".join(sorted(set(self._mirrors.values()))),
                "the package indices could not be had",
                "; ".join(said) or "no answer",
                remedy="Check the network and the proxy (http_proxy); mirrors are listed in site.lock.yml.",
            )
        )

    def _sources(self) -> Iterable[str]:
        distribution = self._distribution
        options = f"[arch={distribution.architecture} signed-by={self._keyring}]"
        for archive, base in self._mirrors.items():
            for suite in _SUITES[archive]:
                yield f"deb {options} {base} {suite.format(distribution.suite)} main"
        if (self._root / _KEPT).exists():
            # Trusted, because each file in it was checked against the digest in the lock.
            yield f"deb [trusted=yes] file:{self._root / _KEPT} ./"

    def snapshot(self) -> str:
        """Return a time stamp for snapshot.debian.org at which it has everything in the indices.

        It takes a state at or before the stamp, and mirrors follow the archive by some hours: hence a day more than the
        newest index's date. The local clock has no say, so that two machines write the same lock.
        """
        releases = sorted((self._root / "state" / "lists").glob("*InRelease"))
        found = (re.search(r"^Date: (.+)$", each.read_text(errors="replace"), re.MULTILINE) for each in releases)
        dates = [email.utils.parsedate_to_datetime(match[1]) for match in found if match]
        newest = max(dates, default=datetime.now(UTC)).astimezone(UTC) + timedelta(days=1)
        return newest.strftime("%Y%m%dT%H%M%SZ")

    def resolve(self, requests: Mapping[str, Iterable[str]]) -> Resolved:
        """Resolve each tree (name to package names asked for) to packages with digest, size and path.

        Raises:
            EdgeError: packages that do not exist or cannot be installed together, for all trees at once.
        """
        problems = Problems()
        uris: dict[str, dict[str, str]] = {}
        for tree, requested in requests.items():
            try:
                uris[tree] = self._resolve_tree(tree, sorted(set(requested)))
            except EdgeError as error:
                problems.extend(error)
        problems.raise_if_any()
        packages = self._packages({key: uri for found in uris.values() for key, uri in found.items()})
        trees = {
            tree: Tree(tuple(sorted(set(requests[tree]))), tuple(sorted(packages[key].name for key in found)))
            for tree, found in uris.items()
        }
        gone = {packages[key].name for found in uris.values() for key, uri in found.items() if uri.startswith("file:")}
        by_name = {package.name: package for package in packages.values()}
        return Resolved(trees, by_name, self.snapshot(), tuple(sorted(gone)))

    def _resolve_tree(self, tree: str, requested: list[str]) -> dict[str, str]:
        """Return ``name=version`` to URI of all packages of a tree."""
        if odd := [name for name in requested if not _NAME.fullmatch(name)]:
            raise EdgeError(Problem(f"tree {tree}", "this is no package name", repr(name)) for name in odd)
        try:
            said = self._run("apt-get", "-qq", "--print-uris", "install", "--", *_ALWAYS, *requested)
        except ToolError as error:
            raise EdgeError(self._explain(tree, error)) from error
        found: dict[str, str] = {}
        for uri, filename in _URI_LINE.findall(said):
            name, version, _ = unquote(filename.rpartition("/")[2]).split("_")
            found[f"{name}={version}"] = uri
        return found

    def _explain(self, tree: str, error: ToolError) -> list[Problem]:
        where = f"packages of '{tree}'"
        suite = self._distribution.suite
        problems = [
            Problem(where, f"Debian {suite} has no such package", match[1], remedy="Correct the list of packages.")
            for match in re.finditer(r"E: (?:Unable to locate package|Package ')(?: )?([a-z0-9+.-]+)", error.output)
        ]
        if not problems:
            upgrade = " Held versions may be in the way: try 'edgewright lock --upgrade'." if self._kept else ""
            found = self._unmet(error.argv) or " ".join(error.output.split())
            problems = [Problem(where, "cannot be installed together", found, remedy=f"Change the list.{upgrade}")]
        return problems

    def _unmet(self, argv: list[str]) -> str:
        """Ask apt once more, for the reasons that it only gives on its standard output."""
        environment = {**os.environ, **self._environment}
        loud = [word for word in argv if word != "-qq"]
        said = subprocess.run(loud, env=environment, capture_output=True, text=True, check=False).stdout
        _, _, reasons = said.partition("unmet dependencies:\n")
        return "; ".join(" ".join(line.split()) for line in reasons.splitlines())

    def _packages(self, uris: Mapping[str, str]) -> dict[str, Package]:
        packages: dict[str, Package] = {}
        wanted: dict[str, str] = {}
        for key, uri in uris.items():
            kept = self._kept.get(unquote(uri).rpartition("/")[2]) if uri.startswith("file:") else None
            if kept is not None:
                packages[key] = kept
            else:
                wanted[key] = self._path(uri)
        for stanza in self._run("apt-cache", "show", "--", *wanted).split("\n\n") if wanted else ():
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
            key = f"{fields.get('Package')}={fields.get('Version')}"
            if key in wanted and wanted[key].partition("/")[2] == fields["Filename"]:
                packages[key] = Package(
                    name=fields["Package"],
                    version=fields["Version"],
                    architecture=fields["Architecture"],
                    digest=f"sha256:{fields['SHA256']}",
                    size=int(fields["Size"]),
                    path=wanted[key],
                )
        if missing := sorted(set(uris) - set(packages)):
            raise EdgeError(
                Problem(name, "the indices do not describe this package as apt resolved it") for name in missing
            )
        return packages

    def _path(self, uri: str) -> str:
        for archive, base in self._mirrors.items():
            if uri.startswith(f"{base}/"):
                return f"{archive}/{unquote(uri.removeprefix(f'{base}/'))}"
        raise EdgeError(Problem(uri, "apt took a package from a place that is not among the mirrors"))
