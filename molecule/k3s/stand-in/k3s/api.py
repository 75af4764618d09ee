"""The HTTPS port 6443 of a server: Kubernetes' API for those with a certificate, the supervisor for those with a token.

A joined server hands requests on to the first one, as etcd's members would agree; when that does not answer it reads
from its own copy and writes nothing.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from k3s.resources import ApiError, Resource, Resources
from k3s.supervisor import Supervisor

if TYPE_CHECKING:
    from k3s.server import Server

_ADMIN = frozenset({"system:masters", "server"})


class Api(ThreadingHTTPServer):
    """Listens, and knows the server it belongs to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, server: Server, address: str, port: int) -> None:
        self.owner = server
        super().__init__((address, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.tls / "serving-kube-apiserver.crt", server.tls / "serving-kube-apiserver.key")
        context.load_verify_locations(server.tls / "server-ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        # The handshake belongs to the connection's own thread.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave broken connections out of the log."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Api

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its base class calls it so)
        """Leave requests out of the log."""

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (as http.server looks for them)

    def _answer(self) -> None:
        self.connection.settimeout(60)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            groups = self._groups()
            code, answer = self._dispatch(url.path, dict(parse_qsl(url.query)), body, groups)
        except ApiError as error:
            code, answer = error.code, error.status()
        except (KeyError, TypeError, ValueError) as error:
            code, answer = 400, ApiError(400, "BadRequest", f"{type(error).__name__}: {error}").status()
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _groups(self) -> set[str]:
        """Return who asks: the groups of a client certificate, or the users whose password a token proved."""
        certificate = self.connection.getpeercert() or {}
        found = {value for part in certificate.get("subject", ()) for name, value in part if name == "organizationName"}
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(secret).decode().partition(":")
            if not self.server.owner.allows(user, password):
                raise ApiError(401, "Unauthorized", "Unauthorized")
            found.add(user)
        return found

    def _dispatch(self, path: str, query: dict[str, str], body: bytes, groups: set[str]) -> tuple[int, Any]:
        owner = self.server.owner
        if path == "/cacerts":
            return 200, (owner.tls / "server-ca.crt").read_bytes()
        if path == "/ping":
            return 200, b"pong"
        if not groups:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if path in ("/readyz", "/livez", "/healthz"):
            return (200, b"ok") if owner.is_ready else (500, b"[-]etcd failed")
        if path.startswith("/v1-k3s/"):
            return Supervisor(owner, groups, {name.lower(): value for name, value in self.headers.items()}).answer(
                self.command, path.removeprefix("/v1-k3s/"), query, body
            )
        allowed = groups & (_ADMIN | ({"system:nodes", "node"} if self.command == "GET" else set()))
        if not allowed or (not allowed & _ADMIN and not self._own(path)):
            raise ApiError(403, "Forbidden", "Forbidden")
        return self._kubernetes(path, query, body)

    def _own(self, path: str) -> bool:
        """Return whether a kubelet may see it: of nodes only its own (Kubernetes' node authorizer)."""
        parts = path.strip("/").split("/")
        certificate = self.connection.getpeercert() or {}
        names = {value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"}
        return parts[:3] != ["api", "v1", "nodes"] or f"system:node:{'/'.join(parts[3:4])}" in names

    def _kubernetes(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        owner = self.server.owner
        if owner.leader:
            try:
                return owner.leader.request(self.command, self.path, body, dict(self.headers))
            except OSError:
                if self.command != "GET":
                    raise ApiError(503, "ServiceUnavailable", "etcdserver: no leader") from None
        return Verbs(owner.resources, owner.version).answer(self.command, path, query, body)


class Verbs:
    """Kubernetes' verbs on paths."""

    def __init__(self, resources: Resources, version: str) -> None:
        self.resources, self.version = resources, version

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Return status code and body."""
        parts = path.strip("/").split("/")
        if path == "/version":
            major, minor = self.version.removeprefix("v").split(".")[:2]
            return 200, {"major": major, "minor": minor, "gitVersion": self.version, "platform": "linux/amd64"}
        if parts[0] not in ("api", "apis"):
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        base = 2 if parts[0] == "api" else 3
        if len(parts) <= base:
            return 200, self._discovery(parts)
        group_version, rest = "/".join(parts[1:base]), parts[base:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = self.resources.named(group_version, rest[0])
        name, subresource = (rest[1:2] or [""])[0], (rest[2:3] or [""])[0]
        return self._on(method, resource, namespace, name, subresource, query, json.loads(body) if body else {})

    def _on(
        self,
        method: str,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str,
        query: dict[str, str],
        body: Any,
    ) -> tuple[int, Any]:
        if subresource == "eviction" and method == "POST":
            pod = self.resources.get(resource, namespace, name)
            self._may_go(pod)
            self.resources.delete(resource, namespace, name)
            return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        if method == "GET":
            if name:
                return 200, self.resources.get(resource, namespace, name)
            return 200, self.resources.list(resource, namespace, query)
        if method == "POST":
            return 201, self.resources.create(resource, namespace, body)
        if method == "PUT":
            self.resources.get(resource, namespace, name)
            return 200, self.resources.put(resource, namespace, body)
        if method == "PATCH":
            return 200, self.resources.patch(resource, namespace, name, body)
        return 200, self.resources.delete(resource, namespace, name)

    def _may_go(self, pod: dict[str, Any]) -> None:
        """Raise ApiError 429 where a disruption budget allows no eviction of a pod."""
        namespace = pod["metadata"]["namespace"]
        budgets = self.resources.list(self.resources.named("policy/v1", "poddisruptionbudgets"), namespace, {})
        labels = pod["metadata"].get("labels", {}).items()
        for budget in budgets["items"]:
            wanted = budget["spec"].get("selector", {}).get("matchLabels", {})
            if wanted and wanted.items() <= labels and budget.get("status", {}).get("disruptionsAllowed", 0) < 1:
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise ApiError(429, "TooManyRequests", message)

    def _discovery(self, parts: list[str]) -> dict[str, Any]:
        every = self.resources.all()
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            groups: dict[str, list[str]] = {}
            for resource in every:
                group, slash, _ = resource.group_version.partition("/")
                if slash and resource.group_version not in groups.setdefault(group, []):
                    groups[group].append(resource.group_version)
            named = {
                group: [{"groupVersion": name, "version": name.split("/")[1]} for name in names]
                for group, names in groups.items()
            }
            listed = [
                {"name": group, "versions": versions, "preferredVersion": versions[0]}
                for group, versions in named.items()
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        group_version = "/".join(parts[1:])
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        found = [
            {"name": entry.name, "kind": entry.kind, "namespaced": entry.namespaced, "verbs": verbs, "singularName": ""}
            for entry in every
            if entry.group_version == group_version
        ]
        if not found:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}
