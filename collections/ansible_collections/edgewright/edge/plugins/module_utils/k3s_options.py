"""The options of k3s 1.36 as ``config.yaml`` takes them: name, type, who knows it, and whose business it is.

Derived from the flags that the ``server`` and ``agent`` commands declare (k3s ``pkg/cli/cmds``). k3s itself does not
help: a server passes over an unknown key with a warning, an agent does not start because of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Parser,
    UnfitError,
    boolean,
    choice,
    integer,
    is_list,
    nearest,
    text,
)

ROLES: Final = ("server", "agent")

# By type; those of both commands, then those of servers only.
_BOTH: Final = {
    "bool": "alsologtostderr debug disable-default-registry-endpoint docker enable-pprof nonroot-devices "
    "prefer-bundled-bin protect-kernel-defaults rootless selinux with-node-id",
    "int": "v",
    "port": "lb-server-port",
    "list": "airgap-extra-registry kube-proxy-arg kubelet-arg node-external-dns node-external-ip node-internal-dns "
    "node-ip node-label node-taint",
    "string": "bind-address config container-runtime-endpoint data-dir default-runtime flannel-cni-conf flannel-conf "
    "flannel-iface image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint log "
    "node-name pause-image private-registry resolv-conf server snapshotter token token-file vmodule vpn-auth "
    "vpn-auth-file",
}
_AGENT: Final = {"bool": "disable-apiserver-lb"}
_SERVER: Final = {
    "bool": "cluster-init cluster-reset disable-agent disable-apiserver disable-cloud-controller "
    "disable-controller-manager disable-etcd disable-helm-controller disable-kube-proxy disable-network-policy "
    "disable-scheduler embedded-registry etcd-disable-snapshots etcd-expose-metrics etcd-s3 etcd-s3-insecure "
    "etcd-s3-skip-ssl-verify etcd-snapshot-compress flannel-external-ip flannel-ipv6-masq kine-tls "
    "secrets-encryption supervisor-metrics tls-san-security",
    "int": "etcd-s3-retention etcd-snapshot-retention",
    "port": "advertise-port apiserver-port https-listen-port supervisor-port",
    "duration": "etcd-s3-timeout etcd-snapshot-reconcile-interval",
    "mode": "write-kubeconfig-mode",
    "list": "cluster-cidr cluster-dns disable etcd-arg kube-apiserver-arg kube-cloud-controller-arg "
    "kube-cloud-controller-manager-arg kube-controller-arg kube-controller-manager-arg kube-scheduler-arg "
    "service-cidr tls-san",
    "string": "advertise-address agent-token agent-token-file apiserver-bind-address cluster-domain "
    "cluster-reset-restore-path datastore-cafile datastore-certfile datastore-endpoint datastore-keyfile "
    "default-local-storage-path egress-selector-mode etcd-s3-access-key etcd-s3-bucket etcd-s3-bucket-lookup-type "
    "etcd-s3-config-secret etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-proxy etcd-s3-region "
    "etcd-s3-secret-key etcd-s3-session-token etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-schedule-cron "
    "flannel-backend helm-job-image secrets-encryption-provider service-node-port-range servicelb-namespace "
    "system-default-registry write-kubeconfig write-kubeconfig-group",
}
SHORT: Final = {
    "c": "config",
    "d": "data-dir",
    "i": "node-ip",
    "l": "log",
    "o": "write-kubeconfig",
    "s": "server",
    "t": "token",
}
"""One-letter keys, which k3s takes in config.yaml too."""
_CHOICES: Final = {
    "egress-selector-mode": ("agent", "cluster", "pod", "disabled"),
    "etcd-s3-bucket-lookup-type": ("auto", "dns", "path"),
    "flannel-backend": ("none", "vxlan", "host-gw", "wireguard-native"),
    "secrets-encryption-provider": ("aescbc", "secretbox"),
}
_DEFAULTS: Final[Mapping[str, Any]] = {
    "cluster-cidr": ["10.42.0.0/16"],
    "cluster-domain": "cluster.local",
    "egress-selector-mode": "agent",
    "flannel-backend": "vxlan",
    "secrets-encryption-provider": "aescbc",
    "service-cidr": ["10.43.0.0/16"],
}
_COMPONENTS: Final = ("ccm", "coredns", "local-storage", "metrics-server", "runtimes", "servicelb", "traefik")
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+")

_BY_NUMBER: Final = (
    "The datastore follows from the number of servers: SQLite for one, embedded etcd for three and more."
)
_S3_ADVICE: Final = "Put it into a Secret in kube-system and name that with 'etcd-s3-config-secret'."
_OWN: Final = {
    "agent-token": "Set 'k3s__token', or put the token into a file of mode 0600 and name it with 'agent-token-file'.",
    "cluster-cidr": "Set 'k3s__cluster_cidrs'.",
    "cluster-init": _BY_NUMBER,
    "cluster-reset": "Run playbooks/restore.yml.",
    "cluster-reset-restore-path": "Run playbooks/restore.yml.",
    "config": "The file is always /etc/rancher/k3s/config.yaml.",
    "data-dir": "State is always in /var/lib/rancher/k3s; mount another disk there.",
    "datastore-cafile": _BY_NUMBER,
    "datastore-certfile": _BY_NUMBER,
    "datastore-endpoint": _BY_NUMBER,
    "datastore-keyfile": _BY_NUMBER,
    "embedded-registry": "Set 'k3s__embedded_registry'.",
    "etcd-s3-access-key": _S3_ADVICE,
    "etcd-s3-secret-key": _S3_ADVICE,
    "etcd-s3-session-token": _S3_ADVICE,
    "node-ip": "Set 'k3s__node_ips'.",
    "node-label": "Set 'k3s__node_labels'.",
    "node-name": "A node has the name of its inventory host.",
    "node-taint": "Set 'k3s__node_taints'.",
    "private-registry": "Set 'k3s__registries'.",
    "protect-kernel-defaults": "Set 'k3s__cis_profile', which sets the kernel's side too.",
    "rootless": "Nodes run k3s as root.",
    "secrets-encryption": "Set 'k3s__secrets_encryption'.",
    "server": "Set 'k3s__api_endpoint'.",
    "service-cidr": "Set 'k3s__service_cidrs'.",
    "token": "Set 'k3s__token'.",
    "token-file": "Set 'k3s__token'.",
    "vpn-auth": "Put it into a file of mode 0600 and name it with 'vpn-auth-file'.",
    "with-node-id": "A node has the name of its inventory host.",
    "write-kubeconfig": "It is always /etc/rancher/k3s/k3s.yaml.",
}
"""Keys that ``k3s__config`` may not have, with what to do instead."""

SECRET: Final = frozenset(
    {
        "agent-token",
        "datastore-endpoint",
        "etcd-s3-access-key",
        "etcd-s3-secret-key",
        "etcd-s3-session-token",
        "token",
        "vpn-auth",
    }
)
"""Keys whose value nobody may see."""

CLUSTER_WIDE: Final = frozenset(
    {
        "agent-token",
        "cluster-cidr",
        "cluster-dns",
        "cluster-domain",
        "disable",
        "disable-cloud-controller",
        "disable-helm-controller",
        "disable-network-policy",
        "egress-selector-mode",
        "embedded-registry",
        "flannel-backend",
        "flannel-external-ip",
        "flannel-ipv6-masq",
        "secrets-encryption",
        "secrets-encryption-provider",
        "service-cidr",
        "supervisor-metrics",
    }
)
"""Keys that all servers must agree on.

