"""Flags and configuration files of ``server`` and ``agent``, read as k3s reads them (pkg/cli/cmds, pkg/configfilearg).

One difference, on purpose: k3s warns of an unknown key in config.yaml and goes on without it; the stand-in ends. A key
that a role lets through by mistake must not pass a test.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path("/etc/rancher/k3s/config.yaml")
DATA = Path("/var/lib/rancher/k3s")

_TEXT, _NUMBER, _BOOL, _LIST, _CIDRS, _ADDRESSES, _DURATION = (
    "text",
    "number",
    "bool",
    "list",
    "cidrs",
    "addresses",
    "duration",
)


def _kinds(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


_SHARED = {
    **_kinds(
        _TEXT,
        "config data-dir token token-file node-name log alsologtostderr vmodule container-runtime-endpoint "
        "default-runtime image-service-endpoint private-registry pause-image snapshotter flannel-iface flannel-conf "
        "flannel-cni-conf vpn-auth vpn-auth-file resolv-conf image-credential-provider-bin-dir "
        "image-credential-provider-config bind-address server",
    ),
    **_kinds(_NUMBER, "v lb-server-port"),
    **_kinds(
        _BOOL,
        "debug with-node-id protect-kernel-defaults selinux docker disable-apiserver-lb nonroot-devices "
        "disable-default-registry-endpoint enable-pprof prefer-bundled-bin rootless",
    ),
    **_kinds(
        _LIST,
        "node-internal-dns node-external-dns airgap-extra-registry kubelet-arg kube-proxy-arg node-taint node-label",
    ),
    **_kinds(_ADDRESSES, "node-ip node-external-ip"),
}
KNOWN: dict[str, dict[str, str]] = {
    "agent": _SHARED,
    "server": {
        **_SHARED,
        **_kinds(
            _TEXT,
            "service-node-port-range cluster-domain advertise-address apiserver-bind-address flannel-backend "
            "egress-selector-mode servicelb-namespace write-kubeconfig write-kubeconfig-mode write-kubeconfig-group "
            "helm-job-image agent-token agent-token-file cluster-reset-restore-path datastore-endpoint "
            "datastore-cafile datastore-certfile datastore-keyfile etcd-snapshot-name etcd-snapshot-schedule-cron "
            "etcd-snapshot-dir etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-access-key etcd-s3-secret-key "
            "etcd-s3-session-token etcd-s3-bucket etcd-s3-bucket-lookup-type etcd-s3-region etcd-s3-folder "
            "etcd-s3-proxy etcd-s3-config-secret default-local-storage-path system-default-registry "
            "secrets-encryption-provider",
        ),
        **_kinds(
            _NUMBER,
            "https-listen-port supervisor-port apiserver-port advertise-port etcd-snapshot-retention etcd-s3-retention",
        ),
        **_kinds(
            _BOOL,
            "tls-san-security flannel-ipv6-masq flannel-external-ip cluster-init cluster-reset kine-tls "
            "etcd-expose-metrics etcd-disable-snapshots etcd-snapshot-compress etcd-s3 etcd-s3-skip-ssl-verify "
            "etcd-s3-insecure disable-scheduler disable-cloud-controller disable-kube-proxy disable-network-policy "
            "disable-helm-controller disable-apiserver disable-controller-manager disable-etcd embedded-registry "
            "supervisor-metrics secrets-encryption disable-agent",
        ),
        **_kinds(
            _LIST,
            "tls-san kube-apiserver-arg etcd-arg kube-scheduler-arg kube-controller-manager-arg "
            "kube-cloud-controller-manager-arg kube-controller-arg kube-cloud-controller-arg disable",
        ),
        **_kinds(_CIDRS, "cluster-cidr service-cidr"),
        **_kinds(_ADDRESSES, "cluster-dns"),
        **_kinds(_DURATION, "etcd-s3-timeout etcd-snapshot-reconcile-interval"),
    },
}
_CHOICES = {
    "flannel-backend": {"none", "vxlan", "host-gw", "wireguard-native"},
    "egress-selector-mode": {"agent", "cluster", "pod", "disabled"},
    "secrets-encryption-provider": {"aescbc", "secretbox"},
}
_DISABLED = {"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes", "ccm"}
# What k3s compares when a server joins (pkg/daemons/config/types.go, CriticalControlArgs), with its defaults.
CRITICAL: dict[str, Any] = {
    "cluster-dns": [],
    "cluster-cidr": ["10.42.0.0/16"],
    "cluster-domain": "cluster.local",
    "disable-cloud-controller": False,
    "disable-helm-controller": False,
    "disable-network-policy": False,
    "secrets-encryption": False,
    "secrets-encryption-provider": "aescbc",
    "embedded-registry": False,
    "flannel-backend": "vxlan",
    "flannel-ipv6-masq": False,
    "flannel-external-ip": False,
    "egress-selector-mode": "agent",
    "service-cidr": ["10.43.0.0/16"],
    "supervisor-metrics": False,
}
# What a cluster that runs can never change, not even with one server.
FIXED = ("cluster-cidr", "service-cidr", "cluster-domain")


class SettingError(Exception):
    """A flag or key that k3s would not start with."""


def read(role: str, arguments: list[str]) -> dict[str, Any]:
    """Return the settings of ``k3s server`` or ``k3s agent`` by key; flags win over files, the last file over others.

    Raises:
        SettingError: unknown or wrong keys, all of them.
    """
    flags = _flags(arguments)
    path = Path(flags.get("config", [str(CONFIG)])[-1])
    values: dict[str, Any] = {}
    for file in [path, *sorted(path.with_name(path.name + ".d").glob("*.y*ml"))]:
        if file.exists():
            _merge(values, file)
    values.update({name: value if len(value) > 1 else value[0] for name, value in flags.items()})
    known, wrong, settings = KNOWN[role], [], {}
    for name, value in values.items():
        if name not in known:
            wrong.append(f"flag provided but not defined: -{name}")
            continue
        try:
            settings[name] = _typed(name, known[name], value)
        except ValueError as error:
            wrong.append(f'invalid value "{value}" for flag -{name}: {error}')
    if wrong:
        raise SettingError("; ".join(wrong))
    for variable, name in (("K3S_TOKEN", "token"), ("K3S_TOKEN_FILE", "token-file"), ("K3S_URL", "server")):
        if os.environ.get(variable):
            settings.setdefault(name, os.environ[variable])
    return settings


def critical(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what all servers of a cluster must have in common."""
    return {name: settings.get(name, default) for name, default in CRITICAL.items()} | {
        "disable-service-lb": "servicelb" in settings.get("disable", [])
    }


