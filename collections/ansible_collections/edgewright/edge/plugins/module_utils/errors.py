"""Errors a user can act on: what, where, found, expected, remedy; all of them at once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: file and line if known, then the key: ``group_vars/all.yml:14: edge_virtual_machines[2].memory``.
        what: the rule that is broken, as a short clause.
        found: the offending value as the user wrote it; never a secret.
        expected: what would be accepted.
        remedy: what to do, as an imperative sentence.
    """

    where: str
    what: str
    found: str = ""
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.found:
            text += f"; found {self.found}"
        if self.expected:
            text += f"; expected {self.expected}"
        text += "."
        if self.remedy:
            text += f" {self.remedy}"
        return text


class EdgeError(Exception):
    """One or more problems that stop the work before anything was changed."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def as_list(self) -> list[dict[str, str]]:
        """Return the problems as plain data, for ``--json`` and for a module's ``errors``."""
        return [asdict(problem) for problem in self.problems]


class Problems:
    """Collects problems, so that a user sees all of them at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, where: str, what: str, *, found: object = "", expected: str = "", remedy: str = "") -> None:
        """Add one problem; ``found`` is shown as ``repr`` unless it is a string already in words."""
        text = found if isinstance(found, str) else repr(found)
        self.found.append(Problem(where=where, what=what, found=text, expected=expected, remedy=remedy))

    def extend(self, error: EdgeError) -> None:
        """Take over the problems of an error that was caught."""
        self.found.extend(error.problems)

    def raise_if_any(self) -> None:
        """Raise one ``EdgeError`` with everything that was found.

        Raises:
            EdgeError: if at least one problem was added.
        """
        if self.found:
            raise EdgeError(self.found)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Take over the problems of an ``EdgeError`` raised in the block, and go on after it."""
        try:
            yield
        except EdgeError as error:
            self.extend(error)
