"""The site's ingress: one address with TLS for what the site offers, the same description for every runtime."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Fields,
    UnfitError,
    boolean,
    integer,
    nearest,
    text,
)
from ansible_collections.edgewright.edge.plugins.module_utils.names import label
from ansible_collections.edgewright.edge.plugins.module_utils.network import host_address
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB, KIB, size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
    from ansible_collections.edgewright.edge.plugins.module_utils.network import Network
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
CA_PATH: Final = "/ca.crt"
"""Where the certificate of the site's own authority is fetched over HTTP."""
_KEYS: Final = ("names", "addresses", "routes", "every_service", "client_ca", "timeout", "max_body_size")
_ROUTE_KEYS: Final = ("service", "virtual_machine", "address", "port", "path", "host")
# RFC 1123, without a dot at the end; a name of numbers only would be taken for an address.
_HOST: Final = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PEM: Final = re.compile(
    r"\s*(?:-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+", re.ASCII
)
# Unreserved characters of RFC 3986: neither nginx nor Traefik has to decode or quote any of them.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Route:
    """What is reached where.

    Attributes:
        target: name of an inference service or of a virtual machine.
        is_machine: whether it is a virtual machine.
        path: of URLs that lead there; the target sees them without it. ``/`` is all.
        host: name in URLs that lead there; empty for every name and address.
        address: of the virtual machine, where the runtime does not know it.
        port: TCP port of the virtual machine; 0 for a service, which has its own.
    """

    target: str
    path: str
    is_machine: bool = False
    host: str = ""
    address: str = ""
    port: int = 0

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Route:
        """Read one item of ``routes``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=_ROUTE_KEYS)
        service = fields.read("service", label, default="")
        machine = fields.read("virtual_machine", label, default="")
        address = fields.read("address", ip_address, default="")
        port = fields.read("port", integer(1, 65535), default=0)
        host = fields.read("host", host_name, default="")
        path = fields.read("path", _path, default="/" if host else f"/{service or machine}")
        if not fields.problems.found:
            if bool(service) == bool(machine):
                fields.problems.add(
                    where, "must say what it leads to", expected="either 'service' or 'virtual_machine'"
                )
            elif machine and not port:
                fields.problems.add(fields.at("port"), "is missing", remedy="Add the TCP port of the virtual machine.")
            for key in ("address", "port"):
                if service and fields.given(key):
                    fields.problems.add(
                        fields.at(key), "belongs to a virtual machine: a service says its own", remedy="Leave it out."
                    )
        fields.raise_if_any()
        return cls(service or machine, path, bool(machine), host, address, port)


@dataclass(frozen=True)
class Ingress:
    """``edge_ingress`` as it was written.

    Attributes:
        names: host names that lead to it, besides those of routes.
        addresses: IP addresses that lead to it, besides the fixed ones of the node.
        routes: as declared.
        every_service: whether inference services that no route names are reached below their names.
        client_ca: certificates (PEM) of authorities, of which a client must have one; empty lets everybody in.
        timeout: seconds that an answer, or a part of a request, may take.
        max_body_size: bytes that the body of a request may have; ``None`` leaves that to what answers.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    every_service: bool = True
    client_ca: str = ""
    timeout: int = 300
    max_body_size: int | None = None

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> Ingress:
        """Read ``edge_ingress``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=_KEYS)
        names = fields.read_list("names", host_name)
        addresses = fields.read_list("addresses", ip_address)
        routes = fields.build_list("routes", lambda item, at, _: Route.from_inventory(item, at))
        fields.no_duplicates(names, "the name")
        fields.no_duplicates(addresses, "the address")
        fields.no_duplicates(((at, f"{route.host}{route.path}") for at, route in routes), "this host and path")
        read = cls(
            names=tuple(name for _, name in names),
            addresses=tuple(address for _, address in addresses),
            routes=tuple(route for _, route in routes),
            every_service=fields.read("every_service", boolean, default=True),
            client_ca=fields.read("client_ca", _certificates, default=""),
            timeout=fields.read("timeout", integer(1, 86400), default=300),
            max_body_size=fields.read("max_body_size", size(KIB, 64 * GIB), optional=True),
        )
        fields.raise_if_any()
        return read

    def all_routes(self, services: Iterable[str]) -> list[Route]:
        """Return the routes as declared, then those of services that none of them names."""
        named = {route.target for route in self.routes if not route.is_machine}
        more = [name for name in services if name not in named] if self.every_service else []
        return [*self.routes, *(Route(name, f"/{name}") for name in more)]

    def host_names(self) -> list[str]:
        """Return the host names that the inventory says lead to it."""
        return list(dict.fromkeys([*self.names, *(route.host for route in self.routes if route.host)]))

    def subjects(self, nodes: Mapping[str, Network]) -> list[str]:
        """Return the names and addresses that its certificate is for, given the nodes that it is reached at.

        A node itself asks its loopback address, and so does who comes through an SSH tunnel.
        """
        names = [*self.host_names(), *nodes, "localhost"]
        links = [link for network in nodes.values() for link in network.links]
        fixed = [str(address.ip) for link in links for address in link.addresses]
        return list(dict.fromkeys([*names, *self.addresses, *fixed, "127.0.0.1", "::1"]))


def problems(
    ingress: Ingress,
    services: Collection[InferenceService],
    machines: Collection[VirtualMachine],
    *,
    runtime: str,
    where: str,
) -> list[Problem]:
    """Return what of an ingress does not fit what the node, or the cluster, runs; paths are below ``where``."""
    found = Problems()
    kinds = {False: [service.name for service in services], True: [machine.name for machine in machines]}
    for number, route in enumerate(ingress.routes):
        at, key = f"{where}.routes[{number}]", "virtual_machine" if route.is_machine else "service"
        if route.target not in kinds[route.is_machine]:
            what = "is no virtual machine" if route.is_machine else "is no inference service"
            known = kinds[route.is_machine]
            found.add(
                f"{at}.{key}",
                f"{what} of this site",
                found=repr(route.target),
                expected=f"one of {', '.join(known)}" if known else f"one of edge_{key}s, which is empty",
                remedy=nearest(route.target, known),
            )
        elif route.is_machine and runtime == "podman" and not route.address:
            found.add(
                f"{at}.address",
                "is missing: libvirt gives a machine's address to nobody",
                expected="the fixed address of the machine on its network, such as 192.168.122.10",
            )
        elif route.is_machine and runtime == "k3s" and not _has_network(route.target, machines):
            found.add(f"{at}.virtual_machine", "has no network card", found=repr(route.target), remedy="Add 'nics'.")
    taken = {(route.host, route.path) for route in ingress.routes}
    for route in ingress.all_routes(kinds[False])[len(ingress.routes) :]:
        if (route.host, route.path) in taken:
            found.add(
                f"{where}.routes",
                f"has the path of the inference service '{route.target}', which no route names",
                found=route.path,
                remedy=f"Add a route with 'service: {route.target}' and another path, or set 'every_service: false'.",
            )
    if not ingress.all_routes(kinds[False]):
        found.add(
            f"{where}.routes",
            "is empty, and there is no inference service that would be reached by its name",
            remedy="Add a route, or leave 'edge_ingress' out.",
        )
    return found.found


def port_problems(services: Iterable[InferenceService], *, runtime: str) -> list[Problem]:
    """Return which services have a port of the node that its ingress listens at."""
    return [
        Problem(
            f"edge_inference_services[{number}].port", "the site's ingress listens there", str(port), "another port"
        )
        for number, service in enumerate(services)
        for port in (service.port, *service.rolling_ports)
        if port in {HTTP_PORT, HTTPS_PORT} and (runtime == "podman" or service.exposure == "node")
    ]


def ip_address(value: object) -> str:
    """Accept the IP address of a host, without prefix length; return its usual form.

    Raises:
        UnfitError: it is not one, or one with a zone, which says something on a single machine only.
    """
    address = str(host_address(value))
    if "%" in address:
        raise UnfitError("has a zone, which no certificate can have", expected="an address of another scope")
    return address


def host_name(value: object) -> str:
    """Accept a host name (RFC 1123) in lower case.

    Raises:
        UnfitError: it is not one: an address, a wildcard, one with a port or a scheme.
    """
    name = text(value)
    if _HOST.fullmatch(name) is None:
        proper = name.lower().rstrip(".")
        raise UnfitError(
            "is not a host name",
            expected="labels of a-z, 0-9 and '-' with dots between them, such as shop.example.org",
            remedy=f"Use '{proper}'." if proper != name and _HOST.fullmatch(proper) else "",
        )
    return name


def _has_network(name: str, machines: Iterable[VirtualMachine]) -> bool:
    return any(machine.nics for machine in machines if machine.name == name)


def _certificates(value: object) -> str:
    if not isinstance(value, str) or _PEM.fullmatch(value) is None:
        raise UnfitError("is no certificate", expected="PEM: lines from '-----BEGIN CERTIFICATE-----' on", secret=True)
    return value.strip() + "\n"


def _path(value: object) -> str:
    path = text(value)
    segments = path[1:].split("/")
    fits = path == "/" or all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in segments)
    if not path.startswith("/") or not fits:
        proper = "/" + path.strip("/")
        raise UnfitError(
            "is not a path",
            expected="'/', or '/' and words of letters, digits, '-', '.', '_' and '~' with '/' between them",
            remedy=f"Use '{proper}'." if proper != path and all(map(_SEGMENT.fullmatch, proper[1:].split("/"))) else "",
        )
    return path
