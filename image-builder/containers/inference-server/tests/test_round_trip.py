"""Every datatype, both wire forms, against numpy."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

if TYPE_CHECKING:
    import httpx
    from server_process import ServerProcess

DTYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2",
    "UINT32": "u4", "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)
NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def post(server: ServerProcess, model: str, document: dict[str, Any], tail: bytes | None) -> httpx.Response:
    head = json.dumps(document).encode()
    headers = {} if tail is None else {"Inference-Header-Content-Length": str(len(head))}
    return server.client.post(f"/v2/models/{model}/infer", content=head + (tail or b""), headers=headers)


def split(response: httpx.Response) -> tuple[dict[str, Any], bytes]:
    assert response.status_code == 200, response.text
    length = int(response.headers.get("Inference-Header-Content-Length", len(response.content)))
    return json.loads(response.content[:length]), response.content[length:]


def as_json(array: np.ndarray[Any, Any], *, nested: bool) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return value

    return plain((array if nested else array.reshape(-1)).tolist())


@pytest.mark.parametrize("datatype", list(DTYPES))
@settings(settings.get_profile("server"), max_examples=40)
@given(data=st.data(), binary_in=st.booleans(), binary_out=st.booleans(), nested=st.booleans())
def test_numbers_come_back_bit_for_bit(
    server: ServerProcess, datatype: str, data: st.DataObject, binary_in: bool, binary_out: bool, nested: bool
) -> None:
    array = data.draw(hnp.arrays(np.dtype(DTYPES[datatype]), SHAPES))
    entry: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": [*array.shape]}
    tail = None
    if binary_in:
        tail = array.astype(array.dtype.newbyteorder("<")).tobytes()
        entry["parameters"] = {"binary_data_size": len(tail)}
    else:
        entry["data"] = as_json(array, nested=nested)
    document = {"inputs": [entry], "outputs": [{"name": "y", "parameters": {"binary_data": binary_out}}]}
    answer, answer_tail = split(post(server, f"identity-{datatype}", document, tail))
    output = answer["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", datatype, [*array.shape])
    if binary_out:
        assert output["parameters"] == {"binary_data_size": array.nbytes}
        found = np.frombuffer(answer_tail, array.dtype.newbyteorder("<")).reshape(array.shape)
    else:
        assert answer_tail == b""
        values = [NAMES.get(value, value) if isinstance(value, str) else value for value in output["data"]]
        found = np.array(values, dtype=array.dtype).reshape(array.shape)
    if binary_in and binary_out:
        assert found.tobytes() == array.tobytes()
    else:
        np.testing.assert_array_equal(found, array)


@settings(settings.get_profile("server"), max_examples=100)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6),
    binary_in=st.booleans(),
    binary_out=st.booleans(),
)
def test_bytes_come_back_whatever_characters_they_hold(
    server: ServerProcess, texts: list[str], binary_in: bool, binary_out: bool
) -> None:
    packed = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    entry: dict[str, Any] = {"name": "x", "datatype": "BYTES", "shape": [1, len(texts)]}
    entry |= {"parameters": {"binary_data_size": len(packed)}} if binary_in else {"data": texts}
    document = {"inputs": [entry], "parameters": {"binary_data_output": binary_out}}
    answer, tail = split(post(server, "identity-BYTES", document, packed if binary_in else None))
    if binary_out:
        assert tail == packed
    else:
        assert answer["outputs"][0]["data"] == texts


def test_json_and_binary_tensors_mix_in_one_request_and_one_response(server: ServerProcess) -> None:
    document = {
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
            {"name": "b", "datatype": "FP32", "shape": [2], "data": [1, 2]},
        ],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "sum", "parameters": {"binary_data": False}}, {"name": "difference"}],
    }
    response = post(server, "two", document, struct.pack("<2f", 10, 20))
    assert response.headers["content-type"] == "application/octet-stream"
    answer, tail = split(response)
    assert answer["outputs"][0]["data"] == [11, 22]
    assert struct.unpack("<2f", tail) == (9, 18)
