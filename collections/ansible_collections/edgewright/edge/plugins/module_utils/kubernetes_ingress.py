"""The site's ingress as objects for the Traefik that k3s brings (Traefik 3, providers kubernetesIngress and -CRD).

Ingress says which path leads where. What it has no words for are Traefik's own kinds: that a service sees the path
without its prefix, how large a body may be, how long an answer may take, and which certificate answers who names no
host. Traefik's own command line has the redirection to HTTPS: ``additionalArguments`` of its chart, which have kept
their meaning where the chart's other values changed theirs.

What is reached has a Service for the ingress alone: another role keeps the others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import HTTPS_PORT
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    INFERENCE_SERVICE,
    NAMESPACE,
    SITE_LABEL,
    VIRTUAL_MACHINE,
    WORKLOAD_LABEL,
)
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress, Route

FILE: Final = "edgewright-workloads-ingress.yaml"
"""Sorts after the namespace and the workloads."""
SECRET_FILE: Final = "edgewright-workloads-ingress-tls.json"  # noqa: S105 (a name)
"""Written by the node itself: it has a key."""
NAME: Final = "edgewright-ingress"
KIND: Final = "ingress"
_TRAEFIK: Final = "traefik.io/v1alpha1"
_ANNOTATION: Final = "traefik.ingress.kubernetes.io"
_LONGEST_NAME: Final = 63
_NEEDED: Final = ("traefik", "servicelb")


def component_problems(config: object, *, where: str) -> list[Problem]:
    """Return what a server's options (``k3s__config``) leave out that the ingress is made of."""
    problems = Problems()
    options = config if isinstance(config, dict) else {}
    disabled = options.get("disable") or []
    words = disabled.split(",") if isinstance(disabled, str) else disabled if isinstance(disabled, list) else []
    if missing := [part for part in _NEEDED if part in [str(word).strip() for word in words]]:
        problems.add(
            where,
            "is Traefik on k3s, at ports that its service load balancer gives it",
            found=f"k3s__config.disable: {', '.join(missing)}",
            remedy=f"Take {' and '.join(missing)} out of 'k3s__config.disable', or leave 'edge_ingress' out.",
        )
    if options.get("disable-helm-controller") in {True, "true"}:
        problems.add(
            where,
            "is Traefik on k3s, which its Helm controller installs",
            found="k3s__config.disable-helm-controller: true",
            remedy="Leave that option out, or 'edge_ingress'.",
        )
    return problems.found


def labels(site: str) -> dict[str, str]:
    """Return the labels of each object; those that are no longer declared are found by them."""
    return {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/managed-by": "edgewright",
        SITE_LABEL: site,
        WORKLOAD_LABEL: KIND,
    }


def secret_metadata(site: str) -> dict[str, Any]:
    """Return the metadata of the Secret that has key and certificate."""
    return _meta(NAME, site)


def ingress_objects(ingress: Ingress, services: Iterable[str], *, site: str) -> list[dict[str, Any]]:
    """Render all objects but the Secret; the same ingress is always the same data.

    Args:
        ingress: one that ``ingress.problems`` has nothing against.
        services: names of the cluster's inference services.
        site: name of the site, which labels the objects.
    """
    routes = ingress.all_routes(services)
    objects = [_chart_settings(ingress, site), _default_certificate(site), _transport(ingress, site)]
    if ingress.client_ca:
        objects += _client_authentication(ingress.client_ca, site)
    limit = f"{NAME}-limit"
    if ingress.max_body_size is not None:
        objects.append(_middleware(limit, {"buffering": {"maxRequestBodyBytes": ingress.max_body_size}}, site))
    objects += [_service(route, site) for route in {_service_name(route): route for route in routes}.values()]
    for route in routes:
        middlewares = [limit] if ingress.max_body_size is not None else []
        if route.path != "/":
            middlewares.append(_route_name(route))
            objects.append(_middleware(_route_name(route), {"stripPrefix": {"prefixes": [route.path]}}, site))
        objects.append(_ingress(route, middlewares, site))
    return objects


def _chart_settings(ingress: Ingress, site: str) -> dict[str, Any]:
    """Render settings of k3s's chart of Traefik (docs.k3s.io/add-ons/helm); a chart has one object of these."""
    redirection = "--entryPoints.web.http.redirections.entryPoint"
    # The reading of a whole request, which Traefik ends after a minute: a large body over a slow link takes longer.
    reading = "transport.respondingTimeouts.readTimeout"
    arguments = [
        f"{redirection}.to=:{HTTPS_PORT}",
        f"{redirection}.scheme=https",
        f"{redirection}.permanent=true",
        f"--entryPoints.websecure.{reading}={ingress.timeout}s",
    ]
    return {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChartConfig",
        "metadata": {"name": "traefik", "namespace": "kube-system", "labels": labels(site)},
        "spec": {"valuesContent": yaml_text({"additionalArguments": arguments})},
    }


