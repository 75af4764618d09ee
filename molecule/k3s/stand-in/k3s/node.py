"""What a server and an agent both are: a node with containerd and a kubelet that reports to the cluster."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Any

import yaml
from k3s.client import Client
from k3s.containerd import Containerd
from k3s.log import fatal, info, log
from k3s.resources import now
from k3s.tokens import Token, TokenError

PASSWORD = Path("/etc/rancher/node/password")
_BEAT_SECONDS = 2
_RETRY_SECONDS = 2
_INFO = {
    **dict.fromkeys(("machineID", "systemUUID", "kernelVersion", "osImage", "kubeProxyVersion"), "stand-in"),
    "containerRuntimeVersion": "containerd://stand-in",
    "operatingSystem": "linux",
    "architecture": "amd64",
}
_KERNEL = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1}


def _default_address() -> str:
    """Return the address that packets to the outside would have; empty without a default route."""
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return ""


class Node:
    """One node."""

    def __init__(
        self, settings: dict[str, Any], data: Path, version: str, url: str, token: str, *, is_server: bool
    ) -> None:
        self.settings, self.data, self.version, self.url, self.token = settings, data, version, url, token
        self.is_server = is_server
        self.name = str(settings.get("node-name") or socket.gethostname()).lower()
        self.containerd = Containerd(data)
        self.addresses: list[str] = []

    def prepare(self) -> None:
        """Join, open the image store, import archives and report the node once."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        self.client = self._connect()
        if not _default_address():
            fatal("Error: no default routes found in /proc/net/route or /proc/net/ipv6_route")
        self.addresses = [str(address) for address in self.settings.get("node-ip") or [_default_address()]]
        self._check_addresses()
        self._kubelet()
        self._registries()
        self.containerd.start()
        self.containerd.unpin()
        self.containerd.load_cache()
        self.containerd.scan(prune=True)
        self._admit()
        self._report()

    def run(self) -> None:
        """Import new archives and report, until the end."""
        while True:
            time.sleep(_BEAT_SECONDS)
            self.containerd.scan()
            try:
                self._report()
            except OSError as error:
                log("error", f"Error updating node status, will retry: {error}")

    def _connect(self) -> Client:
        """Return a client whose token the cluster takes; asks for ever, as k3s does (pkg/agent/run.go)."""
        while True:
            try:
                client = Client.joining(self.url, Token.parse(self.token), "node")
                code, _ = client.request("GET", "/v1-k3s/config")
                if code == 200:
                    return client
                why = f"{self.url}/v1-k3s/config: {code} Unauthorized"
            except TokenError as error:
                why = str(error)
            except OSError as error:
                why = f"failed to get CA certs: {error}"
            log("error", f"Failed to validate connection to cluster at {self.url}: {why}")
            time.sleep(_RETRY_SECONDS)

    def _check_addresses(self) -> None:
        """End where node-ip is no address of this machine."""
        for address in self.addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family) as probe:
                try:
                    probe.bind((address, 0))
                except OSError:
                    fatal(f"Error: failed to find interface with specified node ip: {address}")

    def _kubelet(self) -> None:
        """Write the kubelet's own file, and read those of the administrator."""
        folder = self.data / "agent/etc/kubelet.conf.d"
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failSwapOn": False}
        (folder / "00-k3s-defaults.conf").write_text(yaml.safe_dump(defaults), encoding="utf-8")
        named = [word.partition("=") for word in self.settings.get("kubelet-arg", [])]
        files = [Path(value) for key, _, value in named if key == "config"] + sorted(folder.glob("*.conf"))
        for file in files:
            try:
                kind = yaml.safe_load(file.read_text(encoding="utf-8"))["kind"]
            except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
                kind = repr(error)
            if kind != "KubeletConfiguration":
                fatal(f"Error: kubelet exited: failed to load kubelet config file, path: {file}, error: kind is {kind}")
        if self.settings.get("protect-kernel-defaults"):
            for name, wanted in _KERNEL.items():
                if int(Path("/proc/sys", name).read_text(encoding="ascii")) != wanted:
                    fatal(f"Error: kubelet exited: Failed to start ContainerManager: invalid kernel flag: {name}")

    def _registries(self) -> None:
        file = Path(self.settings.get("private-registry") or "/etc/rancher/k3s/registries.yaml")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
            strange = set(content or {}) - {"mirrors", "configs", "auths"}
        except (yaml.YAMLError, TypeError) as error:
            fatal(f"Error: failed to parse {file}: {error}")
        if strange:
            fatal(f"Error: failed to parse {file}: unknown field {', '.join(sorted(strange))}")

    def _admit(self) -> None:
        """Show the node's password and get a certificate."""
        if not PASSWORD.exists():
            PASSWORD.parent.mkdir(parents=True, exist_ok=True)
            PASSWORD.touch(0o600)
            PASSWORD.write_text(secrets.token_hex(16), encoding="ascii")
        headers = {"k3s-Node-Name": self.name, "k3s-Node-Password": PASSWORD.read_text(encoding="ascii")}
        while True:
            code, answer = self.client.request("GET", "/v1-k3s/client-kubelet.crt", None, headers)
            if code == 200:
                break
            if code == 403:
                log(
                    "error",
                    f"Node password rejected, duplicate hostname or contents of '{PASSWORD}' may not match server "
                    "node-passwd entry, try enabling a unique node name with the --with-node-id flag",
                )
            else:
                log("error", f"Failed to retrieve agent configuration: {answer}")
            time.sleep(_RETRY_SECONDS)
        self._write_kubeconfig(answer)

    def _write_kubeconfig(self, made: dict[str, str]) -> None:
        from k3s.server import kubeconfig

        folder = self.data / "agent"
        for name, content in {
            "client-kubelet.crt": made["crt"],
            "client-kubelet.key": made["key"],
            "server-ca.crt": made["ca"],
        }.items():
            (folder / name).touch(0o600)
            (folder / name).write_text(content, encoding="ascii")
        file = folder / "kubelet.kubeconfig"
        file.touch(0o600)
        file.write_text(yaml.safe_dump(kubeconfig(self.url, folder, folder / "client-kubelet")), encoding="utf-8")

    def _report(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
        if self.is_server:
            labels["node-role.kubernetes.io/control-plane"] = "true"
        labels.update(entry.partition("=")[::2] for entry in self.settings.get("node-label", []))
        taints = []
        for taint in self.settings.get("node-taint", []):
            pair, _, effect = taint.rpartition(":")
            key, _, value = pair.partition("=")
            taints.append({"key": key, "value": value, "effect": effect})
        beat = {"lastHeartbeatTime": now(), "reason": "StandIn"}
        conditions = [{"type": "Ready", "status": "True", **beat}]
        conditions += [{"type": f"{what}Pressure", "status": "False", **beat} for what in ("Memory", "Disk", "PID")]
        images = [{"names": [name]} for name in sorted(self.containerd.images)]
        status = {
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": address} for address in self.addresses]
            + [{"type": "Hostname", "address": self.name}],
            "nodeInfo": {**_INFO, "kubeletVersion": self.version, "bootID": str(os.getpid())},
            "images": images,
        }
        metadata = {"name": self.name, "labels": labels}
        spec = {"taints": taints} if taints else {}
        code, answer = self.client.request(
            "PUT", "/v1-k3s/node", {"metadata": metadata, "spec": spec, "status": status}
        )
        if code != 200:
            log("error", f"Error updating node status, will retry: {answer}")
        elif not getattr(self, "_told", False):
            self._told = True
            info(f"Successfully registered node {self.name}")
