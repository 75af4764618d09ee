"""Whether k3s runs with what is on the disk, and what its log is turned into."""

from __future__ import annotations

from ansible_collections.edgewright.edge.plugins.module_utils.k3s_service import differences, failure, read_unit

NOTED = {"program": "/usr/local/bin/k3s-v1.36.5+k3s1", "files": {"/a": "1", "/b": "2"}}
TOKEN = f"K10{'ab' * 32}::server:secret-of-a-cluster"


def test_nothing_differs_from_itself() -> None:
    assert differences(NOTED, NOTED) == []


def test_files_that_changed_came_or_went_and_another_program_are_told() -> None:
    present = {"program": "/usr/local/bin/k3s-v1.36.6+k3s1", "files": {"/a": "9", "/c": "3"}}
    assert differences(NOTED, present) == ["/a", "/b", "/c", "/usr/local/bin/k3s-v1.36.6+k3s1"]


def test_an_unknown_start_is_a_difference() -> None:
    assert differences(None, NOTED) == ["nothing is known of its last start"]


def test_systemds_answer_is_read() -> None:
    unit = read_unit("ActiveState=active\nExecMainStartTimestamp=@1795399371\nNRestarts=2\nNeedDaemonReload=yes\n")
    assert unit.runs
    assert unit.needs_reload
    assert (unit.started, unit.restarts) == (1795399371.0, 2)


def test_a_unit_that_never_started_is_read() -> None:
    unit = read_unit("ActiveState=inactive\nExecMainStartTimestamp=\nNRestarts=0\nResult=success\n")
    assert not unit.runs
    assert unit.started == 0.0


def test_errors_are_told_once_and_in_order_and_the_rest_is_left_out() -> None:
    log = [
        "modprobe: FATAL: Module overlay not found in directory /lib/modules/6.12",
        'time="2026-11-23T03:21:17Z" level=info msg="Starting k3s v1.36.5+k3s1"',
        'time="2026-11-23T03:21:17Z" level=error msg="first"',
        'time="2026-11-23T03:21:18Z" level=fatal msg="second \\"quoted\\""',
        'time="2026-11-23T03:21:19Z" level=error msg="first"',
    ]
    assert failure(log) == 'second "quoted"; first'


def test_a_token_in_the_log_is_not_told() -> None:
    said = failure([f'time="…" level=error msg="cannot join with {TOKEN}: 401"'])
    assert "secret-of-a-cluster" not in said
    assert said.startswith("cannot join with K10…")


def test_a_known_error_has_its_remedy() -> None:
    said = failure(['level=fatal msg="bootstrap data already found and encrypted with different token"'])
    assert said.endswith("Give the token that the cluster was made with in k3s__token.")


def test_a_silent_log_is_said_to_be_silent() -> None:
    assert failure([]) == "its log says nothing"
