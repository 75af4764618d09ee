"""Small real ONNX models, made with the onnx package, one for each thing that a test needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto, TensorProto, checker, helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx import NodeProto, ValueInfoProto

TYPES = {
    "BOOL": TensorProto.BOOL,
    **{f"{sign}INT{bits}": getattr(TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
Dims = list[int | str]


def _info(name: str, datatype: str, shape: Dims | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[datatype], shape)


def _model(nodes: Sequence[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def identity(datatype: str, shape: Dims | None = None) -> ModelProto:
    """y = x"""
    shape = shape if shape is not None else ["rows", "columns"]
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])], [_info("x", datatype, shape)], [_info("y", datatype, shape)]
    )


def scaled(factor: float) -> ModelProto:
    """y = factor * x, FP32 [-1, 2]: tells one version from another."""
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("Mul", ["x", "k"], ["y"]),
    ]
    return _model(nodes, [_info("x", "FP32", ["n", 2])], [_info("y", "FP32", ["n", 2])])


def two_by_two() -> ModelProto:
    """sum = a + b, difference = a - b, FP32 [-1]: two inputs and two outputs."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    names = (["a", "b"], ["sum", "difference"])
    inputs, outputs = ([_info(name, "FP32", ["n"]) for name in side] for side in names)
    return _model(nodes, inputs, outputs)


def divide() -> ModelProto:
    """y = a / b, FP32 [-1]: makes infinities and NaN from ordinary numbers."""
    inputs = [_info(name, "FP32", ["n"]) for name in ("a", "b")]
    return _model([helper.make_node("Div", ["a", "b"], ["y"])], inputs, [_info("y", "FP32", ["n"])])


def gather() -> ModelProto:
    """y = data[index]: refuses an index that is out of range only while it runs."""
    inputs = [_info("data", "FP32", ["n"]), _info("index", "INT64", ["m"])]
    return _model([helper.make_node("Gather", ["data", "index"], ["y"])], inputs, [_info("y", "FP32", ["m"])])


def allocate() -> ModelProto:
    """y = zeros(shape): asks for as much memory as the client says."""
    return _model(
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
        [_info("shape", "INT64", ["n"])],
        [_info("y", "FP32", ["a"])],
    )


def slow() -> ModelProto:
    """Multiplies matrices ``n`` times, node by node: takes as long as the client says, and can be stopped."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("MatMul", ["a", "a"], ["b"])],
        "body",
        [_info("i", "INT64", []), _info("go", "BOOL", []), _info("a", "FP32", [64, 64])],
        [_info("go_on", "BOOL", []), _info("b", "FP32", [64, 64])],
    )
    nodes = [
        helper.make_node("Constant", [], ["size"], value=helper.make_tensor("size", TensorProto.INT64, [2], [64, 64])),
        helper.make_node("ConstantOfShape", ["size"], ["start"]),
        helper.make_node("Loop", ["n", "", "start"], ["end"], body=body),
        helper.make_node("ReduceSum", ["end"], ["y"], keepdims=0),
    ]
    return _model(nodes, [_info("n", "INT64", [1])], [_info("y", "FP32", [])])


def stuck() -> ModelProto:
    """One matrix product of the size that the client says: a single kernel, which nothing can stop."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["y"], keepdims=0),
    ]
    return _model(nodes, [_info("size", "INT64", [2])], [_info("y", "FP32", [])])


def slow_to_load(size: int) -> ModelProto:
    """y = x + a constant that onnxruntime computes when it loads the model, by one big matrix product."""
    nodes = [
        helper.make_node(
            "Constant", [], ["size"], value=helper.make_tensor("size", TensorProto.INT64, [2], [size, size])
        ),
        helper.make_node("ConstantOfShape", ["size"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["c"], keepdims=0),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    return _model(nodes, [_info("x", "FP32", ["n"])], [_info("y", "FP32", ["n"])])


def sequence_output() -> ModelProto:
    """Gives a sequence, which the protocol cannot carry."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["n"])
    return _model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [_info("x", "FP32", ["n"])], [output])


def publish(repository: Path, name: str, model: ModelProto | bytes, version: int | str = 1, config: str = "") -> Path:
    """Write a model into a repository the way a publisher should: a whole folder, then one rename."""
    folder = repository / name
    folder.mkdir(parents=True, exist_ok=True)
    if config:
        (folder / "config.pbtxt").write_text(config)
    staging = folder / f".staging-{version}"
    staging.mkdir()
    (staging / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return staging.rename(folder / str(version))
