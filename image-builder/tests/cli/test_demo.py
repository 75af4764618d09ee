"""``edgewright demo`` on k3s where its releases cannot be had: one list, and exit code 3."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from edgewright.lockfile import Lock, Tree
from edgewright.resolve_request import request_of
from edgewright.site import load_site

from .conftest import VALID

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Run, Write

GITHUB = "https://github.com"
RELEASES = [
    f"{GITHUB}/k3s-io/k3s/releases/download/v1.36.5%2Bk3s1/k3s",
    f"{GITHUB}/k3s-io/k3s/releases/download/v1.36.5%2Bk3s1/k3s-images.txt",
    f"{GITHUB}/kubevirt/kubevirt/releases/download/v1.9.0/kubevirt-operator.yaml",
]
IMAGE = "docker.io/library/busybox:1.37.0"


@pytest.fixture
def nowhere() -> str:
    """An address that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def site(inventory: Write, nowhere: str, tmp_path: Path) -> Path:
    """A site on k3s whose mirrors do not answer, and whose Debian packages are locked already."""
    mirrors = [
        {"prefix": f"{GITHUB}/", "location": f"http://{nowhere}/"},
        {"prefix": "docker.io/", "location": f"{nowhere}/hub/", "insecure": True},
    ]
    variables = {"edge_kubernetes": {"images": ["busybox:1.37.0"]}, "edge_mirrors": mirrors}
    text = VALID["group_vars/all.yml"].replace("podman", "k3s")
    text += "".join(f"{name}: {json.dumps(value)}\n" for name, value in variables.items())
    hosts = "all:\n  children:\n    k3s_server:\n      hosts:\n        box-1:\n"
    shown = inventory({"hosts.yml": hosts, "group_vars/all.yml": text})
    request = request_of(load_site(tmp_path / shown))
    Lock(trees={name: Tree(tuple(asked), ()) for name, asked in request.trees.items()}).dump(
        tmp_path / shown / "site.lock.yml"
    )
    return shown


def test_all_that_is_missing_is_listed_with_the_reason_and_how_to_get_it(
    edgewright: Run, site: Path, nowhere: str
) -> None:
    done = edgewright("demo", "-i", site, "--json")
    assert done.returncode == 3, done.stderr
    *listed, last = json.loads(done.stdout)["errors"]
    assert [each["where"] for each in listed] == [*RELEASES, IMAGE]
    assert {each["what"] for each in listed} == {"is not in the store, and cannot be fetched"}
    assert all(nowhere in each["found"] and "refused" in each["found"] for each in listed)
    assert listed[0]["remedy"] == "group_vars/all.yml:4: edge_kubernetes.k3s asks for it."
    assert listed[3]["remedy"] == "group_vars/all.yml:4: edge_kubernetes.images[0] asks for it."
    assert last["where"] == "site"
    assert last["what"] == "4 artifacts of the site are missing, and the container images that 2 of them name"
    for way in ("edgewright lock", "artifacts export PATH", "artifacts import PATH -i site", "edge_mirrors"):
        assert way in last["remedy"]
