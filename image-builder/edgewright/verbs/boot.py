"""``edgewright boot``: a built image in QEMU, as the inventory host that it should recognise itself to be."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import accelerator, site_seed, virtual_node
from edgewright.exits import ExitCode
from edgewright.machine import Machine, MachineError
from edgewright.paths import Cache, project_root
from edgewright.reporter import Reporter, duration
from edgewright.site_emulator import emulator_of
from edgewright.stages.stage import scratch_folder
from edgewright.tools import qemu

if TYPE_CHECKING:
    import argparse

    from edgewright.site import Site
    from edgewright.tools.emulator import Emulator

HELP = (
    "Boot a built image in QEMU. The image itself is never written; without --persistent all changes are thrown away."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "image", nargs="?", type=Path, metavar="IMAGE", help="raw disk image (default: build/<site>/<site>.raw)"
    )
    parser.add_argument("--node", metavar="NAME", help="inventory host to be (default: the site's only host)")
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--memory", default="2GiB", metavar="SIZE", help="memory (default: 2GiB)")
    machine.add_argument("--cpus", type=int, default=2, metavar="N", help="processors (default: 2)")
    machine.add_argument(
        "--accel", choices=("auto", "kvm", "tcg"), default="auto", help="auto tries whether KVM really works"
    )
    machine.add_argument("--usb", action="store_true", help="the disk is a USB stick, not a virtio disk")
    machine.add_argument(
        "--disk-size", metavar="SIZE", help="size of the disk, at least the image's (default: the image's)"
    )
    machine.add_argument(
        "--persistent", type=Path, metavar="FILE", help="keep the disk in FILE and boot it again next time"
    )
    machine.add_argument(
        "--seed",
        type=Path,
        metavar="FILE",
        help="secrets made by `edgewright seed`, put onto the disk that boots (a --persistent one must be FILE.raw)",
    )
    machine.add_argument("--mac", metavar="MAC", help="hardware address (default: the host's edge_node.mac)")
    machine.add_argument(
        "--dmi-serial", metavar="TEXT", help="serial number (default: the host's edge_node.dmi_serial)"
    )
    machine.add_argument("--dmi-uuid", metavar="UUID", help="system UUID (default: the host's edge_node.dmi_uuid)")
    machine.add_argument(
        "--credential", action="append", default=[], metavar="NAME=FILE", help="a systemd system credential"
    )
    machine.add_argument(
        "--kernel-argument", action="append", default=[], metavar="ARG", help="append to the kernel's command line"
    )
    machine.add_argument("--no-reboot", action="store_true", help="stop where the machine would reboot")
    machine.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="press the power button after this time; exit 1"
    )
    machine.add_argument(
        "--grace", type=float, default=60.0, metavar="SECONDS", help="then cut the power after this time (default: 60)"
    )
    network = parser.add_argument_group("its network")
    network.add_argument(
        "--no-network", action="store_true", help="no way out of the machine, only forwarded ports into it"
    )
    network.add_argument(
        "--forward",
        action="append",
        default=[],
        metavar="HOST:GUEST",
        help="open guest port GUEST as 127.0.0.1:HOST (ssh, status page, services and ingress: by themselves)",
    )
    network.add_argument("--capture", type=Path, metavar="FILE", help="record every frame on its link, as pcap")
    network.add_argument("--console", type=Path, metavar="FILE", help="append the serial console's text to FILE")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Boot, show where things are, wait until the machine is off."""
    image, site, variables = _image_and_host(options)
    secrets = _secrets(options)
    shape = hardware(options, variables)
    program = emulator_of(site.lock_path if site else None, Cache(options.cache), reporter)
    verdict = choose_accelerator(options.accel, image, program, Cache(options.cache), reporter)
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not options.json
    with contextlib.ExitStack() as stack:
        disk = options.persistent
        if secrets and disk is None:
            disk = stack.enter_context(scratch_folder(Cache(options.cache), "boot")) / "disk.raw"
        machine = stack.enter_context(
            Machine(
                image,
                shape,
                accelerator=verdict.name,
                persistent=disk,
                console=options.console,
                disk_size=virtual_node.parse_size(options.disk_size, "--disk-size") if options.disk_size else 0,
                terminal=terminal,
                program=program,
            )
        )
        if secrets:
            machine.disk.chmod(0o600)
            site_seed.place(machine.disk, secrets)
        reporter.info(f"Booting {image} with {verdict.name.upper()} ({verdict.reason}).")
        for forward in shape.link.forwards:
            reporter.info(f"  127.0.0.1:{forward.host} → port {forward.guest}")
        reporter.detail(f"command: {' '.join(machine.command)}")
        machine.start()
        ports = {str(forward.guest): forward.host for forward in shape.link.forwards}
        reporter.result({"image": str(image), "accelerator": verdict.name, "ports": ports})
        status = machine.wait(options.timeout)
        if status is None:
            reporter.warning(f"Still on after {duration(options.timeout)}; pressing the power button.")
            try:
                machine.powerdown(timeout=options.grace)
            except MachineError:
                reporter.warning("It does not switch itself off; cutting the power.")
            return ExitCode.FAILED
        return ExitCode.OK if status == 0 else ExitCode.FAILED


