"""The first cases of ``make fuzz``: all samples as they are, and some damaged ones, the same in every run."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.tests.fuzz.machine_sources import Fuzz

DAMAGED = 25


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    return Fuzz(tmp_path_factory.mktemp("fuzz"), seed=1)


def test_samples_are_imported_and_those_that_reach_outside_are_refused(fuzz):
    for number in range(fuzz.known):
        fuzz.case(number)


def test_damaged_sources_end_in_disks_or_in_an_error_and_touch_nothing_else(fuzz):
    for number in range(fuzz.known, fuzz.known + DAMAGED):
        fuzz.case(number)
