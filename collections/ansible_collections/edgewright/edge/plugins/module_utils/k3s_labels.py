"""Labels and taints of a node, as the kubelet takes them from its command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, nearest, text

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PREFIX: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# A kubelet does not start with other labels of these domains (Kubernetes' NodeRestriction).
_DOMAINS: Final = ("kubernetes.io", "k8s.io")
_OWN_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_ALLOWED: Final = frozenset(
    {
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)


def labels(data: object, *, where: str) -> dict[str, str]:
    """Read a mapping of label to value, sorted by label.

    Raises:
        EdgeError: every malformed label or value, and labels that a node may not give itself.
    """
    problems = Problems()
    read = {}
    if data is not None and not isinstance(data, Mapping):
        problems.add(where, "must be a mapping", found=repr(data), expected="label: value")
    for key, value in data.items() if isinstance(data, Mapping) else ():
        try:
            read[_own(_key(key))] = _value(value)
        except UnfitError as error:
            problems.add(f"{where}.{key}", error.what, found=repr(value), expected=error.expected, remedy=error.remedy)
    problems.raise_if_any()
    return dict(sorted(read.items()))


def taint(value: object) -> str:
    """Accept a taint: ``key=value:Effect`` or ``key:Effect``.

    Raises:
        UnfitError: it is none.
    """
    written = str(text(value))
    head, _, effect = written.rpartition(":")
    key, _, setting = head.partition("=")
    if effect not in _EFFECTS:
        raise UnfitError(
            "has no effect of a taint",
            expected=f"<key>=<value>:<effect>, the effect one of {', '.join(_EFFECTS)}",
            remedy=nearest(effect, _EFFECTS),
        )
    _key(key)
    _value(setting)
    return written


def _own(name: str) -> str:
    prefix = name.rpartition("/")[0]
    if _is_within(prefix, _DOMAINS) and name not in _ALLOWED and not _is_within(prefix, _OWN_DOMAINS):
        raise UnfitError(
            "is a label that a node may not give itself",
            expected="a prefix of your own, as site.example/gpu",
            remedy="Set it with 'kubectl label node' afterwards if it must be.",
        )
    return name


def _is_within(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)


def _key(value: object) -> str:
    key = str(text(value))
    prefix, slash, name = key.rpartition("/")
    if _NAME.fullmatch(name) is None or (slash and (_PREFIX.fullmatch(prefix) is None or len(prefix) > 253)):
        raise UnfitError("is no label's name", expected="[<domain>/]<name>, the name of at most 63 characters")
    return key


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnfitError("has a value that is no string", expected="a string", remedy="Put it in quotes.")
    setting = str(value)
    if setting and _NAME.fullmatch(setting) is None:
        raise UnfitError("has a value that no label takes", expected="at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'")
    return setting
