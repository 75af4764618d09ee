"""Boots in emulation: how long until somebody could log in, and until the model's first answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
from bench.figures import Row
from edgewright.cli import verb_parser
from edgewright.machine import Machine
from edgewright.question import FileTypeModel, ask
from edgewright.site_emulator import emulator_of
from edgewright.tools import qemu
from edgewright.verbs import boot as boot_verb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.mkosi import Mkosi
    from bench.workplace import Workplace
    from edgewright.tools.emulator import Emulator

_LOGIN = r"login: "
_TIMEOUT = 600.0  # seconds
_POLL = 0.5  # seconds


def boot(place: Workplace, mkosi: Mkosi) -> list[Row]:
    """Boot each image once, on the same virtual machine, from a disk that was never booted."""
    place.built()
    mkosi.ensure_image()
    node = place.site.hosts[0]
    words = ["-i", str(place.inventory), "--no-network", "--accel", "tcg"]
    shape = boot_verb.hardware(verb_parser("boot", boot_verb).parse_args(words), node.variables)
    program = emulator_of(place.inventory / "site.lock.yml", place.user_cache, place.reporter)
    with place.reporter.step("Edgewright's image boots"):
        login, answer = _boot(place.image, program, shape, place.folder / "edgewright.console.log", _question(place))
    bare = qemu.Hardware(memory=shape.memory, cpus=shape.cpus, link=qemu.Link(isolated=True))
    with place.reporter.step("mkosi's image boots"):
        theirs, _ = _boot(mkosi.image, program, bare, place.folder / "mkosi.console.log", None)
    return [
        Row(
            "Boot to login prompt",
            login,
            "s",
            theirs,
            "mkosi's image",
            note="A first boot, emulated without KVM. Edgewright's image also finds out which node it is, grows its "
            "state, and starts its services and its virtual machine; mkosi's has the same packages and no workloads.",
        ),
        Row("Boot to the model's first answer", answer, "s", note="From power-on, over HTTP, in the same boot."),
    ]


def _question(place: Workplace) -> Callable[[Machine], Any]:
    """Return what puts one question to the site's first model."""
    service = place.site.hosts[0].variables["edge_inference_services"][0]
    model = service["models"][0]
    magika = FileTypeModel.of(place.lock, place.store, model["source"])
    features = magika.features((place.inventory / "hosts.yml").read_bytes())

    def put(machine: Machine) -> Any:
        url = f"http://127.0.0.1:{machine.host_port(service['port'])}"
        return magika.answer(ask(url, model["name"], features, timeout=30))

    return put


def _boot(
    image: Path,
    program: Emulator,
    shape: qemu.Hardware,
    console: Path,
    question: Callable[[Machine], Any] | None,
) -> tuple[float, float]:
    """Return the seconds from power-on to the login prompt, and to the first answer (0 without a question).

    Raises:
        MachineError: no login prompt.
        TimeoutError: no answer.
    """
    console.unlink(missing_ok=True)
    with Machine(image, shape, accelerator="tcg", console=console, program=program) as machine:
        machine.start()
        machine.wait_for_console(_LOGIN, _TIMEOUT)
        login = time.monotonic() - machine.started_at
        while question is not None:
            try:
                question(machine)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if not machine.running or time.monotonic() - machine.started_at > _TIMEOUT:
                    raise TimeoutError(f"the model gives no answer within {_TIMEOUT:.0f} s: {error}") from error
                time.sleep(_POLL)
            else:
                return login, time.monotonic() - machine.started_at
    return login, 0.0
