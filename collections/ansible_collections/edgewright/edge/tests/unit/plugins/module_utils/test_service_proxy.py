"""The proxy's file as nginx reads it: its own check where it is installed, and who is asked first."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
from ansible_collections.edgewright.edge.plugins.module_utils.service_proxy import proxy_file

SERVICE = InferenceService(
    "shelf", "build:containers/x", (Model("m", 1, "file:m"),), port=18480, rolling_ports=(18481, 18482)
)


@pytest.mark.parametrize("exposure", ["node", "internal"])
def test_nginx_accepts_it(tmp_path, exposure):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    text = proxy_file(dataclasses.replace(SERVICE, exposure=exposure))
    folder = f"pid {tmp_path}/pid; error_log {tmp_path}/log;"
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(f"{folder} events {{}} http {{ {places} {text} }}")
    done = subprocess.run(
        [nginx, "-t", "-e", str(tmp_path / "log"), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_stand_in_is_asked_last_and_an_internal_service_listens_on_loopback_only():
    assert re.findall(r"server 127.0.0.1:(\d+) max_fails=0( backup)?;", proxy_file(SERVICE)) == [
        ("18481", ""),
        ("18481", ""),
        ("18482", " backup"),
    ]
    assert re.findall(r"listen (.*);", proxy_file(SERVICE)) == ["18480", "[::]:18480"]
    internal = proxy_file(dataclasses.replace(SERVICE, exposure="internal"))
    assert re.findall(r"listen (.*);", internal) == ["127.0.0.1:18480"]
