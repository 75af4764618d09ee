from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import (
    GIB,
    MIB,
    bytes_text,
    cpus_text,
    millicpus,
    size,
    to_bytes,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("512MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("4 GiB", 4 * GIB),
        ("1.5GiB", 3 * GIB // 2),
        ("2G", 2_000_000_000),
        ("2GB", 2_000_000_000),
        ("5kB", 5000),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_amounts_are_bytes(written, expected):
    assert to_bytes(written) == expected


@pytest.mark.parametrize(
    ("written", "what", "remedy"),
    [
        ("4gb", "has the unknown unit 'gb'", "Write '4GB'."),
        ("4KB", "has the unknown unit 'KB'", "Write '4kB'."),
        ("4mib", "has the unknown unit 'mib'", "Write '4MiB'."),
        ("4 parsec", "has the unknown unit 'parsec'", ""),
        ("-1", "must be an amount of bytes", ""),
        ("1e6", "must be an amount of bytes", ""),
        ("", "must be an amount of bytes", ""),
        ("٤GiB", "must be an amount of bytes", ""),
        (True, "must be an amount of bytes", ""),
        (1.5, "must be an amount of bytes", ""),
        (None, "must be an amount of bytes", ""),
        ("0.0001KiB", "must be a whole number of bytes", ""),
    ],
)
def test_other_words_are_refused(written, what, remedy):
    with pytest.raises(UnfitError) as caught:
        to_bytes(written)
    assert (caught.value.what, caught.value.remedy) == (what, remedy)


@given(st.integers(0, 2**70))
def test_what_is_written_reads_back(amount):
    assert to_bytes(bytes_text(amount)) == amount


def test_the_largest_exact_unit_is_written():
    assert [bytes_text(each) for each in (64 * MIB, 1000, 1536, 1024, 0)] == ["64MiB", "1000", "1536", "1KiB", "0"]


@pytest.mark.parametrize(("written", "what"), [("1MiB", "is out of range"), ("10000001", "must be a multiple of 512")])
def test_bounds_and_steps_hold(written, what):
    with pytest.raises(UnfitError, match=what):
        size(2 * MIB, GIB, multiple=512)(written)


@pytest.mark.parametrize(
    ("written", "expected"), [(1, 1000), ("2", 2000), (1.5, 1500), ("0.25", 250), ("500m", 500), (0.1, 100)]
)
def test_processors_are_thousandths(written, expected):
    assert millicpus(written) == expected


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (0, "is out of range"),
        (1000, "is out of range"),
        ("0.0005", "is finer than a thousandth of a processor"),
        ("two", "must be a number of processors"),
        (True, "must be a number of processors"),
        ([], "must be a number of processors"),
        (float("nan"), "must be a number of processors"),
    ],
)
def test_other_processors_are_refused(written, what):
    with pytest.raises(UnfitError) as caught:
        millicpus(written)
    assert caught.value.what == what


@given(st.integers(10, 512_000))
def test_processors_read_back(amount):
    assert millicpus(cpus_text(amount)) == amount
