"""A run that was cut off, as the next one sees it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def asked(run_module, tmp_path):
    """Return a function that asks about one service, which reads a file and a folder."""
    read = [str(tmp_path / "unit"), str(tmp_path / "models")]

    def ask(state="noted", **more):
        items = [{"name": "shelf", "paths": read}]
        result = run_module("applied_files", items=items, state=state, folder=str(tmp_path / "notes"), **more)
        assert not result["changed"]
        return result["differing"]

    (tmp_path / "unit").write_text("old\n")
    return ask


def test_what_a_cut_run_wrote_differs_until_something_runs_with_it(asked, tmp_path):
    assert asked() == []
    (tmp_path / "unit").write_text("newer\n")
    # The run is cut here. Whatever later ones write or do not write, it is the same.
    assert asked() == ["shelf"]
    assert asked() == ["shelf"]
    assert asked("applied") == ["shelf"]
    assert asked() == []


@pytest.mark.parametrize("kind", ["file of the same size", "new folder", "file in a folder", "link", "removal"])
def test_every_kind_of_change_is_seen(asked, tmp_path, kind):
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "models" / "1" / "model").write_bytes(bytes(9))
    (tmp_path / "models" / "link").symlink_to("1")
    asked("applied")
    if kind == "file of the same size":
        before = (tmp_path / "unit").stat()
        os.utime(tmp_path / "unit", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    elif kind == "new folder":
        (tmp_path / "models" / "2").mkdir()
    elif kind == "file in a folder":
        (tmp_path / "models" / "1" / "other").touch()
    elif kind == "link":
        (tmp_path / "models" / "link").unlink()
        (tmp_path / "models" / "link").symlink_to("2")
    else:
        (tmp_path / "unit").unlink()
    assert asked() == ["shelf"]


def test_after_the_power_was_off_all_runs_with_what_is_there(asked, tmp_path):
    asked()
    (tmp_path / "unit").write_text("newer\n")
    (tmp_path / "notes" / "shelf").unlink()
    assert asked() == []


def test_what_is_gone_from_a_pattern_is_seen_and_what_is_beside_it_is_not(run_module, tmp_path):
    where = {
        "items": [{"name": "proxies", "paths": [f"{tmp_path}/conf.d/edgewright-*"]}],
        "folder": str(tmp_path / "notes"),
    }
    assert run_module("applied_files", **where)["differing"] == []
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "other").touch()
    assert run_module("applied_files", **where)["differing"] == []
    (tmp_path / "conf.d" / "edgewright-shelf").touch()
    assert run_module("applied_files", **where, state="applied")["differing"] == ["proxies"]
    (tmp_path / "conf.d" / "edgewright-shelf").unlink()
    assert run_module("applied_files", **where)["differing"] == ["proxies"]


def test_check_mode_makes_no_notes(asked, tmp_path):
    assert asked(check=True) == []
    assert not (tmp_path / "notes").exists()
    asked()
    (tmp_path / "unit").write_text("newer\n")
    assert asked("applied", check=True) == ["shelf"]
    assert asked() == ["shelf"]
