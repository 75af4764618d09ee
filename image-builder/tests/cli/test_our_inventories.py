"""The inventories that people copy: their workloads agree, no secret is in them, and every file of theirs is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from edgewright.site import load_site

ROOT = Path(__file__).parents[3] / "inventories"
SITES = sorted(path.parent.name for path in ROOT.glob("*/hosts.yml"))
WORKLOADS = ("edge_inference_services", "edge_virtual_machines")


def workloads(site: str) -> dict[str, Any]:
    (host, *_) = load_site(ROOT / site).hosts
    return {name: host.variables[name] for name in WORKLOADS}


def test_the_three_sites_are_there() -> None:
    assert SITES == ["demo", "plant", "shop"]


def test_shop_runs_the_workloads_of_demo_on_another_runtime() -> None:
    demo, shop = workloads("demo"), workloads("shop")
    for machine in demo["edge_virtual_machines"]:
        # What KubeVirt does not have: the old chipset, and IDE.
        assert (machine["machine"], machine["disks"][0]["bus"]) == ("pc", "ide")
        machine["machine"], machine["disks"][0]["bus"] = "q35", "sata"
    assert shop == demo


def test_plant_is_a_cluster_that_survives_a_server() -> None:
    site = load_site(ROOT / "plant")
    groups: dict[str, list[str]] = {}
    for host in site.hosts:
        for group in host.groups:
            groups.setdefault(group, []).append(host.name)
    assert {name: len(hosts) for name, hosts in groups.items()} == {"k3s_server": 3, "k3s_agent": 2, "gpu": 1}
    card = site.host(groups["gpu"][0]).variables
    (manifest,) = card["edge_kubernetes"]["manifests"]
    document = yaml.safe_load((ROOT / "plant" / manifest.removeprefix("file:")).read_text())
    pod = document["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == card["k3s__node_labels"]
    (taint,) = card["k3s__node_taints"]
    key, _, effect = taint.partition("=")[0], "=", taint.rpartition(":")[2]
    assert {"key": key, "operator": "Exists", "effect": effect} in pod["tolerations"]


@pytest.mark.parametrize("site", SITES)
def test_no_file_of_a_site_goes_unread(site: str) -> None:
    assert load_site(ROOT / site).orphans == ()


@pytest.mark.parametrize("site", SITES)
def test_no_secret_is_in_clear(site: str) -> None:
    """A token or password is a template of a vault's variable, or nothing at all."""
    found = []
    for path in (ROOT / site).rglob("*"):
        if path.is_file() and path.name != "site.lock.yml":
            for line in path.read_text().splitlines():
                match = re.match(r"\s*(\S*(?:token|password|secret|private_key)\S*):\s*([^#\s].*)", line, re.IGNORECASE)
                if (
                    match
                    and match[2].strip('"') not in ("true", "false")
                    and not match[2].startswith(('"{{', "!vault"))
                ):
                    found.append(f"{path}: {line}")
    assert found == []
