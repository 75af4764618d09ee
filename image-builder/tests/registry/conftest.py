"""Debian's docker-registry on the loopback with a front that misbehaves on request, and images made by hand."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import re
import socket
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from edgewright.http_retry import Patience
from edgewright.image_places import ImagePlaces
from edgewright.reporter import Reporter
from edgewright.store import Store
from edgewright.tools.skopeo import Registries

from .outside_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MEDIA_TYPES = {
    "oci": {
        "index": "application/vnd.oci.image.index.v1+json",
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    },
    "docker": {
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Fault:
    """How one request is answered instead: with a status, cut after some bytes, or with other bytes."""

    path: str  # a regular expression that the path must contain
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    flip: bool = False
    times: int = 1


class Front(ThreadingHTTPServer):
    """Stands before a registry and passes requests on; also serves ``files``, like any web server."""

    daemon_threads = True

    def __init__(self, registry_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry_port = registry_port
        self.faults: list[Fault] = []
        self.password = ""  # user:password that is asked for
        self.requests: list[str] = []
        self.files: dict[str, bytes] = {}
        self.delay = 0.0  # seconds before each 64 KiB
        self.silence = 0.0  # seconds before what the registry answers

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def asked(self, what: str) -> list[str]:
        """Return the requests whose path contains a regular expression."""
        return [each for each in self.requests if re.search(what, each)]

    def fault_for(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path)
        self.server.requests.append(f"{self.command} {path}")
        fault = self.server.fault_for(path)
        if fault and fault.status:
            self._send(fault.status, b"{}", fault.headers)
            return
        status, headers, body = self._content(path)
        if fault and fault.flip:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self._send(status, body, headers, fault.cut_after if fault else -1)

    def _content(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.server.files:
            return 200, {}, self.server.files[path]
        time.sleep(self.server.silence)
        wanted = base64.b64encode(self.server.password.encode()).decode()
        if self.server.password and self.headers.get("Authorization") != f"Basic {wanted}":
            return 401, {"WWW-Authenticate": 'Basic realm="tests"'}, b'{"errors":[{"code":"UNAUTHORIZED"}]}'
        registry = http.client.HTTPConnection("127.0.0.1", self.server.registry_port, timeout=20)
        accept = {"Accept": ", ".join(self.headers.get_all("Accept") or ["*/*"])}
        registry.request(self.command, self.path, headers=accept)
        answer = registry.getresponse()
        body = answer.read()
        registry.close()
        kept = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version")
        headers = {name: value for name in kept if (value := answer.getheader(name))}
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        return answer.status, headers, body

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut_after: int = -1) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after >= 0:
            self.wfile.write(body[:cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        for offset in range(0, len(body), 1 << 16):
            time.sleep(self.server.delay)
            self.wfile.write(body[offset : offset + (1 << 16)])


@dataclass
class Made:
    """An image as it lies in the registry: bytes by digest."""

    index: str
    manifests: dict[str, str]  # by platform
    layers: dict[str, list[str]]
    configs: dict[str, str]
    content: dict[str, bytes]


class Maker:
    """Puts images into a registry through its API, with every byte known beforehand."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)

    def __call__(
        self, repository: str, tag: str, *, platforms: tuple[str, ...] = ("arm64", "amd64"),
        layers: tuple[str | bytes, ...] = ("a",), family: str = "oci", with_index: bool = True,
    ) -> Made:  # fmt: skip
        """Make an image; a layer's content follows from its word, so that images can share layers, or is an archive."""
        made = Made("", {}, {}, {}, {})
        types = _MEDIA_TYPES[family]
        entries = []
        for platform in platforms:
            architecture, _, variant = platform.partition("/")
            entry = self._platform(made, repository, platform, layers, types)
            own = {"os": "linux", "architecture": architecture} | ({"variant": variant} if variant else {})
            entries.append({**entry, "platform": own})
        # an attestation, as buildkit adds them
        entries.append({**entries[0], "platform": {"os": "unknown", "architecture": "unknown"}})
        if with_index:
            raw = json.dumps({"schemaVersion": 2, "mediaType": types["index"], "manifests": entries}, indent=3).encode()
            made.index = self._manifest(made, repository, tag, raw, types["index"])
        else:
            self._manifest(made, repository, tag, made.content[made.manifests[platforms[0]]], types["manifest"])
        return made

    def _platform(
        self, made: Made, repository: str, platform: str, layers: tuple[str | bytes, ...], types: dict[str, str]
    ) -> dict[str, Any]:
        architecture, _, variant = platform.partition("/")
        diffs, descriptors = [], []
        for word in layers:
            plain = (
                word if isinstance(word, bytes) else _tar(word, Random(word).randbytes(150_000) + architecture.encode())  # noqa: S311 - repeatable
            )
            diffs.append(sha256(plain))
            packed = gzip.compress(plain, 1, mtime=0)
            descriptors.append(self._blob(made, repository, packed, types["layer"]))
        config = {"architecture": architecture, "os": "linux", "config": {"Cmd": ["/hello"]}, "spare": repository}
        config |= {"rootfs": {"type": "layers", "diff_ids": diffs}} | ({"variant": variant} if variant else {})
        described = self._blob(made, repository, json.dumps(config, indent=2).encode(), types["config"])
        manifest = {"schemaVersion": 2, "mediaType": types["manifest"], "config": described, "layers": descriptors}
        raw = json.dumps(manifest, indent=1).encode()
        digest = self._manifest(made, repository, sha256(raw), raw, types["manifest"])
        made.manifests[platform] = digest
        made.layers[platform] = [each["digest"] for each in descriptors]
        made.configs[platform] = described["digest"]
        return {"mediaType": types["manifest"], "size": len(raw), "digest": digest}

    def _blob(self, made: Made, repository: str, content: bytes, kind: str) -> dict[str, Any]:
        digest = sha256(content)
        begun = self._client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        place = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
        self._client.put(place, content=content).raise_for_status()
        made.content[digest] = content
        return {"mediaType": kind, "size": len(content), "digest": digest}

    def _manifest(self, made: Made, repository: str, name: str, raw: bytes, kind: str) -> str:
        url = f"/v2/{repository}/manifests/{name}"
        self._client.put(url, content=raw, headers={"Content-Type": kind}).raise_for_status()
        made.content[sha256(raw)] = raw
        return sha256(raw)


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def registry_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Debian's docker-registry, empty."""
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "only for tests"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    deadline = time.monotonic() + 180
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False).raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def make_image(registry_port: int) -> Maker:
    return Maker(registry_port)


@pytest.fixture
def front(registry_port: int) -> Iterator[Front]:
    server = Front(registry_port)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fault() -> type[Fault]:
    return Fault


@pytest.fixture(autouse=True)
def _fresh_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and neither credentials nor settings of whoever runs the tests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    home = tmp_path / "home"
    home.mkdir()
    settings = home / "registries.conf"
    settings.write_text("")
    monkeypatch.setenv("REAL_HOME", str(Path.home()))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))


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


@pytest.fixture
def make_places(tmp_path: Path, patience: Patience) -> Callable[..., ImagePlaces]:
    """Return places with these mirrors (prefix to location)."""

    def make(**mirrors: str) -> ImagePlaces:
        entries = [{"prefix": prefix.replace("_", "."), "location": location} for prefix, location in mirrors.items()]
        return ImagePlaces(Mirrors.from_inventory(entries), tmp_path, Registries(patience))

    return make


@pytest.fixture
def places(front: Front, make_places: Callable[..., ImagePlaces]) -> ImagePlaces:
    """Docker Hub is played by the front."""
    return make_places(**{"docker_io/": f"{front.address}/hub/"})


@pytest.fixture
def world(tmp_path: Path, front: Front, make_image: Maker) -> World:
    return World(tmp_path, front, make_image)
