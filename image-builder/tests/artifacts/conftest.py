"""Real .debs, a real archive signed with a key of its own, and web servers that misbehave on request."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from edgewright.http_retry import Patience
from edgewright.pins import Package
from edgewright.reporter import Reporter
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Step:
    """How a request is answered; without any field set: well."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    body: bytes | None = None
    ignore_range: bool = False
    delay: float = 0  # seconds after each 64 KiB
    silence: float = 0  # seconds before the answer


class Web(ThreadingHTTPServer):
    """A web server on the loopback; ``script`` has, per path, how the next requests are answered (then: well)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Step]] = {}
        self.always: Step | None = None
        self.stop_bodies = False  # cut every connection in the middle of its body
        self.requests: list[tuple[str, str]] = []  # path, Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(self.path)
        wanted_range = self.headers.get("Range", "")
        self.server.requests.append((path, wanted_range))
        steps = self.server.script.get(path, [])
        step = steps.pop(0) if steps else self.server.always or Step()
        time.sleep(step.silence)
        content = self.server.files.get(path) if step.body is None else step.body
        if step.status or content is None:
            self.send_response(step.status or 404)
            for name, value in step.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted_range and not step.ignore_range:
            start = int(wanted_range.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if path.endswith("/"):
            self.send_header("Content-Type", "text/html")  # pip reads no index that has another type
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if with_body:
            self._body(content[start:], step)

    def _body(self, content: bytes, step: Step) -> None:
        if step.cut_after >= 0:
            self.wfile.write(content[: step.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        for offset in range(0, len(content), 1 << 16):
            if self.server.stop_bodies:
                self.close_connection = True
                return
            self.wfile.write(content[offset : offset + (1 << 16)])
            if step.delay:
                self.wfile.flush()
                time.sleep(step.delay)


@pytest.fixture
def make_web() -> Iterator[Callable[[], Web]]:
    servers: list[Web] = []

    def make() -> Web:
        server = Web()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web(make_web: Callable[[], Web]) -> Web:
    return make_web()


@pytest.fixture
def step() -> type[Step]:
    return Step


@pytest.fixture
def patience() -> Patience:
    """Impatience: tests should not wait."""
    return Patience(attempts=3, backoff=0.01, longest=2, connect_timeout=1, read_timeout=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(stream=io.StringIO(), output=io.StringIO())


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def make_deb(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Package]]:
    """Build a real .deb with dpkg-deb; return its file and its pin."""
    root = tmp_path_factory.mktemp("debs")

    def make(name: str, version: str = "1.0", compress: str = "xz", **fields: str) -> tuple[Path, Package]:
        marks = hashlib.sha256(repr((version, compress, sorted(fields.items()))).encode()).hexdigest()[:12]
        tree = root / f"{name}-{marks}"
        deb = root / marks / f"{name}_{version.rpartition(':')[2]}_all.deb"
        if not deb.exists():
            (tree / "DEBIAN").mkdir(parents=True)
            deb.parent.mkdir(exist_ok=True)
            control = {
                "Package": name, "Version": version, "Architecture": "all",
                "Maintainer": "Edgewright tests <tests@example.invalid>",
                "Description": f"test package {name}\n more text",
                **{key.replace("_", "-"): value for key, value in fields.items()},
            }  # fmt: skip
            text = "".join(f"{key}: {value}\n" for key, value in control.items())
            (tree / "DEBIAN" / "control").write_text(text)
            documents = tree / "usr" / "share" / "doc" / name
            documents.mkdir(parents=True)
            (documents / "README").write_text(f"{name} {version}\n")
            argv: list[str | Path] = [
                "dpkg-deb",
                "--root-owner-group",
                f"-Z{compress}",
                "--uniform-compression",
                "--build",
                tree,
                deb,
            ]
            subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1"})
        content = deb.read_bytes()
        path = f"debian/pool/main/{name[0]}/{name}/{deb.name}"
        return deb, Package(name, version, "all", sha256(content), len(content), path)

    return make


@dataclass
class Archive:
    """A Debian mirror below a ``Web`` server, signed with ``keyring``'s key; ``publish`` replaces what it has."""

    web: Web
    home: Path
    keyring: Path

    def publish(self, *debs: tuple[Path, Package], security: tuple[tuple[Path, Package], ...] = ()) -> None:
        self.web.files.clear()
        self._suite("debian", "trixie", debs)
        self._suite("debian", "trixie-updates", ())
        self._suite("debian-security", "trixie-security", security)

    def _suite(self, archive: str, suite: str, debs: tuple[tuple[Path, Package], ...]) -> None:
        stanzas = []
        for deb, package in debs:
            pool = f"pool/main/{deb.name}"
            control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
            digest = package.digest.removeprefix("sha256:")
            stanzas.append(f"{control}Filename: {pool}\nSize: {package.size}\nSHA256: {digest}\n")
            self.web.files[f"/{archive}/{pool}"] = deb.read_bytes()
        plain = "\n".join(stanzas).encode()
        files = {"main/binary-amd64/Packages": plain, "main/binary-amd64/Packages.gz": gzip.compress(plain, mtime=0)}
        sums = "".join(f" {hashlib.sha256(each).hexdigest()} {len(each)} {name}\n" for name, each in files.items())
        release = (
            f"Origin: Tests\nSuite: {suite}\nCodename: {suite}\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n"
            "Architectures: amd64\nComponents: main\n"
            f"SHA256:\n{sums}"
        )
        signed = subprocess.run(
            ["gpg", "--homedir", self.home, "--batch", "--clearsign"],
            input=release.encode(), capture_output=True, check=True,
        ).stdout  # fmt: skip
        self.web.files |= {f"/{archive}/dists/{suite}/{name}": each for name, each in files.items()}
        self.web.files[f"/{archive}/dists/{suite}/InRelease"] = signed


@pytest.fixture(scope="session")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Path, Path]]]:
    """Make a GnuPG home with a new key; return the home and the public keyring."""
    homes: list[Path] = []

    def make(name: str) -> tuple[Path, Path]:
        home = tmp_path_factory.mktemp(name).resolve()
        home.chmod(0o700)
        homes.append(home)
        gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--quiet"]
        key = ["--passphrase", "", "--quick-gen-key", f"{name}@example.invalid", "rsa2048", "sign", "never"]
        subprocess.run([*gpg, *key], check=True, capture_output=True)
        keyring = home / "public.gpg"
        keyring.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
        return home, keyring

    yield make
    for home in homes:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


@pytest.fixture(scope="session")
def archive_key(make_key: Callable[[str], tuple[Path, Path]]) -> tuple[Path, Path]:
    return make_key("archive")


@pytest.fixture
def archive(make_web: Callable[[], Web], archive_key: tuple[Path, Path]) -> Archive:
    return Archive(make_web(), *archive_key)
