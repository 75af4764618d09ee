"""Where the bench builds the site: a copy of its inventory, the user's store, stage caches of its own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.lockfile import Lock
from edgewright.paths import Cache
from edgewright.pipeline import Pipeline, default_version, epoch_of, pipeline
from edgewright.site import Site, load_site
from edgewright.stages.stage import Context, remove_tree
from edgewright.store import Store
from edgewright.tools.process import ToolError

if TYPE_CHECKING:
    from edgewright.reporter import Reporter

# A finished step as the reporter writes it, "✓ title (1 min 05 s)".
_STEP = re.compile(r"^\s*✓ (?P<title>.+) \((?:(?P<minutes>\d+) min )?(?P<seconds>[\d.]+) s\)$")
# What the operating system's image is made from but does not make: mkosi is given the same, ready.
_GIVEN = ("tools-tree", "container", "guest", "image-store")
_MEMORY = re.compile(r"(?m)^(\s+memory: )(\d+)MiB$")


@dataclass(frozen=True)
class Build:
    """One run of ``edgewright build``: its wall-clock seconds, those of each step by title, and its answer."""

    seconds: float
    steps: dict[str, float]
    answer: dict[str, Any] = field(default_factory=dict)


class Workplace:
    """A place to build in that shares nothing with the user's builds but the store.

    Args:
        cache: the user's cache; the bench keeps its things in ``bench`` below it, so that packages can be hard links.
        inventory: the site to measure with.
        reporter: told of the steps.
    """

    def __init__(self, cache: Cache, inventory: Path, reporter: Reporter) -> None:
        self.user_cache = cache
        self.reporter = reporter
        self.folder = cache.root / "bench"
        self._original = inventory
        self.inventory = self.folder / "inventories" / inventory.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.restore_inventory()
        self.cache = self._cache("site")
        self.system_cache = self._cache("system")

    def _cache(self, name: str) -> Cache:
        """Return an own cache with the user's store."""
        root = self.folder / name
        root.mkdir(exist_ok=True)
        link = root / "store"
        if not link.is_symlink():
            link.symlink_to(self.user_cache.store.resolve())
        return Cache(root)

    def restore_inventory(self) -> None:
        """Make the copy of the inventory equal to the original."""
        shutil.rmtree(self.inventory, ignore_errors=True)
        shutil.copytree(self._original, self.inventory)

    def change_variable(self) -> str:
        """Give a virtual machine of the copied inventory another amount of memory; return what was changed to what.

        Raises:
            ValueError: the inventory has no such line.
        """
        path = self.inventory / "group_vars" / "all.yml"
        text = path.read_text(encoding="utf-8")
        found = _MEMORY.search(text)
        if found is None:
            raise ValueError(f"{path}: no line 'memory: <number>MiB' to change")
        # Never a value of an earlier run: its layer would still be in the cache.
        value = int(found[2]) + 1 + int(time.time()) % 1900
        path.write_text(_MEMORY.sub(rf"\g<1>{value}MiB", text, count=1), encoding="utf-8")
        return f"memory: {found[2]}MiB -> {value}MiB"

    @property
    def output(self) -> Path:
        """The folder that builds are delivered to."""
        return self.folder / "output"

    @property
    def image(self) -> Path:
        """The delivered image."""
        return self.output / f"{self.site.name}.raw"

    @cached_property
    def site(self) -> Site:
        """The unchanged site."""
        return load_site(self._original)

    @cached_property
    def lock(self) -> Lock:
        """What the site is built from."""
        return Lock.load(self.site.lock_path)

    @property
    def store(self) -> Store:
        """The user's store."""
        return Store(self.user_cache.store)

    @cached_property
    def plan(self) -> Pipeline:
        """The stages of the unchanged site."""
        return pipeline(self.site, self.lock, self.store, version=default_version(self.lock), vault_password_file=None)

    @property
    def context(self) -> Context:
        """What stages that the bench runs itself get."""
        return Context(self.cache, epoch_of(self.lock), self.reporter.run_log)

    def fetch(self) -> None:
        """Fill the user's store, so that no build waits for a network."""
        self._edgewright("fetch", "--cache", str(self.user_cache.root))

    def forget_stages(self, cache: Cache) -> None:
        """Empty a stage cache."""
        remove_tree(cache.stages)
        cache.stages.mkdir(exist_ok=True)

    def give_parts(self) -> None:
        """Give the empty cache for system builds what mkosi is given too: tools, container store, guest disks."""
        self.forget_stages(self.system_cache)
        for name in _GIVEN:
            (self.system_cache.stages / name).symlink_to(self.cache.stages / name)

    def build(self, cache: Cache | None = None) -> Build:
        """Run ``edgewright build`` as a user does.

        Raises:
            ToolError: it failed.
        """
        output = self.output if cache is None else cache.root / "output"
        root = (cache or self.cache).root
        return self._edgewright("build", "--cache", str(root), "--output", str(output))

    def built(self) -> None:
        """Make sure that the unchanged site is built and delivered."""
        self.restore_inventory()
        self.fetch()
        self.build()

    def _edgewright(self, verb: str, *words: str) -> Build:
        """Run the command line that stands beside this Python."""
        argv = [str(Path(sys.executable).with_name("edgewright")), verb, "-i", str(self.inventory), "--json", *words]
        began = time.monotonic()
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, told = process.communicate()
        except BaseException:
            # Interrupted, it ends its own programs; killed, as subprocess.run would do, it leaves them running.
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
        seconds = time.monotonic() - began
        with self.reporter.run_log.open("a", encoding="utf-8") as log:
            log.write(told)
        if process.returncode != 0:
            raise ToolError(argv, process.returncode, (told + said)[-4000:])
        steps: dict[str, float] = {}
        for line in told.splitlines():
            if found := _STEP.match(line):
                steps[found["title"]] = int(found["minutes"] or 0) * 60 + float(found["seconds"])
        return Build(seconds, steps, json.loads(said or "{}"))
