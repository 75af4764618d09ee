from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.secret_file import folders, secret_files
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.secret_files import secret_files as render

SECRET = "hunter2"
WIREGUARD = {"path": "/etc/wireguard/site/wg0.key", "content": SECRET}


def test_folders_of_files_come_parents_first_without_those_that_every_node_has():
    files = secret_files([WIREGUARD, {"path": "/var/lib/app/x/key", "content": SECRET}], where="it")
    assert folders(files) == ["/etc/wireguard", "/etc/wireguard/site", "/var/lib/app", "/var/lib/app/x"]


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_needs_nothing(nothing):
    assert secret_files(nothing, where="it") == []
    assert render(nothing) == {"directories": [], "files": []}


def test_the_filter_gives_what_file_set_takes():
    assert render([WIREGUARD]) == {
        "directories": [
            {"path": "/etc/wireguard", "mode": "0700", "keep": True},
            {"path": "/etc/wireguard/site", "mode": "0700", "keep": True},
        ],
        "files": [{"path": WIREGUARD["path"], "content": SECRET, "mode": "0600"}],
    }


WRONG = {
    "no list": (SECRET, "it: must be a list"),
    "a mapping": ({"path": "/etc/x", "content": SECRET}, "it: must be a list"),
    "no mapping": ([SECRET], "it[0]: must be a mapping"),
    "no path": ([{"content": SECRET}], "it[0].path: is missing"),
    "no content": ([{"path": "/etc/x"}], "it[0].content: is missing"),
    "an empty content": ([{"path": "/etc/x", "content": ""}], "it[0].content: must be text"),
    "a number": ([{"path": "/etc/x", "content": 12345678}], "it[0].content: must be text"),
    "an unknown key": ([{**WIREGUARD, "mode": "0644"}], "it[0].mode: unknown key"),
    "a path outside": ([{**WIREGUARD, "path": "/usr/x"}], "it[0].path: is not a path that a secret may have"),
    "a relative path": ([{**WIREGUARD, "path": "etc/x"}], "it[0].path: is not a path"),
    "a way up": ([{**WIREGUARD, "path": "/etc/../usr/x"}], "it[0].path: is not a path"),
    "a folder": ([{**WIREGUARD, "path": "/etc/x/"}], "it[0].path: is not a path"),
    "etc": ([{**WIREGUARD, "path": "/etc"}], "it[0].path: is not a path"),
    "twice": ([WIREGUARD, WIREGUARD], "it: a path is given twice; found /etc/wireguard/site/wg0.key"),
    "a file as a folder": (
        [WIREGUARD, {"path": "/etc/wireguard", "content": SECRET}],
        "it: a file is also the folder of another; found /etc/wireguard",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_without_a_content(case):
    data, text = WRONG[case]
    with pytest.raises(EdgeError) as caught:
        secret_files(data, where="it")
    assert text in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_every_problem_comes_at_once():
    with pytest.raises(AnsibleFilterError) as caught:
        render([{**WIREGUARD, "path": "/usr/x"}, {"path": "/etc/x"}])
    assert "base__secret_files[0].path" in str(caught.value)
    assert "base__secret_files[1].content" in str(caught.value)


def test_a_secret_file_does_not_show_its_content():
    assert SECRET not in repr(secret_files([WIREGUARD], where="it"))
