"""The stages of a site's image, from its inventory and its lock; and running them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import image_of
from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import model_artifacts
from ansible_collections.edgewright.edge.plugins.module_utils.site import SiteVariables, parse_site
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import DISK_OWNERS, disk_path

from edgewright import __version__
from edgewright.exits import NeedsNetworkError
from edgewright.resolve_request import request_of
from edgewright.stages.container_disks import ContainerDisk
from edgewright.stages.containers import ContainerImage
from edgewright.stages.disk import Disk, StateFile
from edgewright.stages.evidence_stage import Evidence
from edgewright.stages.guests import GuestDisk
from edgewright.stages.image_registry import ImageRegistry
from edgewright.stages.image_store import ImageStore
from edgewright.stages.initrd import Initrd
from edgewright.stages.install import Install
from edgewright.stages.node_layers import NodeLayer
from edgewright.stages.root_image import RootImage
from edgewright.stages.rootfs import Rootfs
from edgewright.stages.stage import Built, Context, Stage
from edgewright.stages.tools_tree import ToolsTree
from edgewright.stages.uki import Uki
from edgewright.tools import process
from edgewright.trees import recipes, runtime_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgewright.fetching import Fetching
    from edgewright.lockfile import Lock
    from edgewright.reporter import Reporter
    from edgewright.site import Site
    from edgewright.store import Store

_STATE = "/var/"


def epoch_of(lock: Lock) -> int:
    """Return the date of a lock, in seconds since 1970: SOURCE_DATE_EPOCH of everything that is built from it."""
    return int(datetime.strptime(lock.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())


def default_version(lock: Lock) -> str:
    """Return the image's version when none is asked for: this project's version and the lock's date."""
    return f"{__version__}.{lock.date[:8]}"


@dataclass(frozen=True)
class Pipeline:
    """All stages of one site's image; ``evidence`` is the last."""

    tools: ToolsTree
    disk: Disk
    images: tuple[ContainerImage, ...]
    guests: tuple[GuestDisk, ...]
    container_disks: tuple[ContainerDisk, ...]
    layers: tuple[NodeLayer, ...]
    root: RootImage
    evidence: Evidence

    def published(self) -> list[Stage]:
        """Return the stages whose outputs nodes reached over SSH need too."""
        return [*self.guests, *self.container_disks, *self.images]

    def stages(self) -> list[Stage]:
        """Return every stage once, each after the stages that it needs."""
        return with_needs([self.evidence])


def with_needs(wanted: Sequence[Stage]) -> list[Stage]:
    """Return the wanted stages and all that they need, each once and after those that it needs itself."""
    found: dict[int, Stage] = {}

    def visit(stage: Stage) -> None:
        for needed in stage.needs():
            visit(needed)
        found.setdefault(id(stage), stage)

    for stage in wanted:
        visit(stage)
    return list(found.values())


def pipeline(site: Site, lock: Lock, store: Store, *, version: str, vault_password_file: Path | None) -> Pipeline:
    """Lay out the stages of a site's image.

    Raises:
        EdgeError: the inventory, or something of it that the lock does not pin.
    """
    hosts = {host.name: parse_site(host.variables) for host in site.hosts}
    _refuse_archived_images(site, hosts, lock)
    tools = ToolsTree(lock, store)
    rootfs = Rootfs(lock, store)
    runtime = runtime_of(site)
    install = Install(rootfs, tools, site, lock, store)
    layers = tuple(NodeLayer(site, host, install, tools, lock, store, vault_password_file) for host in site.hosts)
    images = tuple(ContainerImage(name, lock, store, tools) for name in recipes(site, "containers"))
    guests = tuple(GuestDisk(name, tools) for name in recipes(site, "guests"))
    request = request_of(site)
    unpacked = _container_disks(hosts, lock, store, tools)
    # Manifests behind a URL may name the image of a disk too: what they say is not looked at here.
    left_out = frozenset() if _has_remote_manifests(hosts) else frozenset(request.disks)
    kept = (
        ImageRegistry(lock, store, images, left_out)
        if runtime == "k3s"
        else ImageStore(lock, store, images, tools, left_out)
    )
    root = RootImage(site, install, layers, kept, tools, version)
    uki = Uki(root, Initrd(rootfs), tools)
    storage = next(iter(hosts.values())).storage
    disk = Disk(
        root,
        uki,
        install,
        tools,
        lock,
        store,
        state_files(hosts, {**{f"build:guests/{guest.recipe}": guest for guest in guests}, **unpacked}),
        root_slot=storage.root_size,
        state_size=storage.state_min_size,
        guests=(*guests, *unpacked.values()),
    )
    return Pipeline(tools, disk, images, guests, tuple(unpacked.values()), layers, root, Evidence(disk, images, guests))


def _container_disks(
    hosts: dict[str, SiteVariables], lock: Lock, store: Store, tools: ToolsTree
) -> dict[str, ContainerDisk]:
    """Return, for each source of a disk that is a container image and has to be a file, the stage that unpacks it.

    Raises:
        EdgeError: the lock does not have an image.
    """
    machines = (vm for host in hosts.values() for vm in host.virtual_machines)
    sources = sorted({disk.source for vm in machines for disk in vm.disks if disk.volume.local})
    return {source: ContainerDisk(lock.image(image), store, tools) for source in sources if (image := image_of(source))}


def _has_remote_manifests(hosts: dict[str, SiteVariables]) -> bool:
    platforms = (host.kubernetes for host in hosts.values() if host.kubernetes is not None)
    return any(not source.startswith("file:") for platform in platforms for source in platform.manifests)


