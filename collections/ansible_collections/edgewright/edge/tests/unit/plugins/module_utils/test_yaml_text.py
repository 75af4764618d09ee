from __future__ import annotations

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents, yaml_text
from hypothesis import given
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
)


@given(DATA)
def test_what_is_written_is_read_again(data):
    assert yaml.safe_load(yaml_text(data, head="a\nb")) == data


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), SCALARS), min_size=1))
def test_documents_stay_apart(documents):
    assert list(yaml.safe_load_all(yaml_documents(documents))) == documents


@pytest.mark.parametrize("word", ["yes", "No", "on", "0600", "1e3", "~", "null", "12:30:45", "=", "- a", "# b", "a: b"])
def test_words_that_yaml_takes_for_something_else_stay_strings(word):
    assert yaml.safe_load(yaml_text({word: word})) == {word: word}


def test_it_reads_well():
    data = {"kind": "A", "spec": {"items": [{"name": "x", "of": ["1", 2]}, [], {}], "on": True}, "nothing": None}
    assert yaml_text(data, head="Managed.") == (
        '# Managed.\nkind: A\nspec:\n  items:\n    - name: x\n      of:\n        - "1"\n        - 2\n'
        '    - []\n    - {}\n  "on": true\nnothing: null\n'
    )
