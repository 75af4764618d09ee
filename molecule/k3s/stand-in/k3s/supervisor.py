"""What a server answers below /v1-k3s/: to nodes and servers that join, and to the commands of ``k3s``."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from k3s import encryption, snapshots
from k3s.resources import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k3s.server import Server


class Supervisor:
    """One request."""

    def __init__(self, owner: Server, groups: set[str], headers: Mapping[str, str]) -> None:
        self.owner, self.groups, self.headers = owner, groups, headers

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Return status code and body."""
        if path == "config":
            return 200, self.owner.critical()
        if path == "client-kubelet.crt":
            return self._node_password()
        if path == "node" and method == "PUT":
            return 200, self._node(json.loads(body))
        if not self.groups & {"server", "system:masters"}:
            raise ApiError(403, "Forbidden", "Forbidden")
        return 200, self._administer(method, path, query, body)

    def _administer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """Answer one who proved the servers' token."""
        if path == "server-bootstrap":
            return self.owner.bootstrap()
        if path == "rows":
            return self.owner.rows(int(query.get("since", "0")))
        if path == "token" and method == "PUT":
            return self._forwarded("PUT", "token", body) or self.owner.rotate_token(json.loads(body)["newToken"])
        if path == "encrypt/status":
            return encryption.status(self.owner.cred)
        if path == "encrypt/config" and method == "PUT":
            return encryption.rotate(self.owner.cred)
        if path == "db/snapshot" and method == "POST":
            return snapshots.answer(self.owner, json.loads(body))
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _forwarded(self, method: str, path: str, body: bytes) -> Any:
        """Return the first server's answer, or None on the first server itself."""
        if not self.owner.leader:
            return None
        code, answer = self.owner.leader.request(method, f"/v1-k3s/{path}", body, dict(self.headers))
        if code != 200:
            raise ApiError(code, "Forbidden", str(answer))
        return answer

    def _node_password(self) -> tuple[int, Any]:
        """Admit a node, or refuse one that has the name of another (pkg/nodepassword)."""
        if self.owner.leader:
            return self.owner.leader.request("GET", "/v1-k3s/client-kubelet.crt", None, dict(self.headers))
        name, password = self.headers["k3s-node-name"], self.headers["k3s-node-password"]
        digest = hashlib.sha256(password.encode()).hexdigest()
        resources = self.owner.resources
        secrets = resources.named("v1", "secrets")
        secret = f"{name}.node-password.k3s"
        try:
            known = resources.get(secrets, "kube-system", secret)
        except ApiError:
            resources.put(secrets, "kube-system", {"metadata": {"name": secret}, "data": {"hash": digest}})
        else:
            if known["data"]["hash"] != digest:
                raise ApiError(403, "Forbidden", f"unable to verify hash for node '{name}': hash does not match")
        return 200, self.owner.node_certificate(name)

    def _node(self, report: dict[str, Any]) -> dict[str, Any]:
        """Take a kubelet's report of its node."""
        if self.owner.leader:
            body = json.dumps(report).encode()
            return dict(self.owner.leader.request("PUT", "/v1-k3s/node", body, dict(self.headers))[1])
        return self.owner.report(report)
