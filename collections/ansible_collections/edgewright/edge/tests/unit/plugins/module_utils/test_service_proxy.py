"""Who is asked first, and from where. nginx itself reads the file in the Molecule scenario inference_rolling."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
from ansible_collections.edgewright.edge.plugins.module_utils.service_proxy import proxy_file

SERVICE = InferenceService(
    "shelf", "build:containers/x", (Model("m", 1, "file:m"),), port=18480, rolling_ports=(18481, 18482)
)


def test_the_stand_in_is_asked_last_and_an_internal_service_listens_on_loopback_only():
    assert re.findall(r"server 127.0.0.1:(\d+) max_fails=0( backup)?;", proxy_file(SERVICE)) == [
        ("18481", ""),
        ("18481", ""),
        ("18482", " backup"),
    ]
    assert re.findall(r"listen (.*);", proxy_file(SERVICE)) == ["18480", "[::]:18480"]
    internal = proxy_file(dataclasses.replace(SERVICE, exposure="internal"))
    assert re.findall(r"listen (.*);", internal) == ["127.0.0.1:18480"]
