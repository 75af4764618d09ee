"""The proxy before an inference service that podman replaces without a gap, as a file of nginx.

The service has the first of two ports of the loopback address for good, and its stand-in the second one while the
service is replaced. Nothing in the proxy changes meanwhile: it asks the service, and where that refuses the
connection, breaks it off or says that it is not ready, it asks the stand-in (ngx_http_upstream_module, ``backup``).
Inference changes nothing, so a question can be asked twice (``non_idempotent``), which makes up for a connection that
the service closes as it is used.

The service refuses connections as soon as it is to stop, and until it has started (published_port.py).

Connections to the service are kept, and one that cannot be made is tried anew before the stand-in is asked. A
connection for each question uses up ports so quickly that some fall on entries of conntrack that lead to where the
container was before; these are refused or hang.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

_ANSWER_SECONDS: Final = 3600


def proxy_file(service: InferenceService) -> str:
    """Render the file for ``/etc/nginx/conf.d`` of a service with ``rolling_ports``."""
    own, stand_in = service.rolling_ports
    address = "127.0.0.1:" if service.exposure == "internal" else ""
    second = "" if service.exposure == "internal" else f"    listen [::]:{service.port};\n"
    refusal = '{"error":"the service is not there at the moment: try again"}'
    return f"""upstream inference-{service.name} {{
    server 127.0.0.1:{own} max_fails=0;
    server 127.0.0.1:{own} max_fails=0;
    server 127.0.0.1:{stand_in} max_fails=0 backup;
    keepalive 32;
}}
server {{
    listen {address}{service.port};
{second}    access_log off;
    client_max_body_size 0;
    keepalive_timeout 75s;
    location / {{
        proxy_pass http://inference-{service.name};
        proxy_set_header Host $http_host;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 1s;
        proxy_read_timeout {_ANSWER_SECONDS}s;
        proxy_send_timeout {_ANSWER_SECONDS}s;
        proxy_next_upstream error timeout http_503 non_idempotent;
    }}
    error_page 502 = @away;
    location @away {{
        default_type application/json;
        return 503 '{refusal}';
    }}
}}
"""
