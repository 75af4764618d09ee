from __future__ import annotations

import subprocess

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.node_identity import NodeIdentity
from ansible_collections.edgewright.edge.plugins.module_utils.node_index import index_text

HOSTS = {
    "b": {"edge_node": {"mac": ["52:54:00:00:00:0B"], "dmi_serial": [" SN 2 "]}, "other": 1},
    "a": {"edge_node": {"mac": ["52-54-00-00-00-0a"], "dmi_uuid": ["4C4C4544-0042-3510-8056-B7C04F4A4D32"]}},
    "c": {},
    "d": {"edge_node": None},
}


def test_lines_are_sorted_and_in_one_spelling():
    assert index_text(HOSTS) == (
        "host\ta\ta\n"
        "host\tb\tb\n"
        "host\tc\tc\n"
        "host\td\td\n"
        "mac\t52:54:00:00:00:0a\ta\n"
        "mac\t52:54:00:00:00:0b\tb\n"
        "serial\tSN 2\tb\n"
        "uuid\t4c4c4544-0042-3510-8056-b7c04f4a4d32\ta\n"
    )


def test_the_order_of_hosts_makes_no_difference():
    assert index_text(dict(reversed(HOSTS.items()))) == index_text(HOSTS)


def test_a_posix_shell_reads_it(tmp_path):
    index = tmp_path / "index"
    index.write_text(index_text(HOSTS), encoding="utf-8")
    script = """
        tab="$(printf '\\t')"
        while IFS="$tab" read -r kind value host; do
            [ "$kind=$value" = "serial=SN 2" ] && echo "$host"
        done < "$1"
    """
    result = subprocess.run(["sh", "-c", script, "sh", index], capture_output=True, text=True, check=False)
    assert result.stdout == "b\n"


def test_mistakes_name_their_host():
    with pytest.raises(EdgeError) as caught:
        index_text({"a": {"edge_node": {"mac": ["x"]}}, "b": {"edge_node": {"serial": ["S"]}}})
    assert [problem.where for problem in caught.value.problems] == ["a: edge_node.mac[0]", "b: edge_node.serial"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"dmi_serial": ["To Be Filled By O.E.M."]},
            "dmi_serial[0]: is what firmware says when it has no serial number",
        ),
        ({"dmi_serial": ["Default string"]}, "dmi_serial[0]: is what firmware says when it has no serial number"),
        ({"dmi_serial": ["00000000"]}, "dmi_serial[0]: is what firmware says when it has no serial number"),
        ({"dmi_serial": [1234]}, "dmi_serial[0]: must be a string"),
        ({"dmi_serial": ["a\tb"]}, "dmi_serial[0]: must be a line of text"),
        (
            {"dmi_uuid": ["ffffffff-ffff-ffff-ffff-ffffffffffff"]},
            "dmi_uuid[0]: is what firmware says when it has no UUID",
        ),
        ({"mac": "52:54:00:00:00:01"}, "mac: must be a list"),
        ({"mac": ["52:54:00:00:00:01", "52:54:00:00:00:01"]}, "mac[1]: the value is used twice"),
    ],
)
def test_what_tells_no_machine_apart_is_refused(data, text):
    with pytest.raises(EdgeError) as caught:
        NodeIdentity.from_inventory(data, where="edge_node")
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"edge_node.{text}")
