"""What podman on a node does after the role ``podman``, asked of podman itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

STORE = "/usr/lib/edgewright/containers/storage"
IMAGE = "localhost/edgewright/tiny:1"
# A container image without any registry: a shell, and the libraries that it names.
IMPORT = (
    "tar --create --dereference /bin/sh /bin/cat $(ldd /bin/sh /bin/cat | grep -o '/lib[^ ]*' | sort -u) 2>/dev/null "
    "| podman --root %s --runroot /run/tiny import --change 'CMD [\"/bin/sh\"]' - %s"
)


@pytest.fixture(scope="module")
def image(host: Any) -> str:
    """An image in the read-only store, put there as an image build would: by another podman."""
    host.check_output(IMPORT, STORE, IMAGE)
    host.check_output(f"umount {STORE}/overlay || :")
    return IMAGE


def test_podman_has_the_settings_of_the_role(host: Any) -> None:
    info = json.loads(host.check_output("podman info --format json"))
    assert info["host"]["logDriver"] == "journald"
    assert info["host"]["networkBackend"] == "netavark"
    assert info["store"]["graphDriverName"] == "overlay"
    assert info["store"]["graphRoot"] == "/var/lib/containers/storage"


def test_image_of_the_read_only_store_runs_in_place(host: Any, image: str) -> None:
    shown = json.loads(host.check_output("podman images --format json"))
    assert [(entry["Names"], entry.get("ReadOnly")) for entry in shown] == [([image], True)]
    assert host.check_output("podman run --rm --network none %s sh -c 'echo it runs'", image) == "it runs"
    own = host.file("/var/lib/containers/storage/overlay-images/images.json")
    assert not own.exists or json.loads(own.content_string) == []


def test_containers_log_to_the_journal(host: Any, image: str) -> None:
    host.check_output("podman run --name talker --network none %s sh -c 'echo said by a container'", image)
    host.check_output("podman rm talker")
    assert "said by a container" in host.check_output("journalctl --output cat CONTAINER_NAME=talker")


def test_no_registry_is_asked(host: Any) -> None:
    asked = host.run("podman run --rm docker.io/library/debian:13 true")
    assert asked.rc != 0
    assert "image not known" in asked.stderr


def test_containers_do_not_update_themselves(host: Any) -> None:
    for unit in ("podman-auto-update.timer", "podman-auto-update.service"):
        assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "masked"


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
