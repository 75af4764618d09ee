"""Reading a mapping from an inventory: every key checked, every problem kept, nothing guessed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar, cast

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems

T = TypeVar("T")
Parser = Callable[[object], T]


class UnfitError(ValueError):
    """A value that a parser refuses.

    Attributes:
        what: the rule that is broken.
        expected: what would be accepted.
        remedy: what to do, as a sentence; may be empty.
        secret: whether the value must not be shown.
    """

    def __init__(self, what: str, *, expected: str = "", remedy: str = "", secret: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.remedy = remedy
        self.secret = secret


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the sentence that names the known word most like ``word``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else ""


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether a value is a YAML list (a string is a sequence too, but never meant as one)."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


class Fields:
    """One mapping of the inventory being read, key by key.

    A value that is missing or wrong becomes a problem, and the reading goes on. What ``read`` returns after a problem
    is ``None`` whatever its type says, so call ``raise_if_any`` before anything made from the values is used.
    """

    def __init__(self, data: object, *, where: str, known: Iterable[str]) -> None:
        self.where = where
        self.problems = Problems()
        self._known = tuple(known)
        self._data: Mapping[object, object] = {}
        # Without a mapping at all, its keys are not missing one by one.
        self._spoiled = not isinstance(data, Mapping)
        if not isinstance(data, Mapping):
            self.problems.add(where, "must be a mapping", found=repr(data), expected=f"keys {', '.join(self._known)}")
            return
        self._data = data
        for key in data:
            if key not in self._known:
                self.problems.add(
                    self.at(str(key)),
                    "unknown key",
                    expected=f"one of {', '.join(self._known)}",
                    remedy=nearest(str(key), self._known),
                )

    def at(self, key: str) -> str:
        """Return the path of a key of this mapping."""
        return f"{self.where}.{key}" if self.where else key

    def given(self, key: str) -> bool:
        """Tell whether the key is there; a key with nothing after the colon counts as absent."""
        return self._data.get(key) is not None

    def read(self, key: str, parse: Parser[T], *, default: T | None = None, optional: bool = False) -> T:
        """Return the parsed value of a key, or its default; a required key has neither ``default`` nor ``optional``."""
        if not self.given(key):
            if default is None and not optional and not self._spoiled:
                self.problems.add(self.at(key), "is missing", remedy=f"Add '{key}'.")
            return cast("T", default)
        return self._parse(self.at(key), self._data[key], parse)

    def read_list(self, key: str, parse: Parser[T], *, at_least: int = 0) -> list[tuple[str, T]]:
        """Return (path, value) of every well-formed item of a list."""
        items = self._items(key, at_least)
        parsed = [(f"{self.at(key)}[{index}]", item) for index, item in enumerate(items)]
        return [(path, value) for path, item in parsed if (value := self._parse(path, item, parse)) is not None]

    def build(self, key: str, make: Callable[[object, str], T], *, default: T | None = None) -> T:
        """Return what ``make(value, path)`` makes of a key, taking over the problems it raises."""
        if not self.given(key):
            if default is None and not self._spoiled:
                self.problems.add(self.at(key), "is missing", remedy=f"Add '{key}'.")
            return cast("T", default)
        try:
            return make(self._data[key], self.at(key))
        except EdgeError as error:
            self.problems.extend(error)
            return cast("T", None)

    def build_list(self, key: str, make: Callable[[object, str, int], T], *, at_least: int = 0) -> list[tuple[str, T]]:
        """Return (path, object) of every item that ``make(item, path, index)`` accepts."""
        made: list[tuple[str, T]] = []
        for index, item in enumerate(self._items(key, at_least)):
            path = f"{self.at(key)}[{index}]"
            try:
                made.append((path, make(item, path, index)))
            except EdgeError as error:
                self.problems.extend(error)
        return made

    def no_duplicates(self, values: Iterable[tuple[str, object]], what: str, *, remedy: str = "") -> None:
        """Add a problem for each (path, value) whose value an earlier path has; ``None`` is no value."""
        seen: dict[object, str] = {}
        for path, value in values:
            if value is None:
                continue
            if value in seen:
                self.problems.add(
                    path, f"{what} is used twice", found=f"{value!r}, also at {seen[value]}", remedy=remedy
                )
            seen.setdefault(value, path)

    def raise_if_any(self) -> None:
        """Raise every problem found so far.

        Raises:
            EdgeError: if there is one.
        """
        self.problems.raise_if_any()

    def _items(self, key: str, at_least: int) -> list[object]:
        value = self._data.get(key)
        if value is None:
            value = []
        if not is_list(value):
            self.problems.add(self.at(key), "must be a list", found=repr(value))
            return []
        items = list(value)
        if len(items) < at_least and not self._spoiled:
            self.problems.add(self.at(key), "has too few items", found=str(len(items)), expected=f"at least {at_least}")
        return items

    def _parse(self, path: str, value: object, parse: Parser[T]) -> T:
        try:
            return parse(value)
        except UnfitError as error:
            found = "" if error.secret else repr(value)
            self.problems.add(path, error.what, found=found, expected=error.expected, remedy=error.remedy)
            return cast("T", None)


def text(value: object) -> str:
    """Accept a non-empty string on one line.

    Raises:
        UnfitError: it is another type, empty, or has control characters.
    """
    if not isinstance(value, str):
        remedy = "Put it in quotes: YAML reads it as something else." if isinstance(value, int | float) else ""
        raise UnfitError("must be a string", expected="a string", remedy=remedy)
    if not value.strip() or not value.isprintable():
        raise UnfitError("must be a line of text", expected="printable characters on one line")
    return value


def boolean(value: object) -> bool:
    """Accept true or false.

    Raises:
        UnfitError: it is anything else, the string "false" included.
    """
    if not isinstance(value, bool):
        raise UnfitError("must be true or false", expected="true or false, without quotes")
    return value


def integer(low: int, high: int) -> Parser[int]:
    """Return a parser of whole numbers from ``low`` to ``high``; a string of digits (from a template) counts as one."""

    def parse(value: object) -> int:
        expected = f"a whole number from {low} to {high}"
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnfitError("must be a whole number", expected=expected)
        if not low <= value <= high:
            raise UnfitError("is out of range", expected=expected)
        return int(value)

    return parse


def choice(*options: str) -> Parser[str]:
    """Return a parser that accepts one of the given words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            raise UnfitError(
                "is not one of the choices",
                expected=f"one of {', '.join(options)}",
                remedy=nearest(str(value), options),
            )
        return str(value)

    return parse
