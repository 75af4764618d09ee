"""k3s's ``registries.yaml``: mirrors and credentials of container registries.

The form is that of the rancher/wharfie library which k3s reads it with; k3s passes over keys that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, boolean, text

LOOPBACK: Final = "http://127.0.0.1:5000"
"""Where the read-only registry of an image-built node listens."""
_REGISTRY: Final = re.compile(r"\*|[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?", re.ASCII)
# A replacement of Go's regexp package: $1 or ${1}.
_NOTHING: Final[dict[str, Any]] = {}
_GROUP: Final = re.compile(r"\$\{?([0-9]+)\}?", re.ASCII)


def read_registries(
    data: object, *, loopback: Iterable[str] = (), embedded: bool = False, where: str = "k3s__registries"
) -> dict[str, Any]:
    """Read ``k3s__registries`` and add the loopback registry of an image-built node; nothing at all is ``{}``.

    Args:
        data: mapping with ``mirrors`` and ``configs`` as in registries.yaml.
        loopback: registries (``docker.io``) whose images are in the node's own registry below a folder of their name.
        embedded: whether nodes give each other their images, which needs at least one mirror.
        where: name of the variable.

    Raises:
        EdgeError: everything that is wrong in it.
    """
    fields = Fields({} if data is None else data, where=where, known=("mirrors", "configs"))
    mirrors = fields.build("mirrors", lambda value, at: _each(value, at, _mirror), default=_NOTHING)
    configs = fields.build("configs", lambda value, at: _each(value, at, _config), default=_NOTHING)
    own = sorted(set(loopback))
    for registry in own:
        if mirrors and registry in mirrors:
            fields.problems.add(
                f"{where}.mirrors.{registry}",
                "has the node's own registry for a mirror already",
                remedy="Leave it out for nodes that are built as an image.",
            )
        if configs and registry in configs:
            # k3s keeps a registry's own endpoint when there is a 'configs' entry for it, whatever else is said.
            fields.problems.add(
                f"{where}.configs.{registry}",
                "makes k3s ask that registry over the network",
                remedy="Leave it out for nodes that are built as an image.",
            )
    fields.raise_if_any()
    if embedded and not mirrors and not own:
        fields.problems.add(
            f"{where}.mirrors",
            "names no registry whose images nodes could give each other",
            remedy="Add 'mirrors: {\"*\": {}}', or set 'k3s__embedded_registry: false'.",
        )
    fields.raise_if_any()
    mirrors = {
        **mirrors,
        **{registry: {"endpoint": [LOOPBACK], "rewrite": {"^(.*)$": f"{registry}/$1"}} for registry in own},
    }
    found = {"mirrors": dict(sorted(mirrors.items())), "configs": dict(sorted(configs.items()))}
    return {key: value for key, value in found.items() if value}


def _each(data: object, where: str, make: Any) -> dict[str, Any]:
    problems = Problems()
    if not isinstance(data, Mapping):
        problems.add(where, "must be a mapping", found=type(data).__name__, expected="an entry for each registry")
        problems.raise_if_any()
        return {}
    made = {}
    for name, value in data.items():
        at = f"{where}.{name}"
        if not isinstance(name, str) or _REGISTRY.fullmatch(name) is None:
            problems.add(at, "is no registry", expected='a host with port if any, or "*"')
            continue
        try:
            made[name] = make({} if value is None else value, at)
        except EdgeError as error:
            problems.extend(error)
    problems.raise_if_any()
    return made


def _mirror(data: object, where: str) -> dict[str, Any]:
    fields = Fields(data, where=where, known=("endpoint", "rewrite"))
    endpoints = [value for _, value in fields.read_list("endpoint", _endpoint)]
    rewrite = fields.read("rewrite", _rewrite, default=_NOTHING)
    fields.raise_if_any()
    found: dict[str, Any] = {"endpoint": endpoints} if endpoints else {}
    return {**found, "rewrite": rewrite} if rewrite else found


def _config(data: object, where: str) -> dict[str, Any]:
    fields = Fields(data, where=where, known=("auth", "tls"))
    auth = fields.build("auth", _auth, default=_NOTHING)
    tls = fields.build("tls", _tls, default=_NOTHING)
    fields.raise_if_any()
    return {key: value for key, value in (("auth", auth), ("tls", tls)) if value}


def _auth(data: object, where: str) -> dict[str, Any]:
    known = ("username", "password", "token", "auth")
    fields = Fields(data, where=where, known=known)
    auth: dict[str, Any] = {
        key: value for key in known if (value := fields.read(key, _secret, optional=True)) is not None
    }
    if not fields.problems.found and ("username" in auth) != ("password" in auth):
        fields.problems.add(where, "has one of user name and password", expected="both, or 'auth' or 'token'")
    fields.raise_if_any()
    return auth


def _tls(data: object, where: str) -> dict[str, Any]:
    fields = Fields(data, where=where, known=("ca_file", "cert_file", "key_file", "insecure_skip_verify"))
    tls: dict[str, Any] = {
        key: value
        for key in ("ca_file", "cert_file", "key_file")
        if (value := fields.read(key, _absolute, optional=True)) is not None
    }
    if fields.read("insecure_skip_verify", boolean, default=False):
        tls["insecure_skip_verify"] = True
    if not fields.problems.found and ("cert_file" in tls) != ("key_file" in tls):
        fields.problems.add(where, "has one of certificate and key", expected="both 'cert_file' and 'key_file'")
    fields.raise_if_any()
    return tls


def _endpoint(value: object) -> str:
    endpoint = str(text(value))
    expected = "http(s)://<host>[:<port>][/<path>], without user and password"
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or port == 0 or "@" in parts.netloc:
        raise UnfitError(
            "is no endpoint",
            expected=expected,
            remedy="Put user and password under 'configs'." if "@" in endpoint else "",
            secret="@" in endpoint,
        )
    return endpoint


def _rewrite(value: object) -> dict[str, Any]:
    expected = 'a mapping of pattern to replacement, as {"^(.*)$": "hub/$1"}'
    if not isinstance(value, Mapping) or not all(
        isinstance(part, str) and part for pair in value.items() for part in pair
    ):
        raise UnfitError("is no rewrite", expected=expected)
    for pattern, replacement in value.items():
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise UnfitError(f"has a pattern that is none ({error})", expected=expected) from None
        if any(int(number) > groups for number in _GROUP.findall(replacement)):
            raise UnfitError("names a group that its pattern does not have", expected=expected)
    return {str(pattern): str(replacement) for pattern, replacement in value.items()}


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise UnfitError("must be a string", expected="a string", secret=True)
    return str(value)


def _absolute(value: object) -> str:
    path = str(text(value))
    if not path.startswith("/"):
        raise UnfitError("must be an absolute path", expected="a path on the node, as /etc/ssl/certs/site.pem")
    return path