A server that joins compares most of them and refuses to start (k3s ``CriticalControlArgs``); the rest of ``disable``
would be deployed by one server and deleted by the other.
"""

FIRST_START: Final = frozenset(
    {
        "cluster-cidr",
        "cluster-domain",
        "flannel-backend",
        "node-label",
        "node-name",
        "node-taint",
        "secrets-encryption",
        "service-cidr",
    }
)
"""Keys that say how a node or a cluster begins; later changes of them do nothing, or break it."""


@dataclass(frozen=True)
class Option:
    """One option: its type (``bool``, ``int``, ``port``, ``duration``, ``mode``, ``list``, ``string``), its roles."""

    name: str
    type: str
    roles: tuple[str, ...]


def _options() -> dict[str, Option]:
    found = {}
    for table, roles in ((_BOTH, ROLES), (_AGENT, ("agent",)), (_SERVER, ("server",))):
        for kind, names in table.items():
            for name in names.split():
                found[name] = Option(name, kind, roles)
    return found


OPTIONS: Final[Mapping[str, Option]] = _options()


def check_config(config: object, role: str, *, where: str = "k3s__config") -> list[Problem]:
    """Return everything that is wrong in a configuration of a server or an agent."""
    try:
        read_config(config, role, where=where)
    except EdgeError as error:
        return error.problems
    return []


def read_config(config: object, role: str, *, where: str = "k3s__config", whole: bool = False) -> dict[str, Any]:
    """Read ``k3s__config`` for a role; a list is a list whether it was written as one or as one string.

    A key may have ``+`` after it, which says in k3s that a list goes on: the role's own entries come first in any case,
    so it is the same with and without.

    Args:
        config: the mapping.
        role: ``server`` or ``agent``.
        where: what problems begin with.
        whole: it is a file of its own, and not what the role ``k3s`` puts over its part: nothing is the role's alone.

    Raises:
        EdgeError: every unknown key, wrong value, and key that is not the user's to set; no secret is shown.
    """
    problems = Problems()
    read: dict[str, Any] = {}
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        problems.add(where, "must be a mapping", found=repr(config), expected="options of k3s as config.yaml has them")
    for key, value in config.items() if isinstance(config, Mapping) else ():
        name = str(key).removesuffix("+")
        at = f"{where}.{key}"
        option = OPTIONS.get(name)
        if problem := _not_to_set(name, option, role, at, whole=whole):
            problems.found.append(problem)
            continue
        if option is None:
            continue
        if str(key).endswith("+") and option.type != "list":
            problems.add(at, "only lists go on", remedy=f"Write '{name}'.")
        elif name in read:
            problems.add(at, f"'{name}' is given twice", remedy=f"Put all of it under '{name}'.")
        else:
            try:
                read[name] = _PARSERS[option.type](option)(value)
                if name == "kubelet-arg" and not whole:
                    _not_filled(read[name])
            except UnfitError as error:
                found = "" if name in SECRET else repr(value)
                problems.add(at, error.what, found=found, expected=error.expected, remedy=error.remedy)
    problems.raise_if_any()
    return read


def differences(configs: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Return the keys in which servers differ and must not; ``configs`` has each server's configuration by its name."""
    problems = Problems()
    hosts = list(configs)
    for host in hosts[1:]:
        for name in sorted(CLUSTER_WIDE):
            here, there = (_comparable(name, configs[each].get(name)) for each in (host, hosts[0]))
            if here != there:
                shown = ("", "") if name in SECRET else (_shown(here), f"{_shown(there)}, as {hosts[0]} has")
                problems.add(
                    f"{host}: k3s__config.{name}",
                    "differs between servers of one cluster",
                    found=shown[0],
                    expected=shown[1],
                    remedy="Set it in group_vars/k3s_server.yml only.",
                )
    return problems.found


