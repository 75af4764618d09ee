"""The reader against the writer of Google's protobuf library."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, text_format
from hypothesis import given
from hypothesis import strategies as st
from inference_server.textproto import Message, Symbol, TextprotoError, parse

# A message type with every kind of value, and itself inside: descriptor.proto's own FieldOptions and friends.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def _options(draw: Any, depth: int) -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=draw(TEXT))
    for _ in range(draw(st.integers(0, 2))):
        option = message.options.uninterpreted_option.add()
        option.double_value = draw(st.floats(allow_nan=False, allow_infinity=False))
        option.negative_int_value = draw(st.integers(-(2**63), -1))
        option.identifier_value = draw(TEXT)
        option.string_value = draw(st.binary(max_size=8))
    message.reserved_name.extend(draw(st.lists(TEXT, max_size=3)))
    message.field.add(type=draw(st.sampled_from([1, 3, 9, 11])), number=draw(st.integers(1, 2**31 - 1)))
    message.options.deprecated = draw(st.booleans())
    if depth:
        message.nested_type.append(_options(draw, depth - 1))
    return message


@st.composite
def messages(draw: Any) -> descriptor_pb2.DescriptorProto:
    return _options(draw, draw(st.integers(0, 3)))


def require_equal(read: Message, written: Any) -> None:
    """Compare field by field with the library's own view of the message."""
    listed = {descriptor.name: (descriptor, value) for descriptor, value in written.ListFields()}
    assert set(read.fields) == set(listed)
    for name, values in read.fields.items():
        descriptor, expected = listed[name]
        items = list(expected) if descriptor.is_repeated else [expected]
        assert len(values) == len(items)
        for value, item in zip(values, items, strict=True):
            if isinstance(value, Message):
                require_equal(value, item)
            elif isinstance(value, Symbol):
                enum = descriptor.enum_type
                assert value.name == (enum.values_by_number[item].name if enum else str(item).lower())
            else:
                assert value == (item.decode("latin-1") if isinstance(item, bytes) else item)


@given(messages(), st.booleans())
def test_what_protobuf_writes_is_read_back_field_by_field(
    message: descriptor_pb2.DescriptorProto, one_line: bool
) -> None:
    text = text_format.MessageToString(message, as_one_line=one_line, as_utf8=True)
    require_equal(parse(text), message)


@given(messages())
def test_angle_brackets_and_separators_mean_the_same(message: descriptor_pb2.DescriptorProto) -> None:
    text = text_format.MessageToString(message, pointy_brackets=True, as_utf8=True).replace("\n", "\n# comment\n")
    require_equal(parse(text), message)


@given(st.text() | st.text(alphabet="a:{}[]<>,;\"'1-\\ \n"))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        parse(text)
    except TextprotoError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb", "line 2: found 'end of file'; expected ':' and a value, or a message in braces"),
        ("a {\n b: 1", "line 2: found 'end of file'; expected a field name or '}'"),
        ("a: [1 2]", "line 1: found '2'; expected ',' or ']'"),
        ("a: 'x", 'line 1: found "\'"; expected a field, a value or a bracket'),
        ("}", "line 1: found '}'; expected a field name"),
        ("a{" * 60, "line 1: found 'a'; expected at most 50 messages inside each other"),
    ],
)
def test_broken_text_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(TextprotoError) as caught:
        parse(text)
    assert str(caught.value) == message
