"""What a configure phase may leave in a host's layer.

The sandbox and the site are real; the tree is tiny, and in place of Ansible its ``python3`` is a shell script that does
what a role would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.tools.process import ToolError
from edgewright.tools.sandbox import as_root

from .conftest import SECRET
from .role_scripts import layer_of

if TYPE_CHECKING:
    from edgewright.stages.stage import Context

pytestmark = pytest.mark.usefixtures("namespaces")


def configure(context: Context, tree: Path, inventory: Path, script: str) -> Path:
    """Make the layer of a phase that does what ``script`` says; return the folder with etc and var."""
    layer = layer_of(context, tree, inventory, script)
    try:
        layer.build(context)
    finally:
        known = layer.install.output(context.cache) / "tree/etc/known"
        assert known.read_text() == "as installed\n", "a layer must not change the tree that it is a difference to"
    return layer.output(context.cache) / "layer"


def test_only_what_differs_is_in_the_layer(context: Context, tree: Path, inventory: Path) -> None:
    layer = configure(
        context, tree, inventory, "mkdir -p /etc/app /var/lib/app; echo 1 >/etc/app/a; echo 2 >/var/lib/app/b"
    )
    files = sorted(str(path.relative_to(layer)) for path in layer.rglob("*") if path.is_file())
    assert files == ["digest", "etc/app/a", "var/lib/app/b"]
    assert (layer / "etc/app/a").stat().st_mtime == context.epoch


def test_a_layer_says_nothing_of_the_machine_it_was_made_on(context: Context, tree: Path, inventory: Path) -> None:
    layer = configure(context, tree, inventory, "mkdir /etc/app; echo changed >/etc/known; touch /etc/app/a")
    marks = {str(path.relative_to(layer)): os.listxattr(path, follow_symlinks=False) for path in layer.rglob("*")}
    assert {name: names for name, names in marks.items() if any("overlay" in mark for mark in names)} == {}


def test_a_changed_file_is_there_with_its_new_text_only(context: Context, tree: Path, inventory: Path) -> None:
    layer = configure(context, tree, inventory, "echo changed >/etc/known")
    assert (layer / "etc/known").read_text() == "changed\n"


def test_the_phase_is_told_its_host_and_that_it_is_configure(context: Context, tree: Path, inventory: Path) -> None:
    layer = configure(context, tree, inventory, 'echo "$@" >/etc/arguments')
    arguments = (layer / "etc/arguments").read_text()
    assert "--limit box" in arguments
    assert "edgewright_image_phase=configure" in arguments
    assert "/site/hosts.yml" in arguments


@pytest.mark.parametrize("place", ["/usr/stray", "/opt-stray", "/srv/stray"])
def test_a_role_that_writes_outside_etc_and_var_is_refused(
    context: Context, tree: Path, inventory: Path, place: str
) -> None:
    with pytest.raises(EdgeError, match=r"box.*wrote outside /etc and /var") as caught:
        configure(context, tree, inventory, f"mkdir -p {Path(place).parent}; echo x >{place}")
    assert f"/{Path(place).parts[1]}" in str(caught.value)
    assert "install phase" in str(caught.value)
    assert not list(context.cache.tmp.iterdir())


@pytest.mark.parametrize(
    "script",
    [f"echo 'psk={SECRET}' >/etc/wifi.conf", f"mkdir -p /var/lib/x; printf '\\000%s' '{SECRET}' >/var/lib/x/wifi.conf"],
    ids=["text", "binary"],
)
def test_a_vaulted_value_in_the_layer_is_refused(context: Context, tree: Path, inventory: Path, script: str) -> None:
    with pytest.raises(EdgeError, match="would put a vaulted value of the inventory into the image") as caught:
        configure(context, tree, inventory, script)
    assert "wifi.conf" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in context.log.read_text()
    left = as_root(
        ["sh", "-c", 'grep -rl -F -e "$1" "$2" || :', "grep", f"psk={SECRET}", context.cache.stages / "node-layer"]
    )
    assert left == b""


def test_a_phase_that_fails_leaves_no_layer(context: Context, tree: Path, inventory: Path) -> None:
    with pytest.raises(ToolError, match="the sky fell"):
        configure(context, tree, inventory, "echo 1 >/etc/half; echo the sky fell >&2; exit 3")
    layers = context.cache.stages / "node-layer"
    assert [path.suffix for path in layers.iterdir()] == [".lock"]


def test_the_layers_digest_tells_of_its_files_and_nothing_of_the_secrets(
    context: Context, tree: Path, inventory: Path
) -> None:
    layer = configure(context, tree, inventory, "mkdir /etc/app; echo 1 >/etc/app/b")
    settings = inventory / "host_vars/box.yml"
    settings.write_text(settings.read_text() + "unrelated: true\n")
    same = configure(context, tree, inventory, "mkdir /etc/app; echo 1 >/etc/app/b")
    assert layer != same
    assert (layer / "digest").read_text() == (same / "digest").read_text()
    other = configure(context, tree, inventory, "mkdir /etc/app; echo 2 >/etc/app/b")
    assert (other / "digest").read_text() != (layer / "digest").read_text()
