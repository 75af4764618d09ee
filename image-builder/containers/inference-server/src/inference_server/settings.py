"""The server's settings: one table for environment variables, command-line flags and the documentation."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "INFERENCE_SERVER_"
#: Kubernetes puts these into every pod beside a Service called "inference-server" (Docker's old link variables).
_SERVICE_LINK = re.compile(PREFIX + r"(SERVICE_HOST|SERVICE_PORT.*|PORT_\d+_(TCP|UDP|SCTP).*)")
_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class SettingsError(Exception):
    """Settings that cannot be used; one line a problem."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a setting is read: raises ValueError with what is expected."""

    read: Callable[[str], Any]
    expected: str


def _number(low: float, high: float, *, whole: bool = True) -> _Kind:
    def read(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return _Kind(read, f"a {'whole ' if whole else ''}number from {low:g} to {high:g}")


def _choice(*names: str) -> _Kind:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return _Kind(read, " or ".join(names))


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+) ?(B|[KMG]iB|)", text, re.ASCII)
    if match is None or not 0 < (value := int(match[1]) * _UNITS[match[2]]) <= 2**31:
        raise ValueError
    return value


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


_SWITCH = _Kind(_switch, "true or false")


def _about(kind: _Kind, text: str) -> dict[str, Any]:
    return {"kind": kind, "help": text}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; README.md documents each one."""

    host: str = field(default="0.0.0.0", metadata=_about(_Kind(_text, "an address"), "address to listen on"))  # noqa: S104 - of its container
    port: int = field(
        default=8080, metadata=_about(_number(0, 65535), "TCP port to listen on; 0 lets the system choose")
    )
    model_repository: Path = field(
        default=Path("/models"), metadata=_about(_Kind(Path, "a folder"), "folder with the models")
    )
    model_control: str = field(
        default="explicit",
        metadata=_about(_choice("explicit", "none"), "whether clients may load and unload models: explicit or none"),
    )
    max_body_size: int = field(
        default=32 * 2**20, metadata=_about(_Kind(_size, "a size up to 2GiB, like 32MiB"), "largest request body")
    )
    queue_size: int = field(
        default=32, metadata=_about(_number(0, 100_000), "requests that may wait; the next one gets 503")
    )
    concurrency: int = field(
        default=0, metadata=_about(_number(0, 1024), "inferences that may run at once; 0: one for each usable CPU")
    )
    intra_op_threads: int = field(
        default=0, metadata=_about(_number(0, 1024), "threads of one inference; 0: one for each usable CPU")
    )
    request_timeout: float = field(
        default=30.0,
        metadata=_about(
            _number(0.001, 86400, whole=False), "seconds for one inference request, waiting included, before 504"
        ),
    )
    stop_timeout: float = field(
        default=8.0,
        metadata=_about(_number(0, 86400, whole=False), "seconds that requests get to finish after SIGTERM"),
    )
    keep_alive_timeout: int = field(
        default=75, metadata=_about(_number(1, 86400), "seconds that an idle connection is kept open")
    )
    spinning: bool = field(default=False, metadata=_about(_SWITCH, "let idle threads spin: lower latency, more heat"))
    memory_arena: bool = field(
        default=True, metadata=_about(_SWITCH, "let onnxruntime keep the memory it has used; false on small machines")
    )
    access_log: bool = field(default=False, metadata=_about(_SWITCH, "log a line for every inference request"))
    log_level: str = field(
        default="info", metadata=_about(_choice("debug", "info", "warning", "error"), "lowest level that is logged")
    )


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings; a flag wins over its environment variable.

    Raises:
        SettingsError: names every bad value, and every INFERENCE_SERVER_* variable that is no setting.
    """
    parser = argparse.ArgumentParser(prog="python3 -m inference_server", description="Serve ONNX models over HTTP.")
    for setting in fields(Settings):
        shown = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        parser.add_argument(
            flag(setting.name),
            metavar="VALUE",
            help=f"{setting.metadata['help']} (default {shown}; environment {variable(setting.name)})",
        )
    environment = {name: value for name, value in environment.items() if not _is_service_link(name, value)}
    given = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    problems: list[str] = []
    for setting in fields(Settings):
        for source, text in (
            (variable(setting.name), environment.get(variable(setting.name))),
            (flag(setting.name), given[setting.name]),
        ):
            if text is None:
                continue
            kind: _Kind = setting.metadata["kind"]
            try:
                values[setting.name] = kind.read(text)
            except (ValueError, KeyError):
                problems.append(f"{source}: found {text!r}; expected {kind.expected}")
    known = {variable(setting.name) for setting in fields(Settings)}
    problems += [
        f"{name}: no such setting; see --help"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (name == variable("port") and "://" in value)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return "--" + name.replace("_", "-")