def _default_certificate(site: str) -> dict[str, Any]:
    """Render which certificate answers who asks by an address, or by a name that no Ingress has."""
    return {
        "apiVersion": _TRAEFIK,
        "kind": "TLSStore",
        "metadata": {**_meta(NAME, site), "name": "default"},
        "spec": {"defaultCertificate": {"secretName": NAME}},
    }


def _client_authentication(authorities: str, site: str) -> list[dict[str, Any]]:
    """Render that clients need a certificate.

    The options of this name hold for all that is asked over TLS. Others hold for the hosts of their routers only, and
    not for who asks by an address (doc.traefik.io, "TLS Options", server name association).
    """
    name = f"{NAME}-clients"
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _meta(name, site),
            "type": "Opaque",
            "stringData": {"ca.crt": authorities},
        },
        {
            "apiVersion": _TRAEFIK,
            "kind": "TLSOption",
            "metadata": {**_meta(NAME, site), "name": "default"},
            "spec": {
                "minVersion": "VersionTLS12",
                "clientAuth": {"secretNames": [name], "clientAuthType": "RequireAndVerifyClientCert"},
            },
        },
    ]


def _transport(ingress: Ingress, site: str) -> dict[str, Any]:
    """Render how long a service is waited for, as nginx does on podman."""
    timeouts = {
        "dialTimeout": "3s",
        "responseHeaderTimeout": f"{ingress.timeout}s",
        # uvicorn closes what is idle for five seconds; none is to be used as it closes.
        "idleConnTimeout": "3s",
    }
    return {
        "apiVersion": _TRAEFIK,
        "kind": "ServersTransport",
        "metadata": _meta(NAME, site),
        "spec": {"forwardingTimeouts": timeouts},
    }


def _middleware(name: str, spec: dict[str, Any], site: str) -> dict[str, Any]:
    return {"apiVersion": _TRAEFIK, "kind": "Middleware", "metadata": _meta(name, site), "spec": spec}


def _service(route: Route, site: str) -> dict[str, Any]:
    kind = VIRTUAL_MACHINE if route.is_machine else INFERENCE_SERVICE
    meta = _meta(_service_name(route), site)
    meta["annotations"] = {f"{_ANNOTATION}/service.serverstransport": _reference(NAME)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            # A virtual machine's labels are those of the pod that it runs in.
            "selector": {"app.kubernetes.io/name": route.target, WORKLOAD_LABEL: kind},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": route.port or "http"}],
        },
    }


def _ingress(route: Route, middlewares: list[str], site: str) -> dict[str, Any]:
    """Render a route. By itself Traefik prefers longer rules: here those with a host come first, then longer paths."""
    meta = _meta(_route_name(route), site)
    meta["annotations"] = {
        f"{_ANNOTATION}/router.entrypoints": "websecure",
        f"{_ANNOTATION}/router.priority": str((100_000 if route.host else 1000) + len(route.path)),
        f"{_ANNOTATION}/router.tls": "true",
    }
    if middlewares:
        references = ",".join(_reference(name) for name in middlewares)
        meta["annotations"][f"{_ANNOTATION}/router.middlewares"] = references
    backend = {"service": {"name": _service_name(route), "port": {"name": "http"}}}
    # Traefik takes a prefix letter by letter: only with the slash does it end where a word ends.
    whole = [{"path": "/", "pathType": "Prefix"}]
    parts = [{"path": route.path, "pathType": "Exact"}, {"path": f"{route.path}/", "pathType": "Prefix"}]
    paths = [{**path, "backend": backend} for path in (whole if route.path == "/" else parts)]
    host = {"host": route.host} if route.host else {}
    hosts = {"hosts": [route.host]} if route.host else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": meta,
        "spec": {
            "ingressClassName": "traefik",
            "tls": [{**hosts, "secretName": NAME}],
            "rules": [{**host, "http": {"paths": paths}}],
        },
    }


def _meta(name: str, site: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": labels(site)}


def _reference(name: str) -> str:
    """Return how an annotation names an object of Traefik's in this namespace."""
    return f"{NAMESPACE}-{name}@kubernetescrd"


def _service_name(route: Route) -> str:
    return _short(f"{NAME}-{route.target}-{route.port}" if route.port else f"{NAME}-{route.target}")


def _route_name(route: Route) -> str:
    digest = hashlib.sha256(f"{route.host}{route.path}".encode()).hexdigest()[:8]
    return _short(f"{NAME}-{route.target}-{digest}")


def _short(name: str) -> str:
    """Return a name that a Service may have; one that is too long ends in a digest of itself."""
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9].rstrip('-')}-{digest}"


def object_names(objects: Iterable[Mapping[str, Any]], kind: str) -> list[str]:
    """Return the names of the objects of a kind, in order."""
    return [entry["metadata"]["name"] for entry in objects if entry["kind"] == kind]
