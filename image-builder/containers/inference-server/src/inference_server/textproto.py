"""A reader of the text form of Protocol Buffers, as far as configuration files use it.

Grammar: protobuf.dev/reference/protobuf/textformat-spec. Extensions and `Any` messages are not read.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TypeAlias

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_MAX_DEPTH = 50


class TextprotoError(Exception):
    """Text that does not follow the grammar; says the line."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """An enum value or a boolean: a bare word."""

    name: str


@dataclass(slots=True)
class Message:
    """Field name → all its values in order, and the line on which the message starts."""

    line: int
    fields: dict[str, list[Value]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


Value: TypeAlias = "str | int | float | Symbol | Message"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str) -> Message:
    """Return the message in ``text``.

    Raises:
        TextprotoError: broken text.
    """
    return _Parser(_tokens(text)).message(None, 0)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TextprotoError(f"line {line}: found {text[position]!r}; expected a field, a value or a bracket")
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(_Token(kind, match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return [*tokens, _Token("end", "end of file", line)]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def message(self, closing: str | None, depth: int) -> Message:
        """Read fields up to ``closing`` or the end of the file."""
        result = Message(self._peek().line)
        if depth > _MAX_DEPTH:
            raise self._error(self._peek(), f"at most {_MAX_DEPTH} messages inside each other")
        while True:
            token = self._take()
            if token.kind == ("end" if closing is None else "mark") and closing in {None, token.text}:
                return result
            if token.kind != "name":
                raise self._error(token, "a field name" + (f" or {closing!r}" if closing else ""))
            values = self._field_values(depth)
            result.fields.setdefault(token.text, []).extend(values)
            result.lines.setdefault(token.text, token.line)
            if self._peek().text in {",", ";"} and self._peek().kind == "mark":
                self._take()

    def _field_values(self, depth: int) -> list[Value]:
        colon = self._accept(":")
        if self._accept("["):
            return self._list(depth)
        token = self._peek()
        if not colon and token.text not in _CLOSING:
            raise self._error(token, "':' and a value, or a message in braces")
        return [self._value(depth)]

    def _list(self, depth: int) -> list[Value]:
        values: list[Value] = []
        if self._accept("]"):
            return values
        while True:
            values.append(self._value(depth))
            if self._accept("]"):
                return values
            if not self._accept(","):
                raise self._error(self._peek(), "',' or ']'")

    def _value(self, depth: int) -> Value:
        token = self._take()
        if token.kind == "mark" and token.text in _CLOSING:
            return self.message(_CLOSING[token.text], depth + 1)
        if token.kind == "name":
            return Symbol(token.text)
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "string":
            return self._string(token)
        raise self._error(token, "a value")

    def _string(self, token: _Token) -> str:
        parts = [token]
        while self._peek().kind == "string":  # adjacent strings are one, as in C
            parts.append(self._take())
        try:
            return "".join(str(ast.literal_eval(part.text)) for part in parts)
        except (SyntaxError, ValueError):
            raise self._error(token, "a string with valid escapes") from None

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _accept(self, mark: str) -> bool:
        if self._peek().kind == "mark" and self._peek().text == mark:
            self._take()
            return True
        return False

    @staticmethod
    def _error(token: _Token, expected: str) -> TextprotoError:
        return TextprotoError(f"line {token.line}: found {token.text!r}; expected {expected}")


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        pass
    digits = text.lstrip("+-")
    if re.fullmatch(r"0[0-7]+", digits):
        return int(digits, 8) * (-1 if text.startswith("-") else 1)
    return float(text.rstrip("fF"))
