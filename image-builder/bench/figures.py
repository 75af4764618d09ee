"""What the bench finds: rows with their ratio and their target, as a table for people and as plain data."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEADINGS = ("figure", "Edgewright", "compared with", "ratio", "target", "met")


class NotMeasuredError(Exception):
    """A figure cannot be had on this machine; says why."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: what was measured.
        value: Edgewright's figure, in ``unit``.
        unit: ``s``, ``ms``, ``MiB``, ``1/s``, or the noun of what is counted.
        other: the figure of what it is compared with, measured in the same run; None where there is nothing to compare.
        than: what that is.
        limit: the most that ``limited`` may be; None where no target is set.
        limited: what the target is about.
        note: what a reader must know to read the figure rightly.
    """

    figure: str
    value: float
    unit: str
    other: float | None = None
    than: str = ""
    limit: float | None = None
    limited: Literal["value", "ratio"] = "value"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Edgewright's figure over the other one."""
        return round(self.value / self.other, 4) if self.other else None

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none, or nothing to compare with."""
        judged = self.ratio if self.limited == "ratio" else self.value
        return None if self.limit is None or judged is None else judged <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "figure": self.figure,
            "edgewright": round(self.value, 4),
            "other": None if self.other is None else round(self.other, 4),
            "than": self.than,
            "unit": self.unit,
            "ratio": self.ratio,
            "limit": self.limit,
            "limited": self.limited if self.limit is not None else None,
            "met": self.met,
            "note": self.note,
        }


def machine_kind(accelerator: str) -> dict[str, Any]:
    """Return what kind of machine this is and how busy, by nothing that tells which one it is.

    ``load_before`` is the load average of the last minute: how many processes wanted a processor.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "architecture": platform.machine(),
        "virtual_machines": "emulated (QEMU TCG)" if accelerator == "tcg" else accelerator,
        "load_before": round(os.getloadavg()[0], 1),
    }


def machine_text(kind: Mapping[str, Any]) -> str:
    """Return the kind of machine as a phrase."""
    # One processor in four busy with something else shows in every figure.
    busy = f"; busy with other work (load {kind['load_before']})" if kind["load_before"] > kind["cores"] / 4 else ""
    return (
        f"{kind['cores']} cores ({kind['architecture']}), {kind['memory_gib']} GiB of memory, {kind['system']}, "
        f"virtual machines {kind['virtual_machines']}{busy}"
    )


def number(value: float) -> str:
    """Write a number with three digits that say something, and all digits of a larger one."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a row of ``as_dict`` as the texts of ``_HEADINGS``."""
    unit = row["unit"]
    other = "" if row["other"] is None else f"{number(row['other'])} {unit} ({row['than']})"
    if row["limit"] is None:
        target = ""
    else:
        target = f"≤ {row['limit']:g} times" if row["limited"] == "ratio" else f"≤ {row['limit']:g} {unit}"
    met = {True: "yes", False: "no", None: ""}[row["met"]]
    ratio = "" if row["ratio"] is None else number(row["ratio"])
    return (row["figure"], f"{number(row['edgewright'])} {unit}", other, ratio, target, met)


def _grid(sections: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    for name, section in sections.items():
        for row in section.get("rows", ()):
            yield name, row, cells(row)


def _missing(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{name}: not measured: {reason.splitlines()[0]}"
        for name, section in sections.items()
        if (reason := section.get("error") or section.get("not_measured"))
    ]


def text_table(report: Mapping[str, Any]) -> str:
    """Return the report as aligned columns."""
    lines: list[Sequence[str]] = [_HEADINGS, *(row for _, _, row in _grid(report["sections"]))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    out = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    out.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([machine_text(report["machine"]), "", *out, "", *_missing(report["sections"])]).rstrip() + "\n"


def markdown_table(report: Mapping[str, Any]) -> str:
    """Return the report as a Markdown table, notes below it."""
    notes: list[str] = []
    out = [f"Measured on: {machine_text(report['machine'])}.", ""]
    out += ["| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS)]
    for _, row, texts in _grid(report["sections"]):
        mark = ""
        if row["note"]:
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f" [{notes.index(row['note']) + 1}]"
        out.append("| " + " | ".join((texts[0] + mark, *texts[1:])) + " |")
    out += ["", *(f"{place}. {note}" for place, note in enumerate(notes, 1))]
    if missing := _missing(report["sections"]):
        out += ["", *(f"- {line}" for line in missing)]
    return "\n".join(out).rstrip() + "\n"
