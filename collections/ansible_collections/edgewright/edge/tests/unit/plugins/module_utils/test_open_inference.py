from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.open_inference import differences, model_route

ANSWER = {
    "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]},
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["cat"]},
    ]
}


def test_routes_are_the_protocols():
    assert model_route("a", None) == "v2/models/a"
    assert model_route("a/b c", "1") == "v2/models/a%2Fb%20c/versions/1"


@pytest.mark.parametrize(
    "expected",
    [
        [],
        [{"name": "y"}],
        [{"name": "y", "data": [[2.0, 4.0]]}],
        [{"name": "y", "data": [2.000001, 3.999999], "datatype": "FP32", "shape": [1, 2]}],
        [{"name": "label", "data": ["cat"]}, {"name": "y", "data": [2, 4]}],
    ],
)
def test_what_is_expected_is_no_difference(expected):
    assert differences(ANSWER, expected, tolerance=1e-5) == []


@pytest.mark.parametrize(
    ("expected", "texts"),
    [
        ([{"name": "z"}], ["output 'z' is missing; the answer has label, y"]),
        ([{"name": "y", "datatype": "FP64"}], ["output 'y' has datatype FP32, expected FP64"]),
        ([{"name": "y", "shape": [2]}], ["output 'y' has shape [1, 2], expected [2]"]),
        ([{"name": "y", "data": [2.0]}], ["output 'y' has 2 values, expected 1"]),
        ([{"name": "y", "data": [2.0, 4.1]}], ["output 'y' value 1 is 4.0, expected 4.1"]),
        ([{"name": "y", "data": [2.0, float("nan")]}], ["output 'y' value 1 is 4.0, expected nan"]),
        (
            [{"name": "y", "data": [True, "4.0"]}],
            ["output 'y' value 0 is 2.0, expected True", "output 'y' value 1 is 4.0, expected '4.0'"],
        ),
        ([{"name": "label", "data": ["dog"]}], ["output 'label' value 0 is 'cat', expected 'dog'"]),
    ],
)
def test_each_difference_is_told(expected, texts):
    assert differences(ANSWER, expected, tolerance=1e-5) == texts


def test_many_differences_are_counted():
    answer = {"outputs": [{"name": "y", "data": [0] * 9}]}
    told = differences(answer, [{"name": "y", "data": [1] * 9}], tolerance=0)
    assert len(told) == 6
    assert told[-1] == "output 'y' has 4 more wrong values"


@pytest.mark.parametrize("answer", [None, [], {}, {"outputs": "x"}])
def test_an_answer_without_outputs_is_told(answer):
    assert differences(answer, [], tolerance=0) == ["the answer has no 'outputs'"]


def test_nan_equals_nan():
    answer = {"outputs": [{"name": "y", "data": [float("nan")]}]}
    assert differences(answer, [{"name": "y", "data": [float("nan")]}], tolerance=0) == []
