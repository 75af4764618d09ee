"""``k3s server``: datastore, certificates, tokens, the API, manifests, and the node itself."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import yaml
from k3s import certificates, controllers, datastore, encryption, settings
from k3s.api import Api
from k3s.client import Client
from k3s.log import fatal, info, log, ready
from k3s.node import Node
from k3s.resources import Resources
from k3s.tokens import Token, TokenError, long

_BOOTSTRAP = "/bootstrap/"
_CLUSTER = "/stand-in/cluster"
_FIXED = "/stand-in/fixed"
_RENEW_SECONDS = 120 * 86400


def _given(configured: dict[str, Any], name: str) -> str:
    """Return a token given itself or by its file."""
    if configured.get(name):
        return str(configured[name]).strip()
    file = configured.get(f"{name}-file")
    if not file:
        return ""
    if not Path(file).exists():
        fatal(f"Error: open {file}: no such file or directory")
    return Path(file).read_text(encoding="utf-8").strip()


class Server:
    """One server."""

    def __init__(self, configured: dict[str, Any], version: str) -> None:
        self.settings, self.version = configured, version
        self.node_name = str(configured.get("node-name") or socket.gethostname()).lower()
        self.data = Path(configured.get("data-dir") or settings.DATA)
        self.folder = self.data / "server"
        self.tls, self.cred = self.folder / "tls", self.folder / "cred"
        self.is_ready = False
        self.leader: Client | None = None
        for folder in (self.tls, self.cred, self.folder / "manifests"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.given = _given(configured, "token")
        self.agent_given = _given(configured, "agent-token")
        self.is_etcd = bool(
            configured.get("cluster-init") or configured.get("server") or (self.folder / "db/etcd").exists()
        ) or (bool(configured.get("cluster-reset")) and bool(configured.get("cluster-reset-restore-path")))
        self.database = self.folder / ("db/etcd/member/snap/db" if self.is_etcd else "db/state.db")
        self._migrate()

    def _migrate(self) -> None:
        """Let a single server that becomes the first of a cluster take its objects along."""
        sqlite = self.folder / "db/state.db"
        if self.is_etcd and sqlite.exists() and not self.database.exists() and not self.settings.get("server"):
            info("Migrating content from sqlite to etcd")
            self.database.parent.mkdir(parents=True)
            shutil.copy(sqlite, self.database)
            sqlite.rename(sqlite.with_name("state.db.migrated"))

    def run(self) -> None:
        """Start, tell systemd, go on until the end."""
        if self.settings.get("cluster-reset"):
            self._reset()
        self._open()
        self._join() if self.settings.get("server") else self._check_fixed()
        self._prove_token()
        self._certify()
        self._write_tokens()
        if self.settings.get("secrets-encryption") or (self.cred / "encryption-config.json").exists():
            encryption.begin(self.cred, self.settings.get("secrets-encryption-provider", "aescbc"))
        (self.folder / "db/reset-flag").unlink(missing_ok=True)
        Api(self, self.settings.get("bind-address", ""), int(self.settings.get("https-listen-port", 6443))).start()
        self._write_kubeconfig()
        self.is_ready = True
        info("Kube API server is now running")
        controllers.start(self)
        node = Node(self.settings, self.data, self.version, "https://127.0.0.1:6443", self._own_token(), is_server=True)
        node.prepare()
        ready()
        info("k3s is up and running")
        node.run()

    # Datastore

    def _open(self) -> None:
        if not self.database.exists():
            info(f"Managed {'etcd' if self.is_etcd else 'sqlite'} datastore initializing")
        elif (state := datastore.integrity(self.database)) != "ok":
            fatal(f"Error: preparing server: bootstrap: failed to read datastore: {state}")
        try:
            self.store = datastore.Datastore(self.database)
        except sqlite3.DatabaseError as error:
            fatal(f"Error: preparing server: failed to start datastore: {error}")
        self.resources = Resources(self.store)

    def _reset(self) -> None:
        """Do what --cluster-reset does, and end (pkg/etcd/etcd.go, Reset)."""
        flag, source = self.folder / "db/reset-flag", self.settings.get("cluster-reset-restore-path")
        if not self.is_etcd:
            fatal("Error: starting kubernetes: preparing server: invalid flag use; --cluster-reset required with etcd")
        if source:
            if not Path(source).is_file():
                fatal(f"Error: etcd: snapshot path does not exist: {source}")
            if (state := datastore.integrity(Path(source))) != "ok":
                fatal(f"Error: etcd: snapshot restore failed: {state}")
            old = self.database.parents[2]
            if old.exists():
                old.rename(old.with_name(f"etcd-old-{int(time.time())}"))
            self.database.parent.mkdir(parents=True)
            shutil.copy(source, self.database)
        elif flag.exists():
            fatal(
                "Error: Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and "
                "start k3s normally. If you need to perform another cluster reset, you must first manually delete the "
                f"file at {flag}"
            )
        elif not self.database.exists():
            fatal("Error: no etcd datastore to reset")
        self._open()
        self._prove_token()
        self.store.put(_CLUSTER, secrets.token_hex(8))
        flag.touch(0o600)
        log(
            "error",
            'Shutdown request received: "Managed etcd cluster membership has been reset, restart without '
            "--cluster-reset flag now. Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the "
            'nodes"',
        )
        os._exit(0)

    def _check_fixed(self) -> None:
        """Refuse a changed setting that a cluster can never change, and number a new cluster."""
        now = {name: self.critical()[name] for name in settings.FIXED}
        before = self.store.get(_FIXED) or now
        changed = [name for name in settings.FIXED if before[name] != now[name]]
        if changed:
            for name in changed:
                log("warning", f"critical configuration mismatched: {name}")
            fatal("Error: preparing server: critical configuration value mismatch between servers")
        if self.store.get(_FIXED) is None:
            self.store.put(_FIXED, now)
        if self.store.get(_CLUSTER) is None:
            self.store.put(_CLUSTER, secrets.token_hex(8))

    def _join(self) -> None:
        """Prove token and settings to the first server, and take over its rows and authority."""
        url = self.settings["server"].rstrip("/")
        if not self.given:
            fatal("Error: preparing server: token is required to join a cluster")
        try:
            self.leader = Client.joining(url, Token.parse(self.given), "server")
            code, theirs = self.leader.request("GET", "/v1-k3s/server-bootstrap")
        except TokenError as error:
            fatal(f"Error: preparing server: failed to validate token: {error}")
        except OSError as error:
            if (self.tls / "server-ca.crt").exists() and self.store.revision():
                log("warning", f"Unable to reconcile with remote datastore: {error}")
                return
            fatal(f"Error: preparing server: failed to get CA certs: {url}/cacerts: {error}")
        if code != 200:
            asked = f"{url}/v1-k3s/server-bootstrap"
            fatal(f"Error: preparing server: failed to bootstrap cluster data: {asked}: {code} Unauthorized")
        self._compare(theirs)
        for name, content in theirs["authority"].items():
            (self.tls / name).touch(0o600)
            (self.tls / name).write_text(content, encoding="ascii")
        self.follow()

    def _compare(self, theirs: dict[str, Any]) -> None:
        """End where the first server has another cluster, or other settings that all must have in common."""
        if self.store.get(_CLUSTER) not in (None, theirs["cluster"]):
            fatal("Error: etcd cluster join failed: member has data of another cluster: delete server/db and rejoin")
        for name, value in self.critical().items():
            if value != theirs["critical"][name]:
                log("warning", f"critical configuration mismatched: {name}")
        if self.critical() != theirs["critical"]:
            fatal("Error: preparing server: critical configuration value mismatch between servers")

    def follow(self) -> None:
        """Copy what the first server has written since."""
        if self.leader:
            code, rows = self.leader.request("GET", f"/v1-k3s/rows?since={self.store.revision()}")
            if code == 200:
                self.store.take(rows)

    def rows(self, since: int) -> list[list[Any]]:
        """Return the rows that another server has not got."""
        return self.store.since(since)

    def critical(self) -> dict[str, Any]:
        """Return what all servers must have in common."""
        return settings.critical(self.settings)

    def bootstrap(self) -> dict[str, Any]:
        """Return what a joining server needs."""
        if self.leader:
            return dict(self.leader.request("GET", "/v1-k3s/server-bootstrap")[1])
        authority = {f"server-ca.{end}": (self.tls / f"server-ca.{end}").read_text() for end in ("crt", "key")}
        return {"cluster": self.store.get(_CLUSTER), "critical": self.critical(), "authority": authority}

    # Tokens

    def _prove_token(self) -> None:
        """Compare the token with the one that the datastore's bootstrap data is kept under."""
        file = self.folder / "token"
        text = self.given or (file.read_text(encoding="utf-8") if file.exists() else "")
        try:
            self.password = Token.parse(text).password if text.strip() else secrets.token_hex(16)
        except TokenError as error:
            fatal(f"Error: preparing server: {error}")
        known = self.store.values(_BOOTSTRAP)
        mine = self.store.get(_BOOTSTRAP + _digest(self.password)[:12])
        if known and mine is None:
            fatal("Error: preparing server: bootstrap data already found and encrypted with different token")
        for name, content in (mine or {}).items():
            if not (self.tls / name).exists():
                (self.tls / name).touch(0o600)
                (self.tls / name).write_text(content, encoding="ascii")

    def rotate_token(self, new: str) -> dict[str, Any]:
        """Keep the bootstrap data under a new token; servers must be started again with it."""
        content = self.store.get(_BOOTSTRAP + _digest(self.password)[:12])
        self.store.put(_BOOTSTRAP + _digest(new)[:12], content)
        self.store.delete(_BOOTSTRAP + _digest(self.password)[:12])
        self.password = new
        self._write_tokens()
        return {}

    def allows(self, user: str, password: str) -> bool:
        """Return whether a password is that user's: agents have one of their own, if it was given."""
        agents = self.agent_given or self.password
        if user == "node":
            return secrets.compare_digest(password.encode(), Token.parse(agents).password.encode()) or self.allows(
                "server", password
            )
        return user == "server" and secrets.compare_digest(password.encode(), self.password.encode())

    def _own_token(self) -> str:
        return long(certificates.fingerprint(self.tls), "server", self.password)

    def _write_tokens(self) -> None:
        authority = certificates.fingerprint(self.tls)
        server = long(authority, "server", self.password)
        agent = long(authority, "node", Token.parse(self.agent_given).password) if self.agent_given else server
        for name, content in (("token", server), ("agent-token", agent)):
            file = self.folder / name
            file.touch(0o600)
            file.write_text(f"{content}\n", encoding="ascii")
        (self.folder / "node-token").unlink(missing_ok=True)
        (self.folder / "node-token").symlink_to(self.folder / "token")

    # Certificates

    def _certify(self) -> None:
        certificates.authority(self.tls)
        names = ["IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes", f"DNS:{self.node_name}"]
        names += [_alternative(name) for name in self.settings.get("tls-san", []) + self.settings.get("node-ip", [])]
        subjects = {"serving-kube-apiserver": "/CN=kube-apiserver", "client-admin": "/O=system:masters/CN=system:admin"}
        for name, subject in subjects.items():
            file = self.tls / f"{name}.crt"
            if not file.exists() or certificates.ends_within(file, _RENEW_SECONDS):
                info(f"certificate {subject} signed by CN=k3s-server-ca")
                certificates.issue(self.tls, name, subject, names if name.startswith("serving") else None)
        if not self.leader:
            content = {f"server-ca.{end}": (self.tls / f"server-ca.{end}").read_text() for end in ("crt", "key")}
            key = _BOOTSTRAP + _digest(self.password)[:12]
            if self.store.get(key) is None:
                self.store.put(key, content)

    def _write_kubeconfig(self) -> None:
        file = Path(self.settings.get("write-kubeconfig") or "/etc/rancher/k3s/k3s.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        port = int(self.settings.get("https-listen-port", 6443))
        file.touch(0o600)
        file.chmod(int(str(self.settings.get("write-kubeconfig-mode", "0600")), 8))
        client = self.tls / "client-admin"
        file.write_text(yaml.safe_dump(kubeconfig(f"https://127.0.0.1:{port}", self.tls, client)), encoding="utf-8")

    def node_certificate(self, name: str) -> dict[str, str]:
        """Return a new key and certificate of a node's kubelet."""
        folder = self.folder / "issued"
        folder.mkdir(mode=0o700, exist_ok=True)
        for end in ("crt", "key"):
            shutil.copy(self.tls / f"server-ca.{end}", folder / f"server-ca.{end}")
        certificates.issue(folder, name, f"/O=system:nodes/CN=system:node:{name}")
        made = {end: (folder / f"{name}.{end}").read_text(encoding="ascii") for end in ("crt", "key")}
        shutil.rmtree(folder)
        return {**made, "ca": (self.tls / "server-ca.crt").read_text(encoding="ascii")}

    def report(self, node: dict[str, Any]) -> dict[str, Any]:
        """Take a kubelet's report; labels and taints count at the first one only."""
        resource = self.resources.named("v1", "nodes")
        before = self.store.get(resource.key("", node["metadata"]["name"]))
        if before is None:
            return self.resources.put(resource, "", node)
        return self.resources.patch(resource, "", node["metadata"]["name"], {"status": node["status"]})


def kubeconfig(url: str, tls: Path, client: Path) -> dict[str, Any]:
    """Return a kubeconfig with everything in it."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": url, "certificate-authority-data": data(tls / "server-ca.crt")}
    pair = {"crt": "client-certificate-data", "key": "client-key-data"}
    user = {key: data(client.with_name(f"{client.name}.{end}")) for end, key in pair.items()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": cluster}],
        "users": [{"name": "default", "user": user}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }


def _alternative(name: str) -> str:
    return f"{'IP' if name.replace('.', '').isdigit() or ':' in name else 'DNS'}:{name}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
