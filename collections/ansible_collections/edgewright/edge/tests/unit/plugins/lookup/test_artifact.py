"""The lookup in a template, over a lock and a store that the image builder itself wrote."""

from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible
from edgewright.lockfile import Artifact, Lock
from edgewright.store import Store

SOURCE = "pypi:magika==1.0.3#magika/model.onnx"
CONTENT = b"the model"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "hosts.yml").write_text("all: {hosts: {node: {ansible_connection: local}}}\n", encoding="utf-8")
    artifact = Artifact(SOURCE, DIGEST, len(CONTENT), ("https://example.org/magika.whl",))
    Lock(artifacts={SOURCE: artifact}).dump(folder / "site.lock.yml")
    return folder


@pytest.fixture
def stored(tmp_path):
    store = Store(tmp_path / "cache" / "store")
    (tmp_path / "file").write_bytes(CONTENT)
    store.add_file(tmp_path / "file", DIGEST)
    return store.path(DIGEST)


@pytest.fixture
def find(site, tmp_path):
    """Return a function that gives the message of a task whose template has the lookup: paths, or an error."""

    def run(*sources, inventory=site, options="", **environment):
        template = (
            f"{{{{ query('edgewright.edge.artifact', {', '.join([*map(repr, sources), *filter(None, [options])])}) }}}}"
        )
        result = ansible(
            *("ansible", "all", "-i", inventory, "-m", "debug", "-a", json.dumps({"msg": template})),
            **{"EDGEWRIGHT_CACHE": str(tmp_path / "cache"), **environment},
        )
        message = json.loads(result.stdout[result.stdout.index("=> {") + 3 :])["msg"]
        assert (result.returncode == 0) == isinstance(message, list)
        return message

    return run


def test_a_fetched_artifact_is_where_the_builder_put_it(find, stored):
    assert find(SOURCE, SOURCE) == [str(stored)] * 2
    assert stored.read_bytes() == CONTENT


def test_without_a_cache_of_its_own_it_is_the_users(find, stored, tmp_path):
    (tmp_path / "cache").rename(tmp_path / "edgewright")
    found = find(SOURCE, EDGEWRIGHT_CACHE="", XDG_CACHE_HOME=str(tmp_path))
    assert found == [str(stored).replace("/cache/", "/edgewright/")]


def test_what_was_not_fetched_is_told(find):
    message = find(SOURCE)
    assert f"{SOURCE}: has not been fetched; found no " in message
    assert "Run 'edgewright fetch' where there is a network." in message


def test_what_was_cut_short_is_told(find, stored):
    stored.chmod(0o644)
    stored.write_bytes(b"the")
    assert "is damaged in the store; found 3 bytes; expected 9 bytes. Delete" in find(SOURCE)


def test_another_byte_of_the_same_length_is_told_when_asked_to_look(find, stored):
    stored.chmod(0o644)
    stored.write_bytes(CONTENT[:-1] + b"L")
    assert find(SOURCE) == [str(stored)]
    message = find(SOURCE, options="verify=true")
    assert f"{SOURCE}: is damaged in the store; found sha256:" in message
    assert f"expected {DIGEST}" in message


@pytest.mark.usefixtures("stored")
def test_a_file_that_is_no_program_is_told_when_a_program_is_asked_for(find):
    assert f"{SOURCE}: is no program" in find(SOURCE, options="program_for='amd64'")


@pytest.mark.usefixtures("stored")
def test_every_problem_is_in_the_one_error(find):
    message = find("file:a", SOURCE, "build:guests/till")
    assert "site.lock.yml: artifact 'file:a' is not pinned. Run 'edgewright lock'" in message
    assert "build:guests/till: has not been built." in message
    assert SOURCE not in message.replace(f"query('edgewright.edge.artifact', 'file:a', '{SOURCE}'", "")


def test_a_site_that_is_not_locked_is_told(find, site):
    (site / "site.lock.yml").unlink()
    message = find(SOURCE)
    assert (
        f"{site}/site.lock.yml: the site is not locked: there is no such file. Run 'edgewright lock -i {site}'"
        in message
    )


def test_hosts_without_a_folder_are_told(find):
    assert "there is no inventory folder to find site.lock.yml in" in find(SOURCE, inventory="localhost,")


def test_a_damaged_lock_is_told(find, site):
    (site / "site.lock.yml").write_text("artifacts: [", encoding="utf-8")
    assert "site.lock.yml: cannot be read" in find(SOURCE)


def test_what_was_built_here_is_found_by_its_recipe(find, stored):
    built = stored.parents[2] / "built" / "guests" / "till"
    built.parent.mkdir(parents=True)
    built.write_text(f"sha256:{stored.name}\n", encoding="ascii")
    assert find("build:guests/till") == [str(stored)]


def test_what_was_built_and_is_gone_is_told(find, stored):
    built = stored.parents[2] / "built" / "guests" / "till"
    built.parent.mkdir(parents=True)
    built.write_text(f"sha256:{'0' * 64}\n", encoding="ascii")
    message = find("build:guests/till")
    assert "build:guests/till: is no longer in the store" in message
    assert "--artifacts-only' on this machine." in message
