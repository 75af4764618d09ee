from __future__ import annotations

import re

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.names import (
    derived_mac,
    derived_uuid,
    label,
    mac,
    uuid_text,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("name", ["a", "till", "till-01", "0", "a" * 63])
def test_labels_are_accepted(name):
    assert label(name) == name


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Till", "Use 'till'."),
        ("till_01", "Use 'till-01'."),
        ("-till-", "Use 'till'."),
        ("a" * 64, f"Use '{'a' * 63}'."),
        ("ü", ""),
        ("a.b", "Use 'a-b'."),
        ("a\n", None),
        ("", None),
        (7, "Put it in quotes: YAML reads it as something else."),
        (True, "Put it in quotes: YAML reads it as something else."),
        (None, ""),
    ],
)
def test_other_names_are_refused_with_one_that_would_do(name, remedy):
    with pytest.raises(UnfitError) as caught:
        label(name)
    assert remedy is None or caught.value.remedy == remedy


@given(st.text(max_size=80))
def test_the_name_that_is_proposed_is_a_label(name):
    try:
        label(name)
    except UnfitError as error:
        if proposed := re.fullmatch(r"Use '(.*)'\.", error.remedy):
            assert label(proposed[1]) == proposed[1]


def test_a_mac_address_has_one_spelling():
    assert mac("52-54-00-AB-cd-Ef") == "52:54:00:ab:cd:ef"


@pytest.mark.parametrize(
    ("address", "what", "remedy"),
    [
        (190_345_677, "must be a string", "Put it in quotes: YAML reads it as a number."),
        ("52:54:00:12:34", "is not a MAC address", ""),
        ("52:54:00:12:34:5g", "is not a MAC address", ""),
        ("525400123456", "is not a MAC address", ""),
        ("01:00:5e:00:00:01", "is a group address", ""),
        ("ff:ff:ff:ff:ff:ff", "is a group address", ""),
        ("00:00:00:00:00:00", "is the empty MAC address", ""),
    ],
)
def test_other_mac_addresses_are_refused(address, what, remedy):
    with pytest.raises(UnfitError) as caught:
        mac(address)
    assert (caught.value.what, caught.value.remedy) == (what, remedy)


def test_a_uuid_has_one_spelling():
    assert uuid_text("123E4567-E89B-12D3-A456-426614174000") == "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("number", "what"),
    [
        ("123e4567e89b12d3a456426614174000", "is not a UUID"),
        ("{123e4567-e89b-12d3-a456-426614174000}", "is not a UUID"),
        ("00000000-0000-0000-0000-000000000000", "is the nil UUID"),
        (7, "must be a string"),
    ],
)
def test_other_uuids_are_refused(number, what):
    with pytest.raises(UnfitError) as caught:
        uuid_text(number)
    assert caught.value.what == what


def test_derived_values_never_change():
    # Guests' licences hang on them: if this fails, restore the derivation, not the test.
    assert derived_uuid("demo", "till") == "aaec0d5f-bc16-5397-b570-99e035084005"
    assert derived_mac("demo", "till", "0") == "52:54:00:bf:c6:45"


@given(st.lists(st.text(min_size=1), min_size=1))
def test_derived_values_are_good_ones(parts):
    assert mac(derived_mac(*parts)) == derived_mac(*parts)
    assert uuid_text(derived_uuid(*parts)) == derived_uuid(*parts)
