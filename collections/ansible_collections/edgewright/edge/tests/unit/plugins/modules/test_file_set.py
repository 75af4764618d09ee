from __future__ import annotations

import getpass
import grp
import os
import stat
from pathlib import Path

import pytest


@pytest.fixture
def mine():
    """The owner and group of what these tests may make."""
    return {"owner": getpass.getuser(), "group": grp.getgrgid(os.getegid()).gr_name}


@pytest.fixture
def wanted(tmp_path, mine):
    """Arguments for one of each kind, in a folder that does not exist yet."""
    return {
        "directories": [{"path": str(tmp_path / "d"), **mine}],
        "files": [
            {"path": str(tmp_path / "d" / "a.conf"), "content": "a = 1\n", **mine},
            {"path": str(tmp_path / "d" / "key"), "content": "k\n", "mode": "0600", **mine},
        ],
        "links": [{"path": str(tmp_path / "d" / "link"), "target": "a.conf"}],
        "only": [{"directory": str(tmp_path / "d"), "pattern": "*"}],
    }


def test_makes_everything_and_then_nothing(run_module, wanted, tmp_path):
    first = run_module("file_set", **wanted)
    second = run_module("file_set", **wanted)
    assert first["changed"]
    assert [Path(path).name for path in first["changed_paths"]] == ["d", "a.conf", "key", "link"]
    assert (tmp_path / "d" / "a.conf").read_text() == "a = 1\n"
    assert stat.S_IMODE((tmp_path / "d" / "key").stat().st_mode) == 0o600
    assert (tmp_path / "d" / "link").read_text() == "a = 1\n"
    assert not second["changed"]
    assert second["changed_paths"] == []


def test_check_mode_says_the_same_and_changes_nothing(run_module, wanted, tmp_path):
    foreseen = run_module("file_set", check=True, diff=True, **wanted)
    assert not (tmp_path / "d").exists()
    done = run_module("file_set", diff=True, **wanted)
    assert foreseen["changed_paths"] == done["changed_paths"]
    assert foreseen["diff"] == done["diff"]
    assert "a = 1\n" in foreseen["diff"][1]["after"]


def test_removes_what_an_earlier_run_left_and_no_folder_and_nothing_else(run_module, wanted, tmp_path):
    run_module("file_set", **wanted)
    (tmp_path / "d" / "old.conf").write_text("# ours\n")
    (tmp_path / "d" / "theirs.conf").write_text("not ours\n")
    (tmp_path / "d" / "folder.conf").mkdir()
    wanted["only"] = [{"directory": str(tmp_path / "d"), "pattern": "*.conf", "containing": "# ours"}]
    result = run_module("file_set", **wanted)
    assert result["removed"] == [str(tmp_path / "d" / "old.conf")]
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "a.conf",
        "folder.conf",
        "key",
        "link",
        "theirs.conf",
    ]


def test_mends_content_mode_and_a_link_that_became_a_file(run_module, wanted, tmp_path):
    run_module("file_set", **wanted)
    (tmp_path / "d" / "a.conf").write_text("a = 2\n")
    (tmp_path / "d" / "key").chmod(0o644)
    (tmp_path / "d" / "link").unlink()
    (tmp_path / "d" / "link").write_text("")
    result = run_module("file_set", **wanted)
    assert [Path(path).name for path in result["changed_paths"]] == ["a.conf", "key", "link"]
    assert (tmp_path / "d" / "link").is_symlink()


def test_absent_and_missing_is_no_change(run_module, tmp_path):
    assert not run_module("file_set", absent=[str(tmp_path / "no")])["changed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"files": [{"path": "/x", "content": "", "mode": "rw"}]}, "/x: mode: 'rw' is not octal digits in quotes"),
        ({"absent": ["/x"], "links": [{"path": "/x", "target": "y"}]}, "paths given more than once: /x"),
        ({"absent": ["x/y"]}, "paths that are not absolute: x/y"),
    ],
)
def test_refuses_what_makes_no_sense_before_anything_is_changed(run_module, arguments, message):
    assert message in run_module("file_set", **arguments)["msg"]


def test_does_not_replace_a_folder_by_a_file(run_module, tmp_path, mine):
    (tmp_path / "x").mkdir()
    result = run_module("file_set", files=[{"path": str(tmp_path / "x"), "content": "", **mine}])
    assert result["msg"] == f"{tmp_path}/x is a directory, and should be a file; move it away"


def test_half_written_files_never_have_the_name(run_module, tmp_path, mine):
    result = run_module("file_set", files=[{"path": str(tmp_path / "no" / "x"), "content": "", **mine}])
    assert f"{tmp_path}/no/x cannot be made a file" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_keep_is_made_once_and_then_left_as_it_is(run_module, tmp_path, mine):
    folder = {"path": str(tmp_path / "d"), "mode": "0700", "keep": True, **mine}
    assert run_module("file_set", directories=[folder])["changed"]
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    (tmp_path / "d").chmod(0o751)
    assert not run_module("file_set", directories=[folder])["changed"]
    assert run_module("file_set", directories=[{**folder, "keep": False}])["changed"]
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


def test_a_file_where_a_folder_is_to_be_kept_is_refused(run_module, tmp_path, mine):
    (tmp_path / "d").write_text("")
    result = run_module("file_set", directories=[{"path": str(tmp_path / "d"), "keep": True, **mine}])
    assert "is a file, and should be a directory" in result["msg"]


def test_a_diff_has_neither_programs_nor_the_content_of_private_files_that_go(run_module, tmp_path):
    (tmp_path / "program").write_bytes(b"\x7fELF\0" * 1000)
    (tmp_path / "token").write_text("secret-of-yesterday")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "setting").write_text("a = 1\n")
    paths = [str(tmp_path / name) for name in ("program", "token", "setting")]
    done = run_module("file_set", diff=True, absent=paths)
    program, token, setting = (entry["before"] for entry in done["diff"])
    assert program.endswith("\n5000 bytes that are no text\n")
    assert token.endswith("\ncontent that is not shown\n")
    assert setting.endswith("\na = 1\n")
    assert "secret-of-yesterday" not in str(done)
    assert not any((tmp_path / name).exists() for name in ("program", "token", "setting"))
