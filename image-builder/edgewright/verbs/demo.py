"""``edgewright demo``: the whole way, from an inventory to an answer from a machine without a network."""

from __future__ import annotations

import contextlib
import importlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import ExitCode, NeedsNetworkError
from edgewright.lockfile import Lock
from edgewright.machine import Machine
from edgewright.missing_artifacts import missing_artifacts
from edgewright.paths import Cache, project_root
from edgewright.question import FileTypeModel, ask
from edgewright.resolve_request import request_of
from edgewright.site import Site, load_site
from edgewright.site_emulator import emulator_of
from edgewright.store import Store
from edgewright.trees import runtime_of
from edgewright.verbs.boot import choose_accelerator, hardware
from edgewright.virtual_node import status_port

if TYPE_CHECKING:
    import argparse

    from edgewright.reporter import Reporter

HELP = (
    "Pin, fetch, build, boot without a network, ask the model a question, show the virtual machine's console and the"
    " node's health, and switch the machine off. A site on k3s of which something cannot be had ends with a list of it"
    " (exit code 3)."
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_POLL = 3.0  # seconds between two looks at the node
_CONSOLE_SECONDS = 45.0  # a guest in an emulated machine starts slowly
_MEMORY = {"podman": "2GiB", "k3s": "4GiB"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="the file to ask about (default: this project's pyproject.toml)"
    )
    parser.add_argument(
        "--timeout", type=float, default=420, metavar="SECONDS", help="how long the node may take to become healthy"
    )


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Do it all; the first thing that does not work ends it with what to do."""
    began = time.monotonic()
    options.inventory = options.inventory or project_root() / "inventories" / "demo"
    question = options.file or project_root() / "pyproject.toml"
    if not question.is_file():
        raise EdgeError(Problem("--file", "there is no such file", found=str(question)))
    site = _prepare(options, reporter)
    runtime = runtime_of(site)
    image = project_root() / "build" / site.name / f"{site.name}.raw"
    console = image.with_suffix(".console.log")
    console.unlink(missing_ok=True)
    node = site.hosts[0]
    program = emulator_of(site.lock_path, Cache(options.cache), reporter)
    verdict = choose_accelerator("auto", image, program, Cache(options.cache), reporter)
    shape = hardware(_boot_options(options, _MEMORY[runtime]), node.variables)
    with Machine(image, shape, accelerator=verdict.name, console=console, program=program) as machine:
        reporter.info(f"Booting {image.name} as {node.name}: {verdict.name.upper()}, no network ({verdict.reason}).")
        machine.start()
        with reporter.step("Node recognises itself"):
            machine.wait_for_console(r"edgewright: this machine is \S+", 180)
        answer = None
        if runtime == "podman":
            with reporter.step("Model answers"):
                answer = _ask(site, options, machine, question, deadline=began_plus(options.timeout))
        with reporter.step("Node is healthy"):
            status = _wait_healthy(machine, status_port(node.variables), deadline=began_plus(options.timeout))
        _show(reporter, question, answer, status, console, time.monotonic() - began)
        with reporter.step("Switching off"):
            machine.powerdown(timeout=180)
    told = {"answer": answer[0], "score": answer[1]} if answer else {}
    reporter.result({**told, "status": status, "console": str(console)})
    return ExitCode.OK


def began_plus(seconds: float) -> float:
    """Return the monotonic time in ``seconds`` from now."""
    return time.monotonic() + seconds


def _verb(name: str, words: list[str], options: argparse.Namespace, reporter: Reporter) -> None:
    """Run another verb as its own command line would."""
    from edgewright.cli import verb_parser

    module = importlib.import_module(f"edgewright.verbs.{name}")
    common = ["-i", str(options.inventory), "--cache", str(options.cache)]
    if options.vault_password_file:
        common += ["--vault-password-file", str(options.vault_password_file)]
    code = module.run(verb_parser(name, module).parse_args([*common, *words]), reporter)
    if code != ExitCode.OK:
        raise EdgeError(Problem(f"edgewright {name}", f"ended with exit code {code}"))


def _prepare(options: argparse.Namespace, reporter: Reporter) -> Site:
    """Lock what is not locked, fetch what is not fetched, build what is not built; return the site."""
    _verb("check", [], options, reporter)
    site = load_site(options.inventory, vault_password_file=options.vault_password_file)
    with reporter.step("Pinned artifacts are in the store"):
        if runtime_of(site) == "k3s":
            _get_platform(site, options, reporter)
        else:
            _get_packages(options, reporter)
    _verb("build", [], options, reporter)
    return site


def _get_platform(site: Site, options: argparse.Namespace, reporter: Reporter) -> None:
    """Lock and fetch; releases and images may be out of reach where packages are not, so all that is missing is told.

    Raises:
        NeedsNetworkError: what is missing, as one list.
    """
    try:
        _verb("lock", [], options, reporter)
        _verb("fetch", [], options, reporter)
    except NeedsNetworkError as error:
        raise missing_artifacts(site, request_of(site), error.problems) from error


def _get_packages(options: argparse.Namespace, reporter: Reporter) -> None:
    """Lock and fetch; a lock that is too old for the mirrors is renewed."""
    _verb("lock", [], options, reporter)
    try:
        _verb("fetch", [], options, reporter)
    except NeedsNetworkError as error:
        # A point release takes the packages it replaces off the mirrors; their successors serve a demo as well.
        reporter.warning(f"{error.problems[0]}")
        reporter.info("Pinning what the mirror has today.")
        _verb("lock", ["--upgrade"], options, reporter)
        _verb("fetch", [], options, reporter)


def _boot_options(options: argparse.Namespace, memory: str) -> argparse.Namespace:
    """Return the options of ``edgewright boot --no-network`` with so much memory, all others as by default."""
    from edgewright.cli import verb_parser

    module = importlib.import_module("edgewright.verbs.boot")
    return verb_parser("boot", module).parse_args(["-i", str(options.inventory), "--no-network", "--memory", memory])


def _ask(
    site: Site, options: argparse.Namespace, machine: Machine, question: Path, *, deadline: float
) -> tuple[str, float]:
    """Put the question as soon as the service takes it."""
    service = site.hosts[0].variables["edge_inference_services"][0]
    model = service["models"][0]
    lock = Lock.load(site.lock_path)
    magika = FileTypeModel.of(lock, Store(Cache(options.cache).store), model["source"])
    url = f"http://127.0.0.1:{machine.host_port(service['port'])}"
    features = magika.features(question.read_bytes())
    while True:
        try:
            return magika.answer(ask(url, model["name"], features, timeout=30))
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            _still_on(machine)
            if time.monotonic() > deadline:
                raise EdgeError(
                    Problem(url, "the model gives no answer", found=str(error), remedy=f"See {machine.console}.")
                ) from error
        time.sleep(_POLL)


def _wait_healthy(machine: Machine, port: int, *, deadline: float) -> dict[str, Any]:
    """Wait for the node's own health check; return what its status page says.

    Virtual machines that run get some time more to say something on their consoles.
    """
    url = f"http://127.0.0.1:{machine.host_port(port)}/status.json"
    status: dict[str, Any] = {}
    healthy = False
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError, ValueError):
            status = httpx.get(url, timeout=60, trust_env=False).raise_for_status().json()
            if (status.get("health") or {}).get("healthy"):
                if not _silent(status):
                    return status
                if not healthy:
                    healthy, deadline = True, min(deadline, time.monotonic() + _CONSOLE_SECONDS)
        _still_on(machine)
        time.sleep(_POLL)
    if healthy:
        return status
    checks = (status.get("health") or {}).get("checks", [])
    bad = ", ".join(f"{check['name']}: {check['message']}" for check in checks if not check["healthy"])
    raise EdgeError(
        Problem(url, "the node does not become healthy", found=bad or "no report", remedy=f"See {machine.console}.")
    )


def _silent(status: dict[str, Any]) -> list[str]:
    """Return the virtual machines that run and have said nothing yet."""
    machines = status.get("virtual_machines") or []
    return [
        machine["name"]
        for machine in machines
        if machine["state"] == "running" and not _readable(machine["console_tail"])
    ]


def _still_on(machine: Machine) -> None:
    if not machine.running:
        raise EdgeError(Problem(str(machine.console), "the machine switched itself off", remedy="Read its console."))


def _readable(lines: list[str]) -> list[str]:
    """Return what a person would read on a terminal: no control sequences (ECMA-48), no empty lines."""
    plain = (_CONTROL.sub("", line).rstrip() for line in lines)
    return [line for line in plain if line.strip()]


def _show(
    reporter: Reporter,
    question: Path,
    answer: tuple[str, float] | None,
    status: dict[str, Any],
    console: Path,
    seconds: float,
) -> None:
    """Print what was shown to work."""
    reporter.answer("")
    if answer is None:
        reporter.answer("Workloads  this release runs the platform only; they come to k3s with a later one")
    else:
        reporter.answer(f"Question   what kind of file is {question.name}?")
        reporter.answer(f"Answer     {answer[0]} ({answer[1]:.0%})")
    reporter.answer(f"Node       {status['node']} of site {status['site']}, image {status['image_version']}")
    for check in status["health"]["checks"]:
        reporter.answer(f"Health     {check['name']}: {check['message']}")
    for machine in status.get("virtual_machines", ()):
        reporter.answer(f"VM         {machine['name']}: {machine['state']}; its console:")
        for line in _readable(machine["console_tail"])[-8:]:
            reporter.answer(f"           | {line}")
    reporter.answer(f"Console    {console}")
    reporter.answer(f"Time       {seconds:.0f} s")
