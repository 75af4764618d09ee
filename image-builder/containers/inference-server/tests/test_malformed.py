"""Whatever a client sends, it gets an answer that says what is wrong, never a 5xx."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import tensor

if TYPE_CHECKING:
    import httpx
    from server_process import ServerProcess

GOOD = tensor("x", "FP32", [1, 2], [1, 2])


def one(**changes: Any) -> dict[str, Any]:
    """Return a request that is good but for ``changes`` in its only input."""
    return {"inputs": [{**GOOD, **changes}]}


def asked(*outputs: Any) -> dict[str, Any]:
    return {"inputs": [GOOD], "outputs": [*outputs]}


def both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": [first, second]}


BAD: list[tuple[str, Any, str]] = [
    ("FP32", [1], "body: found [1]; expected a JSON object"),
    ("FP32", {}, "inputs: found nothing; expected an array of objects"),
    ("FP32", {"inputs": {}}, "inputs: found an object; expected an array"),
    ("FP32", {"inputs": [3]}, "inputs[0]: found 3; expected an object"),
    ("FP32", {"inputs": []}, 'inputs: "x" missing; expected "x"'),
    ("FP32", {"inputs": [{}]}, 'inputs[0].name: found nothing; expected one of "x"'),
    ("FP32", one(name="z"), 'inputs[0].name: found "z"; expected one of "x"'),
    ("FP32", {"inputs": [GOOD, GOOD]}, 'inputs[1].name: "x" is already given by inputs[0]'),
    ("two", {"inputs": [tensor("a", "FP32", [1], [1])]}, 'inputs: "b" missing; expected "a", "b"'),
    ("FP32", {"inputs": [{"name": "x"}]}, 'inputs[0].datatype: found nothing; expected "FP32"'),
    ("FP32", one(datatype="FP64"), 'found "FP64"; expected "FP32"'),
    ("FP32", one(datatype="F"), '"F" (no datatype of the protocol)'),
    ("FP32", {"inputs": [{"name": "x", "datatype": "FP32"}]}, "inputs[0].shape: found nothing"),
    ("FP32", one(shape=2), "inputs[0].shape: found 2"),
    ("FP32", one(shape=[-1, 2]), "inputs[0].shape[0]: found -1"),
    ("FP32", one(shape=[1.0, 2]), "inputs[0].shape[0]: found 1.0"),
    ("FP32", one(shape=[True, 2]), "inputs[0].shape[0]: found true"),
    ("FP32", one(shape=[2]), "shape: found [2]; expected [-1, -1] (-1: any length)"),
    ("batched", one(shape=[1, 3]), "shape: found [1, 3]; expected [-1, 2] (-1: any length)"),
    ("FP32", one(shape=[2**62, 2**62]), "at most 32 dimensions and 2147483648"),
    ("FP32", one(shape=[0, 2**62], data=[]), "at most 32 dimensions"),
    ("anything", one(shape=[1] * 100, data=[1]), "at most 32 dimensions"),
    ("FP32", {"inputs": [{k: GOOD[k] for k in ("name", "datatype", "shape")}]}, "inputs[0].data: found nothing"),
    ("FP32", one(data="12"), 'inputs[0].data: found "12"; expected an array of 2'),
    ("FP32", one(data=None), "inputs[0].data: found null"),
    ("anything", one(shape=[], data=None), "inputs[0].data: found null"),
    ("FP32", one(data=[1]), "found 1 elements; expected 2, the product of shape [1, 2]"),
    ("FP32", one(data=[1, 2, 3]), "found 3 elements; expected 2"),
    ("FP32", one(data=[[[1, 2]]]), "at depth 2; expected 2"),
    ("FP32", one(data=[[[1], [2]]]), "nested more than 2 deep"),
    ("FP32", one(data=[[1], 2]), "arrays and single values mixed at depth 1"),
    ("FP32", one(shape=[2, 2], data=[[1, 2], [3]]), "length 1 at depth 2; expected 2"),
    ("FP32", one(data=[1, "2"]), 'inputs[0].data: element 1: found "2"; expected a number'),
    ("FP32", one(data=[1, None]), "element 1: found null; expected a number"),
    ("FP32", one(data=[1, True]), "element 1: found true; expected a number"),
    ("FP32", one(data=[1, {}]), "element 1: found an object; expected a number"),
    ("FP32", one(data=[1, 1e39]), "element 1: found 1e+39; expected a number from"),
    ("FP32", one(data=["NaN", 1e39]), "element 1: found 1e+39; expected a number from"),
    ("FP16", one(datatype="FP16", data=[1, 70000]), "element 1: found 70000"),
    ("INT8", one(datatype="INT8", data=[1, 128]), "found 128; expected an integer from -128 to 127"),
    ("UINT64", one(datatype="UINT64", data=[1, -1]), "found -1; expected an integer from 0"),
    ("INT64", one(datatype="INT64", data=[1, 1.5]), "found 1.5; expected an integer"),
    ("INT64", one(datatype="INT64", data=[1, 2**64]), "expected an integer from"),
    ("BOOL", one(datatype="BOOL", data=[True, 1]), "element 1: found 1; expected true or false"),
    ("BYTES", one(datatype="BYTES", data=["a", 1]), "element 1: found 1; expected a string"),
    ("FP32", {"inputs": [GOOD], "id": 7}, "id: found 7; expected a string"),
    ("FP32", {"inputs": [GOOD], "parameters": []}, "parameters: found []; expected an object"),
    ("FP32", {"inputs": [GOOD], "parameters": {"binary_data_output": 1}}, "binary_data_output: found 1"),
    ("FP32", {"inputs": [GOOD], "outputs": {}}, "outputs: found an object"),
    ("FP32", {"inputs": [GOOD], "outputs": 0}, "outputs: found 0"),
    ("FP32", asked({"name": "q"}), 'outputs[0].name: found "q"; expected one of "y"'),
    ("FP32", {"inputs": [GOOD], "outputs": [{"name": "y"}] * 2}, "already given by outputs[0]"),
    ("FP32", asked({"name": "y", "parameters": {"classification": 2}}), "classification"),
    ("FP32", one(parameters={"shared_memory_region": "r"}), "shared memory"),
    ("FP32", one(parameters={"binary_data_size": -1}), "binary_data_size: found -1"),
    ("gather", both(tensor("data", "FP32", [1], [1]), tensor("index", "INT64", [1], [5])), "out of data bounds, idx=5"),
    ("two", both(tensor("a", "FP32", [2], [1, 2]), tensor("b", "FP32", [3], [1, 2, 3])), "cannot work with these"),
]  # fmt: skip


def require_refusal(response: httpx.Response) -> str:
    assert 400 <= response.status_code < 500, response.text
    assert list(response.json()) == ["error"]
    text: str = response.json()["error"]
    assert text
    assert "Traceback" not in text
    assert ".py" not in text
    assert "onnxruntime_src" not in text
    return text


@pytest.mark.parametrize(("model", "document", "part"), BAD, ids=[f"{bad[0]}-{bad[2]}" for bad in BAD])
def test_what_is_wrong_is_named(server: ServerProcess, model: str, document: Any, part: str) -> None:
    name = f"identity-{model}" if model.isupper() else model
    text = require_refusal(server.client.post(f"/v2/models/{name}/infer", json=document))
    assert part in text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b'{"inputs": NaN}', b'{"inputs": [1e999]}', b"[" * 100_000, b'{"a": "\\ud800"}',
        b"\x00", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[Infinity]}]}', b"null", b"1",
    ],
)  # fmt: skip
def test_bodies_that_are_no_json_are_refused(server: ServerProcess, body: bytes) -> None:
    text = require_refusal(server.client.post("/v2/models/two/infer", content=body))
    assert text.startswith("body: ")


def binary(size: Any, shape: list[int], datatype: str = "FP32") -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("model", "entry", "tail", "part"),
    [
        ("FP32", binary(8, [1, 2]), b"1234567", "found 8; expected at most 7, what the body still has"),
        ("FP32", binary(7, [1, 2]), b"1234567", "found 7; expected 8: 2 elements of FP32 at 4 bytes"),
        ("FP32", binary(8, [1, 2]), b"123456789", "found 9 bytes after the JSON; expected 8"),
        ("FP32", binary("8", [1, 2]), b"12345678", 'found "8"; expected a whole number of bytes'),
        ("FP32", {**binary(8, [1, 2]), "data": [1, 2]}, b"12345678", "found both data and"),
        ("FP32", GOOD, b"1234", "found 4 bytes after the JSON; expected 0"),
        ("BOOL", binary(2, [1, 2], "BOOL"), b"\x01\x02", "element 1: found byte 2; expected 0 or 1"),
        ("BYTES", binary(3, [1, 1], "BYTES"), b"\x01\x00\x00", "element 0: found 3 bytes; expected a length of 4"),
        ("BYTES", binary(5, [1, 1], "BYTES"), b"\xff\xff\xff\xffa", "found 1 bytes; expected the 4294967295 that its"),
        ("BYTES", binary(5, [1, 1], "BYTES"), b"\x01\x00\x00\x00\xff", "element 0: found bytes that are not UTF-8"),
        ("BYTES", binary(5, [1, 2], "BYTES"), b"\x01\x00\x00\x00a", "found 1 elements; expected 2"),
    ],
)
def test_broken_binary_tensors_are_named(
    server: ServerProcess, model: str, entry: dict[str, Any], tail: bytes, part: str
) -> None:
    head = json.dumps({"inputs": [entry]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    path = f"/v2/models/identity-{model}/infer"
    assert part in require_refusal(server.client.post(path, content=head + tail, headers=headers))


@pytest.mark.parametrize("length", ["", "-1", "x", "99999", "9" * 5000, "1e3", "²"])
def test_a_broken_length_header_is_named(server: ServerProcess, length: str) -> None:
    head = json.dumps({"inputs": [GOOD]}).encode()
    headers = [(b"Inference-Header-Content-Length", length.encode())]
    response = server.client.post("/v2/models/identity-FP32/infer", content=head, headers=headers)
    assert "header Inference-Header-Content-Length" in require_refusal(response)


def test_binary_data_without_the_length_header_is_refused(server: ServerProcess) -> None:
    response = server.infer("identity-FP32", binary(8, [1, 2]))
    assert "without the header Inference-Header-Content-Length" in require_refusal(response)


def test_a_compressed_body_is_refused(server: ServerProcess) -> None:
    response = server.client.post("/v2/models/two/infer", content=b"x", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "Content-Encoding: found 'gzip'; expected identity" in require_refusal(response)


def test_memory_that_does_not_exist_is_a_503_and_the_server_lives_on(server: ServerProcess) -> None:
    response = server.infer("allocate", tensor("shape", "INT64", [1], [2**44]))
    assert response.status_code == 503
    assert "needs more memory" in response.json()["error"]
    assert server.infer("allocate", tensor("shape", "INT64", [1], [3])).json()["outputs"][0]["data"] == [0, 0, 0]


def test_a_body_that_breaks_off_harms_nobody(server: ServerProcess) -> None:
    before = server.metric("inference_server_errors_total", kind="bad_transfer")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v2/models/two/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    server.until(lambda: server.metric("inference_server_errors_total", kind="bad_transfer") == before + 1)
    assert server.metric("inference_server_queue_length") == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data"])
MODELS = st.sampled_from(
    ["identity-FP32", "identity-INT8", "identity-BYTES", "identity-BOOL", "two", "anything", "gather"]
)


@settings(settings.get_profile("server"), max_examples=300)
@given(model=MODELS, document=st.dictionaries(FIELDS, JSON) | JSON)
def test_any_json_is_answered_without_a_5xx(server: ServerProcess, model: str, document: Any) -> None:
    response = server.client.post(f"/v2/models/{model}/infer", json=document)
    require_refusal(response)


@settings(settings.get_profile("server"), max_examples=300)
@given(data=st.data())
def test_a_good_request_with_one_thing_changed_is_answered_without_a_5xx(
    server: ServerProcess, data: st.DataObject
) -> None:
    document = {"id": "1", "inputs": [{**GOOD, "parameters": {}}], "outputs": [{"name": "y", "parameters": {}}]}
    holder: Any = data.draw(st.sampled_from([document, document["inputs"][0], document["outputs"][0]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON)
    response = server.client.post("/v2/models/identity-FP32/infer", json=document)
    if response.status_code != 200:
        require_refusal(response)


@settings(settings.get_profile("server"), max_examples=200)
@given(body=st.binary(max_size=64), length=st.none() | st.integers(0, 70))
def test_any_bytes_are_answered_without_a_5xx(server: ServerProcess, body: bytes, length: int | None) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    require_refusal(server.client.post("/v2/models/two/infer", content=body, headers=headers))