def _secrets(options: argparse.Namespace) -> site_seed.SiteSeed | None:
    """Return the seed for the disk, if one is asked for; only a raw disk can be given one."""
    if options.seed is None:
        return None
    if options.persistent and options.persistent.suffix != ".raw":
        expected = f"{options.persistent.stem}.raw"
        raise EdgeError(Problem("--persistent", "not a raw disk, as --seed needs", str(options.persistent), expected))
    return site_seed.SiteSeed.read(options.seed)


def choose_accelerator(
    wanted: Any, image: Path, program: Emulator, cache: Cache, reporter: Reporter
) -> accelerator.Verdict:
    """Choose the accelerator, with the image's own kernel as the proof; the answer is kept in the cache folder."""
    with accelerator.probe_kernel(image, cache.tmp) as kernel:
        verdict = accelerator.choose(wanted, kernel=kernel, memory=cache.root / "accelerators.json", program=program)
    reporter.detail(f"accelerator {verdict.name}: {verdict.reason}")
    return verdict


def _image_and_host(options: argparse.Namespace) -> tuple[Path, Site | None, dict[str, Any]]:
    """Return the image, its site, and the variables of the host to be; without an inventory there are none."""
    if options.inventory is None:
        if options.image is None:
            raise EdgeError(
                Problem("", "nothing to boot", "", "an image or an inventory", "Add -i inventories/<site>.")
            )
        return options.image, None, {}
    from edgewright.site import load_site

    site = load_site(options.inventory, vault_password_file=options.vault_password_file)
    image = options.image or project_root() / "build" / site.name / f"{site.name}.raw"
    if options.node is None and len(site.hosts) > 1 and not (options.mac or options.dmi_serial or options.dmi_uuid):
        names = ", ".join(host.name for host in site.hosts)
        raise EdgeError(Problem("--node", "the site has several hosts", "", f"one of {names}", "Add --node NAME."))
    wanted = options.node or (site.hosts[0].name if len(site.hosts) == 1 else None)
    for host in site.hosts:
        if host.name == wanted:
            return image, site, host.variables
    if options.node:
        names = ", ".join(host.name for host in site.hosts)
        raise EdgeError(Problem("--node", "no such host in the inventory", repr(options.node), f"one of {names}"))
    return image, site, {}


def hardware(options: argparse.Namespace, variables: dict[str, Any]) -> qemu.Hardware:
    """Return the machine that the options and the inventory host ask for, with free host ports chosen."""
    address, gateway = virtual_node.static_address(variables)
    wanted = [qemu.Forward.parse(text) for text in options.forward]
    credentials = dict(virtual_node.parse_credential(text) for text in options.credential)
    link = qemu.Link(
        mac=options.mac or virtual_node.first_mac(variables) or qemu.Link.mac,
        isolated=options.no_network,
        address=address,
        gateway=gateway,
        forwards=qemu.choose_ports(virtual_node.forwards(variables, wanted)),
        capture=options.capture,
    )
    return qemu.Hardware(
        memory=virtual_node.parse_size(options.memory, "--memory"),
        cpus=options.cpus,
        disk_bus="usb" if options.usb else "virtio",
        link=link,
        dmi_serial=options.dmi_serial or virtual_node.identity(variables, "dmi_serial"),
        dmi_uuid=options.dmi_uuid or virtual_node.identity(variables, "dmi_uuid"),
        credentials={name: Path(file).read_bytes() for name, file in credentials.items()},
        kernel_arguments=tuple(options.kernel_argument),
        reboots=not options.no_reboot,
    )