def _flags(arguments: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            raise SettingError(f"unexpected argument {word}")
        name, equals, value = word.lstrip("-").partition("=")
        is_bool = any(kinds.get(name) == _BOOL for kinds in KNOWN.values())
        found.setdefault(name, []).append(value if equals else "true" if is_bool else next(words, ""))
    return found


def _merge(values: dict[str, Any], file: Path) -> None:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise SettingError(f"{file}: {error}") from error
    if not isinstance(data, dict):
        raise SettingError(f"{file}: is no mapping")
    for key, value in data.items():
        name = str(key)
        if name.endswith("+"):
            name = name[:-1]
            values[name] = _listed(values.get(name, [])) + _listed(value)
        else:
            values[name] = value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _typed(name: str, kind: str, value: Any) -> Any:
    if kind in (_LIST, _CIDRS, _ADDRESSES):
        return _items(name, kind, value)
    if isinstance(value, (list, dict)) or value is None:
        raise ValueError("one value is expected")
    text = str(value)
    if kind == _BOOL:
        if text.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise ValueError("parse error")
        return text.lower() in ("true", "1", "t")
    if kind == _NUMBER:
        return int(value)
    _check(name, kind, text)
    return text


def _items(name: str, kind: str, value: Any) -> list[str]:
    items = [str(item) for item in _listed(value)]
    if kind != _LIST:
        items = [part for item in items for part in item.split(",")]
        for item in items:
            (ipaddress.ip_network if kind == _CIDRS else ipaddress.ip_address)(item)
    if name == "disable" and (strange := sorted(set(items) - _DISABLED)):
        raise ValueError(f"invalid component {', '.join(strange)}")
    return items


def _check(name: str, kind: str, text: str) -> None:
    if kind == _DURATION and not re.fullmatch(r"([0-9.]+(ns|us|ms|s|m|h))+|0", text):
        raise ValueError("parse error")
    if name in _CHOICES and text not in _CHOICES[name]:
        raise ValueError(f"expected one of {', '.join(sorted(_CHOICES[name]))}")
    if name == "server" and not text.startswith("https://"):
        raise ValueError("only https:// URLs are supported")
