"""The models on disk and the models served: Triton's repository layout, loaded and swapped as a whole.

Layout (triton server, docs/user_guide/model_repository.md): ``<repository>/<model>/[config.pbtxt]/<N>/model.onnx``.
A folder whose name is not a whole number, is 0 or starts with 0 is not a version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference_server import model_config
from inference_server.errors import RequestError, show
from inference_server.logs import event
from inference_server.model import Model, SessionSettings
from inference_server.signature import UnsupportedModelError

if TYPE_CHECKING:
    from pathlib import Path

    from inference_server.metrics import Metrics


@dataclass(slots=True)
class _Entry:
    """What is known about one model; ``versions`` is replaced as a whole and never changed in place."""

    versions: dict[int, Model] = field(default_factory=dict)
    loading: bool = False
    unloaded: bool = False
    reason: str = ""

    @property
    def ready(self) -> bool:
        return bool(self.versions)


class Repository:
    """Answers which model serves a request, and loads and unloads models without disturbing the others.

    Changes belong to the event loop's thread, one at a time; reading files and making sessions happen in a thread.
    """

    def __init__(self, root: Path, settings: SessionSettings, metrics: Metrics) -> None:
        self.root = root
        self._settings = settings
        self._metrics = metrics
        self._entries: dict[str, _Entry] = {}
        self._started = False
        self._unreadable = False
        self._changing = asyncio.Lock()
        # Two threads: one load at a time, and beside it always one to look at the folder.
        self._loader = ThreadPoolExecutor(2, thread_name_prefix="loader")

    @property
    def ready(self) -> bool:
        """Whether the first scan is over and every model found, but those unloaded on request, serves."""
        return (
            self._started
            and not self._unreadable
            and all(entry.ready or entry.unloaded for entry in self._entries.values())
        )

    async def load_all(self) -> None:
        """Load every model of the repository; what fails is logged, shown by the index, and keeps `ready` false.

        A repository that cannot be read at all stays not ready: its mount is broken, and only a restart remounts it.
        """
        try:
            names = await self._in_thread(self._scan)
        except RequestError as error:
            event("repository_unreadable", level=logging.ERROR, error=error)
            self._started = self._unreadable = True
            return
        self._entries |= {name: _Entry(loading=True) for name in names}
        for name in names:
            try:
                await self.load(name)
            except RequestError:
                continue  # logged and kept as the entry's reason
        self._started = True
        event("started", models=len(names), ready=self.ready)

    async def load(self, name: str) -> None:
        """Load or reload a model; the versions served now serve on until the new ones can, or for good if they cannot.

        Raises:
            RequestError: 404 no such model, 400 it cannot be loaded.
        """
        async with self._changing:
            if name not in await self._in_thread(self._scan):
                raise _unknown(name)
            entry = self._entries.setdefault(name, _Entry())
            entry.loading = True
            start = time.perf_counter()
            try:
                config, versions = await self._in_thread(self._load, name)
            except Exception as error:
                entry.reason = str(error) if isinstance(error, UnsupportedModelError) else repr(error)
                self._metrics.loads.labels(name, "failure").inc()
                event(
                    "model_load_failed",
                    level=logging.ERROR,
                    model=name,
                    kept=_text(entry.versions),
                    reason=entry.reason,
                )
                kept = f"; still serving version {_text(entry.versions)}" if entry.versions else ""
                raise RequestError(
                    f"model {show(name)} cannot be loaded: {entry.reason}{kept}", kind="load_failed"
                ) from error
            finally:
                entry.loading = False
            self._swap(name, entry, versions)
            entry.unloaded, entry.reason = False, ""
            self._metrics.loads.labels(name, "success").inc()
            if config.ignored:
                event("config_fields_ignored", level=logging.WARNING, model=name, fields=",".join(config.ignored))
            event("model_loaded", model=name, versions=_text(versions), seconds=time.perf_counter() - start)

    async def unload(self, name: str) -> None:
        """Stop serving a model; requests that already have it finish.

        Raises:
            RequestError: 404, the model is neither served nor on disk.
        """
        async with self._changing:
            entry = self._entries.get(name)
            if entry is None:
                if name not in await self._in_thread(self._scan):
                    raise _unknown(name)
                entry = self._entries.setdefault(name, _Entry())
            self._swap(name, entry, {})
            entry.unloaded, entry.reason = True, "unloaded"
            event("model_unloaded", model=name)

    def find(self, name: str, version: str | None) -> Model:
        """Return the model that answers for ``name``: the given version, or the highest one served.

        Raises:
            RequestError: 404 unknown or unloaded, 503 known but not (yet) able to serve.
        """
        versions = self.served(name)
        if version is None:
            return next(iter(versions.values()))
        model = next((model for model in versions.values() if model.version_text == version), None)
        if model is None:
            raise RequestError(
                f"model {show(name)} has no version {show(version)}; expected one of {_text(versions)}",
                status=404,
                kind="unknown_model",
            )
        return model

    def served(self, name: str) -> dict[int, Model]:
        """Return the versions served, highest first and at least one; raises like `find`."""
        entry = self._entries.get(name)
        if entry is None:
            if not self._started:
                raise RequestError("the models are being loaded", status=503, kind="model_not_ready", retry_after=1)
            raise _unknown(name)
        if entry.versions:
            return entry.versions
        if entry.unloaded:
            raise RequestError(
                f"model {show(name)} is unloaded; POST /v2/repository/models/{name}/load",
                status=404,
                kind="unknown_model",
            )
        if entry.loading:
            raise RequestError(f"model {show(name)} is being loaded", status=503, kind="model_not_ready", retry_after=1)
        raise RequestError(
            f"model {show(name)} could not be loaded: {entry.reason}", status=503, kind="model_not_ready"
        )

    async def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """Return the entries of $repository_index_response: every version on disk or served."""
        names = await self._in_thread(self._scan)
        rows: list[dict[str, str]] = []
        for name in sorted({*names, *(name for name, entry in self._entries.items() if entry.ready)}):
            entry = self._entries.get(name, _Entry(reason="not loaded"))
            for version in sorted({*names.get(name, []), *entry.versions}):
                row = {"name": name, "version": str(version), "state": "READY", "reason": ""}
                if version not in entry.versions:
                    reason = entry.reason or "left out by version_policy"
                    row |= {"state": "UNAVAILABLE", "reason": reason}
                    if entry.loading:
                        row |= {"state": "LOADING", "reason": ""}
                rows.append(row)
            if not names.get(name) and not entry.versions:
                rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": entry.reason})
        return [row for row in rows if row["state"] == "READY"] if only_ready else rows

    def close(self) -> None:
        """Give the loader's threads back."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _swap(self, name: str, entry: _Entry, versions: dict[int, Model]) -> None:
        self._metrics.show_versions(name, entry.versions, versions)
        entry.versions = versions

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)

    def _scan(self) -> dict[str, list[int]]:
        """Return model name → versions on disk; a folder that cannot be read has none, and its load says why."""
        names: dict[str, list[int]] = {}
        try:
            for folder in self.root.iterdir():
                if folder.is_dir() and not folder.name.startswith(".") and folder.name != "lost+found":
                    with suppress(OSError):
                        names[folder.name] = []
                        names[folder.name] = _versions(folder)
        except OSError as error:
            raise RequestError(
                f"the model repository cannot be read: {error}", status=503, kind="repository_unreadable"
            ) from error
        return names

    def _load(self, name: str) -> tuple[model_config.ModelConfig, dict[int, Model]]:
        folder = self.root / name
        config = model_config.load(folder)
        chosen = config.version_policy.choose(_versions(folder))
        return config, {
            version: Model.load(name, version, folder / str(version) / config.model_file, config, self._settings)
            for version in chosen
        }


def _versions(folder: Path) -> list[int]:
    names = (child.name for child in folder.iterdir() if child.is_dir())
    return [int(name) for name in names if name.isascii() and name.isdigit() and not name.startswith("0")]


def _unknown(name: str) -> RequestError:
    return RequestError(f"model {show(name)} is not in the repository", status=404, kind="unknown_model")


def _text(versions: dict[int, Model]) -> str:
    return ",".join(str(version) for version in sorted(versions)) or "none"