def _refuse_archived_images(site: Site, hosts: dict[str, SiteVariables], lock: Lock) -> None:
    """Raise for images that only an archive brings: it reaches live nodes, and no image of a node.

    Raises:
        EdgeError: all of them.
    """
    problems = Problems()
    for name, variables in hosts.items():
        if variables.runtime != "podman":
            continue
        for number, service in enumerate(variables.inference_services):
            for key, image in (("image", service.image), ("model_image", service.model_image)):
                if not image or image.startswith("build:") or str(ImageName.parse(image)) in lock.images:
                    continue
                problems.add(
                    site.where(name, f"edge_inference_services[{number}].{key}"),
                    "comes by an archive of its own, and a node's image has only what the lock pins",
                    found=image,
                    expected="an image that the lock pins",
                    remedy="Take it out of inference_services__image_archives and run 'edgewright lock', or deliver the"
                    " site over SSH with playbooks/site.yml.",
                )
    problems.found = list(dict.fromkeys(problems.found))
    problems.raise_if_any()


def state_files(
    hosts: dict[str, SiteVariables], guests: Mapping[str, GuestDisk | ContainerDisk]
) -> tuple[StateFile, ...]:
    """Return the models and guest disks that the state partition brings along, for all hosts of the site.

    ``guests`` are the stages that make disks, by source.

    Raises:
        EdgeError: two hosts want different content at the same place.
    """
    wanted: dict[str, tuple[StateFile, str]] = {}
    problems = Problems()
    for name, site in hosts.items():
        for file in _files_of(site, guests):
            other, owner = wanted.setdefault(file.path, (file, name))
            if other != file:
                problems.add(
                    name,
                    f"/var/{file.path} has other content than on {owner}",
                    found=file.artifact or "another disk or size",
                    expected=other.artifact or "the same disk and size",
                    remedy="Workloads of one name on several hosts of a site share their files: rename one.",
                )
    problems.raise_if_any()
    return tuple(file for _, (file, _) in sorted(wanted.items()))


def _files_of(site: SiteVariables, guests: Mapping[str, GuestDisk | ContainerDisk]) -> Iterator[StateFile]:
    """Yield the models and disks of one host."""
    for service in site.inference_services:
        for model in service.models:
            for path, source in model_artifacts(service.name, model).items():
                yield StateFile(path.removeprefix(_STATE), artifact=source)
    for machine in site.virtual_machines:
        for number, disk in enumerate(machine.disks):
            if not disk.volume.local:
                continue
            path = disk_path(machine.name, number, runtime=site.runtime).removeprefix(_STATE)
            guest = guests.get(disk.source)
            artifact = "" if guest else disk.source
            owner = DISK_OWNERS[site.runtime]
            yield StateFile(path, artifact, guest, disk.size, disk.format, owner)


def run_stages(stages: list[Stage], context: Context, reporter: Reporter, *, rebuild: bool = False) -> Built:
    """Make every output that is not there yet, independent stages side by side; ``stages`` as ``with_needs`` has them.

    The first failure stops what has not begun; what is running is waited for, and keeps what it finishes.

    Raises:
        ToolError: a program failed.
        EdgeError: an input is not usable.
    """
    built = Built()
    guard = threading.Lock()
    stopped = threading.Event()

    def make(stage: Stage) -> Stage:
        made = False
        if rebuild or not stage.is_built(context.cache):
            if stopped.is_set():
                return stage
            with reporter.step(f"{stage.title}{stage.label.removeprefix(stage.name)}"):
                made = stage.build(context, rebuild=rebuild)
        stage.note_use(context.cache)
        with guard:
            (built.made if made else built.cached).append(stage.label)
        return stage

    with usual_modes(), concurrent.futures.ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        try:
            _in_order(stages, lambda stage: pool.submit(make, stage))
        except BaseException as error:
            stopped.set()
            if not isinstance(error, Exception):
                process.end_all()  # interrupted: nobody waits for what is running
            pool.shutdown(cancel_futures=True)
            raise
    return built


@contextlib.contextmanager
def usual_modes() -> Iterator[None]:
    """Make files as everybody's umask makes them: the user's own would be seen in the image."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _in_order(stages: list[Stage], submit: Callable[[Stage], concurrent.futures.Future[Stage]]) -> None:
    """Submit each stage as soon as all that it needs is finished; raise the first failure."""
    waiting = {id(stage): {id(needed) for needed in stage.needs()} for stage in stages}
    running: set[concurrent.futures.Future[Stage]] = set()
    while waiting or running:
        for stage in stages:
            if waiting.get(id(stage)) == set():
                del waiting[id(stage)]
                running.add(submit(stage))
        finished, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in finished:
            done = id(future.result())
            for needs in waiting.values():
                needs.discard(done)


def refuse_unfetched(fetching: Fetching, site: Site) -> None:
    """Refuse to build from a store that is not filled: a build never touches the network.

    Raises:
        NeedsNetworkError: something is missing; says how much.
    """
    missing = fetching.missing()
    if missing:
        size = sum(each.size for each in missing) / 1e6
        names = ", ".join(each.name for each in missing[:5]) + (" …" if len(missing) > 5 else "")
        raise NeedsNetworkError(
            Problem(
                str(site.lock_path),
                f"{len(missing)} pinned artifacts ({size:.0f} MB) are not in the store",
                found=f"missing: {names}",
                remedy=f"Run 'edgewright fetch -i {site.inventory}' where there is a network.",
            )
        )
