"""From the real Debian mirror to an installed tree with no network: what the build rests on."""

from __future__ import annotations

import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from edgewright.fetching import Fetching
from edgewright.lockfile import Lock
from edgewright.repository import local_repository
from edgewright.resolve import Resolver
from edgewright.resolve_request import Request

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.reporter import Reporter
    from edgewright.store import Store


@pytest.mark.e2e
def test_mmdebstrap_installs_exactly_the_locked_versions_with_no_network(
    store: Store, tmp_path: Path, reporter: Reporter
) -> None:
    lock = Resolver(store, tmp_path / "apt", reporter).relock(Lock(), Request({"small": ["netbase"]}))
    Fetching(lock, store, tmp_path, reporter).fetch()
    repository = local_repository(lock, "small", store, tmp_path / "repository")
    tmp_path.chmod(0o755)
    root = tmp_path / "root.tar"
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []  # else at least no proxy that works
    argv = [*alone, "mmdebstrap", "--variant=apt", "--include=netbase", "trixie", str(root)]
    argv += [f"deb [trusted=yes] copy:{repository} ./"]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    with tarfile.open(root) as archive:
        status = archive.extractfile("./var/lib/dpkg/status")
        assert status is not None
        stanzas = [dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line) for stanza in (
            status.read().decode().split("\n\n")
        ) if stanza.strip()]  # fmt: skip
    assert {each["Package"]: each["Version"] for each in stanzas} == {
        each.name: each.version for each in lock.tree("small")
    }
    assert all(each["Status"] == "install ok installed" for each in stanzas)
