"""docs/inventory.md is true: each example passes the check, and the tables have the keys that the check knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Run, Write

PAGE = (Path(__file__).parents[3] / "docs" / "inventory.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
DISK = "disks: [{source: 'https://example.org/disk.raw'}]"
MODELS = "models: [{name: m, source: 'https://example.org/m.onnx'}]"
IMAGE = "build:containers/inference-server"

# table in the page → an inventory variable with one unknown key (`zzz`) where that table's keys belong
TABLES = {
    "key": "edge_zzz: 1",
    "`edge_node` key": "edge_node: {zzz: 1}",
    "`edge_network` key": "edge_network: {zzz: 1}",
    "`edge_network.interfaces` key": "edge_network: {interfaces: [{name: a, match: {name: a}, dhcp: true, zzz: 1}]}",
    "`edge_storage` key": "edge_storage: {zzz: 1}",
    "`edge_ingress` key": "edge_ingress: {zzz: 1}",
    "`edge_ingress.routes` key": "edge_ingress: {routes: [{service: a, zzz: 1}]}",
    "`edge_kubernetes` key": "edge_runtime: k3s\nedge_kubernetes: {zzz: 1}",
    "`edge_mirrors` key": "edge_mirrors: [{zzz: 1}]",
    "`edge_inference_services` key": (
        f"edge_inference_services: [{{name: a, image: '{IMAGE}', port: 1, {MODELS}, zzz: 1}}]"
    ),
    "`edge_inference_services.models` key": (
        f"edge_inference_services: [{{name: a, image: '{IMAGE}', port: 1, "
        "models: [{name: m, source: 'https://example.org/m.onnx', zzz: 1}]}]"
    ),
    "`edge_inference_services.accelerator` key": (
        f"edge_inference_services: [{{name: a, image: '{IMAGE}', port: 1, {MODELS}, accelerator: {{zzz: 1}}}}]"
    ),
    "`edge_inference_services.golden` key": (
        f"edge_inference_services: [{{name: a, image: '{IMAGE}', port: 1, {MODELS}, golden: [{{zzz: 1}}]}}]"
    ),
    "`edge_inference_services.probes` key": (
        f"edge_inference_services: [{{name: a, image: '{IMAGE}', port: 1, {MODELS}, probes: {{zzz: 1}}}}]"
    ),
    "`edge_virtual_machines` key": f"edge_virtual_machines: [{{name: a, memory: 1MiB, {DISK}, zzz: 1}}]",
    "`edge_virtual_machines.disks` key": (
        "edge_virtual_machines: [{name: a, memory: 1MiB, disks: [{source: 'https://example.org/disk.raw', zzz: 1}]}]"
    ),
    "`edge_virtual_machines.nics` key": (
        f"edge_virtual_machines: [{{name: a, memory: 1MiB, {DISK}, nics: [{{zzz: 1}}]}}]"
    ),
}


def documented_keys(table: str) -> set[str]:
    """The first column of a table of the page."""
    rows = PAGE.split(f"| {table} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {row.split("|")[1].strip().strip("`") for row in rows}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_passes_the_check(edgewright: Run, inventory: Write, number: int, tmp_path: Path) -> None:
    text = EXAMPLES[number]
    assert yaml.safe_load(text)
    hosts = {"hosts.yml": "k3s_server: {hosts: {box-1: {}}}\n"} if "edge_runtime: k3s" in text else {}
    folder = inventory({**hosts, "host_vars/box-1.yml": text})
    for path in re.findall(r"file:([\w./-]+)", text):
        (tmp_path / "site" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "site" / path).write_text("content")
    done = edgewright("check", "-i", folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_exactly_the_keys_that_the_check_knows(edgewright: Run, inventory: Write, table: str) -> None:
    done = edgewright("check", "-i", inventory({"host_vars/box-1.yml": TABLES[table] + "\n"}))
    (line,) = [line for line in done.stderr.splitlines() if "zzz" in line and "expected one of" in line]
    known = re.split(r", | and ", line.split("expected one of ", 1)[1].split(".", 1)[0])
    assert documented_keys(table) == set(known)


def test_every_table_of_keys_is_tested() -> None:
    assert set(re.findall(r"^\| ([^|]*\bkey) \|", PAGE, flags=re.MULTILINE)) == set(TABLES)
