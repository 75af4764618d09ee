"""The site's ingress where podman runs the workloads: settings of an nginx of its own (nginx 1.26).

It is no site of the node's own nginx.service: proxies of services with ``rolling_ports`` are there, and a certificate
that cannot be read must not take these away.

Nothing is kept back: bodies pass as they come, in both directions, and none is written to the node's disk. Connections
to a service are kept for less time than servers keep them (uvicorn: five seconds), so that none is used as it closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.ingress import (
    CA_PATH,
    HTTP_PORT,
    HTTPS_PORT,
    Route,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress

RUNTIME_FOLDER: Final = "/run/edgewright-ingress"
STATE_FOLDER: Final = "/var/lib/edgewright/ingress"
CLIENTS_FILE: Final = "/etc/edgewright/ingress/clients.crt"
"""Certificates of the authorities that clients must have one of."""
_HEADERS: Final = {
    "Host": "$http_host",
    "Connection": "$ingress_connection",
    "Upgrade": "$http_upgrade",
    # What a client says of itself there is not believed.
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Host": "$http_host",
    "X-Forwarded-Proto": "https",
}
_AWAY: Final = '{"error":"the service is not there at the moment: try again"}'


def proxy_settings(ingress: Ingress, ports: Mapping[str, int]) -> str:
    """Render nginx's whole configuration.

    Args:
        ingress: one that ``ingress.problems`` has nothing against.
        ports: of the node's inference services, by name, in the order they are declared.
    """
    routes = ingress.all_routes(ports)
    # The one for every name is first, and the default.
    hosts = ["", *dict.fromkeys(route.host for route in routes if route.host)]
    servers = [_server(host, _seen_from(host, routes), ports) for host in hosts]
    upstreams = [_upstream(route, ports) for route in {_upstream_name(route): route for route in routes}.values()]
    limit = "0" if ingress.max_body_size is None else str(ingress.max_body_size)
    temporary = "".join(
        f"    {kind}_temp_path {RUNTIME_FOLDER}/{kind.replace('_', '-')};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    clients = (
        f"    ssl_client_certificate {CLIENTS_FILE};\n    ssl_verify_client on;\n    ssl_verify_depth 3;\n"
        if ingress.client_ca
        else ""
    )
    return f"""user www-data;
worker_processes auto;
pid {RUNTIME_FOLDER}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
{temporary}    client_max_body_size {limit};
    client_body_timeout {ingress.timeout}s;
    send_timeout {ingress.timeout}s;
    keepalive_timeout 75s;
    server_names_hash_bucket_size 512;
    http2 on;
    ssl_certificate {STATE_FOLDER}/tls.pem;
    ssl_certificate_key {STATE_FOLDER}/tls.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:ingress:1m;
    ssl_session_timeout 1h;
{clients}    map $http_upgrade $ingress_connection {{
        default upgrade;
        "" "";
    }}
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_connect_timeout 3s;
    proxy_read_timeout {ingress.timeout}s;
    proxy_send_timeout {ingress.timeout}s;
{"".join(upstreams)}    server {{
{_listen(HTTP_PORT, "default_server")}        location / {{
            return 308 https://$host$request_uri;
        }}
        location = {CA_PATH} {{
            default_type application/x-x509-ca-cert;
            alias {STATE_FOLDER}/ca.crt;
        }}
    }}
{"".join(servers)}}}
"""


def _seen_from(host: str, routes: Iterable[Route]) -> list[Route]:
    """Return what is reached under a host: its own routes, and those of every host that they leave room for."""
    own = [route for route in routes if route.host == host]
    if not host:
        return own
    others = [route for route in routes if not route.host]
    return own + [route for route in others if not any(_covers(mine.path, route.path) for mine in own)]


def _covers(outer: str, path: str) -> bool:
    return outer == "/" or path == outer or path.startswith(f"{outer}/")


def _server(host: str, routes: Sequence[Route], ports: Mapping[str, int]) -> str:
    listen = _listen(HTTPS_PORT, "ssl" if host else "ssl default_server")
    name = f"        server_name {host};\n" if host else ""
    root = (
        ""
        if any(route.path == "/" for route in routes)
        else "        location / {\n            return 404;\n        }\n"
    )
    locations = "".join(_location(route) for route in routes)
    away = (
        "        location @away {\n            default_type application/json;\n"
        f"            return 503 '{_AWAY}';\n        }}\n"
        if any(route.target in ports and not route.is_machine for route in routes)
        else ""
    )
    return f"    server {{\n{listen}{name}{root}{locations}{away}    }}\n"


def _location(route: Route) -> str:
    """Render a route: a URI after the upstream takes the place of the path, which alone is the target's root."""
    upstream = f"http://{_upstream_name(route)}"
    lines = [f"proxy_set_header {name} {value};" for name, value in _HEADERS.items()]
    if route.path != "/":
        lines.append(f"proxy_set_header X-Forwarded-Prefix {route.path};")
    if not route.is_machine:
        # As the Open Inference Protocol tells an error.
        lines.append("error_page 502 = @away;")
    settings = "".join(f"            {line}\n" for line in lines)
    if route.path == "/":
        return f"        location / {{\n            proxy_pass {upstream};\n{settings}        }}\n"
    return "".join(
        f"        location {match} {{\n            proxy_pass {upstream}/;\n{settings}        }}\n"
        for match in (f"= {route.path}", f"{route.path}/")
    )


def _upstream(route: Route, ports: Mapping[str, int]) -> str:
    address = f"{_bracketed(route.address)}:{route.port}" if route.is_machine else f"127.0.0.1:{ports[route.target]}"
    return (
        f"    upstream {_upstream_name(route)} {{\n        server {address} max_fails=0;\n        keepalive 16;\n"
        "        keepalive_timeout 3s;\n    }\n"
    )


def _upstream_name(route: Route) -> str:
    if route.is_machine:
        return f"machine-{route.target}-{route.address.replace(':', '-')}-{route.port}"
    return f"service-{route.target}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _listen(port: int, flags: str) -> str:
    return f"        listen {port} {flags};\n        listen [::]:{port} {flags};\n"