def refused_changes(before: Mapping[str, Any], after: Mapping[str, Any], *, where: str) -> list[Problem]:
    """Return the keys that a node which has already started may not change; ``before`` is its config.yaml as it is."""
    problems = Problems()
    for name in sorted(FIRST_START - {"node-label", "node-taint"}):
        was, will = _comparable(name, before.get(name)), _comparable(name, after.get(name))
        if was != will:
            problems.add(
                f"{where}.{name}",
                "takes effect only when a cluster begins",
                found=_shown(will),
                expected=_shown(was),
                remedy="Keep it, or reset the cluster (playbooks/reset.yml) and begin again.",
            )
    return problems.found


def _not_to_set(name: str, option: Option | None, role: str, at: str, *, whole: bool) -> Problem | None:
    own: Mapping[str, str] = {} if whole else _OWN
    if option is None:
        known = [name for name, option in OPTIONS.items() if role in option.roles and name not in own]
        remedy = f"Write '{SHORT[name]}'." if name in SHORT else nearest(name, known)
        return Problem(at, f"is no option of k3s {role}", remedy=remedy)
    if role not in option.roles:
        (only,) = option.roles
        return Problem(at, f"is an option of {only}s, not of {role}s", remedy=f"Move it to group_vars/k3s_{only}.yml.")
    if name in own:
        return Problem(at, "is not set here", remedy=own[name])
    return None


def _bool(_: Option) -> Parser[Any]:
    return boolean


def _int(_: Option) -> Parser[Any]:
    return integer(0, 2**31 - 1)


def _port(_: Option) -> Parser[Any]:
    return integer(1, 65535)


def _duration(_: Option) -> Parser[Any]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
            raise UnfitError("is no duration", expected="numbers with units, as 10m or 1h30m")
        return str(value)

    return parse


def _mode(_: Option) -> Parser[Any]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or re.fullmatch(r"0?[0-7]{3}", value, re.ASCII) is None:
            raise UnfitError(
                "is no file mode", expected='"0600" and the like', remedy="Put it in quotes: YAML reads 0600 as 384."
            )
        return str(value)

    return parse


def _string(option: Option) -> Parser[Any]:
    return choice(*_CHOICES[option.name]) if option.name in _CHOICES else lambda value: str(text(value))


def _list(option: Option) -> Parser[Any]:
    def parse(value: object) -> list[str]:
        items = [value] if isinstance(value, str) else value
        if not is_list(items) or not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
            raise UnfitError("must be a list of strings", expected="a list, one item a line")
        read = [str(text(str(item))) for item in items]
        for item in read:
            if option.name == "disable":
                choice(*_COMPONENTS)(item)
        return read

    return parse


def _not_filled(arguments: list[str]) -> None:
    for item in arguments:
        if item.lstrip("-").partition("=")[0] in {"config", "config-dir"}:
            raise UnfitError(f"has '{item}', a place that the role fills", remedy="Set 'k3s__kubelet'.")


_PARSERS: Final = {
    "bool": _bool,
    "int": _int,
    "port": _port,
    "duration": _duration,
    "mode": _mode,
    "list": _list,
    "string": _string,
}


def _comparable(name: str, value: Any) -> Any:
    """Return what k3s compares: its default for what is not set, and components to leave out in any order."""
    if value is None or value is False or value == []:
        return _DEFAULTS.get(name)
    return sorted(value) if name == "disable" else value


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)
