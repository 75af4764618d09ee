"""docs/kubernetes.md is true: the code knows its versions, its variables exist, its example can be copied and grown."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Cluster
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import TESTED, Release, refusals
from ansible_collections.edgewright.edge.plugins.module_utils.site import VARIABLES
from edgewright.site import load_site
from edgewright.site_check import refuse_bad_site

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
ROLES = ROOT / "collections/ansible_collections/edgewright/edge/roles"


def rows(head: str) -> list[list[str]]:
    """The rows of the table with this head, cell by cell; ``none`` is empty."""
    (table,) = re.findall(rf"^\| {re.escape(head)} \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    found = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [["" if cell == "none" else cell for cell in row] for row in found]


def test_the_tested_combinations_are_those_of_the_code() -> None:
    told = [Release(k3s, kubevirt or None, cdi or None) for k3s, kubevirt, cdi in rows("k3s | KubeVirt | CDI")]
    assert told == list(TESTED)


def test_none_of_the_tested_combinations_is_refused() -> None:
    assert [refusals(each.k3s, each.kubevirt, each.cdi) for each in TESTED] == [[]] * len(TESTED)


@pytest.mark.parametrize("row", rows("k3s | KubeVirt | CDI | because"), ids=lambda row: f"{row[0]} {row[1]} {row[2]}")
def test_a_refused_combination_is_refused_for_that_reason(row: list[str]) -> None:
    k3s, kubevirt, cdi, reason = row
    assert [told for told in refusals(k3s, kubevirt or None, cdi or None) if reason in told]


def test_numbers_of_servers_are_as_told() -> None:
    stores = {
        int(count): state
        for count, state, _ in rows("hosts in `k3s_server` | the cluster's state | survives the loss of")
    }
    for count in range(1, 6):
        servers = [f"server-{number}" for number in range(count)]
        if count in stores:
            assert Cluster.from_groups(servers).datastore == stores[count].split(maxsplit=1)[0].lower()
        else:
            with pytest.raises(EdgeError):
                Cluster.from_groups(servers)


def variables() -> Iterator[str]:
    for names, _ in rows("variable | means"):
        yield from names.replace("`", "").split(", ")


def test_every_variable_exists() -> None:
    known = set(VARIABLES)
    for role in ("k3s", "kubevirt"):
        known |= set(
            yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
        )
    assert set(variables()) <= known


def test_a_copy_of_the_shop_grows_to_three_servers(tmp_path: Path) -> None:
    """The steps of the page, as far as an inventory goes."""
    site = tmp_path / "mine"
    shutil.copytree(ROOT / "inventories/shop", site)
    refuse_bad_site(load_site(site))
    (site / "hosts.yml").write_text(
        "all:\n  children:\n    k3s_server:\n      hosts:\n        shop-01:\n        shop-02:\n        shop-03:\n"
    )
    first = (site / "host_vars/shop-01.yml").read_text()
    for number in (2, 3):
        text = first.replace("ed:9e:21", f"ed:9e:2{number}").replace("10.0.2.15", f"10.0.2.{number}")
        (site / f"host_vars/shop-0{number}.yml").write_text(text)
    with (site / "group_vars/all.yml").open("a") as stream:
        stream.write("k3s__token: of-a-vault\n")
    refuse_bad_site(load_site(site))
