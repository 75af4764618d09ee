"""``edgewright check``: every mistake of an inventory at once, with file, line, expectation and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import DOCKER
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import ExitCode

if TYPE_CHECKING:
    import argparse

    from edgewright.lockfile import Lock
    from edgewright.reporter import Reporter
    from edgewright.site import Site

HELP = (
    "Check an inventory: YAML, templates and vault, then the schema of the site's variables, then their meaning, then"
    " Kubernetes objects against the definitions that are at hand, then whether this machine can build it. Mistakes end"
    " with exit code 2; what is merely not done yet (a lock to write, a program to install) is a warning. Needs no"
    " network and changes nothing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors (exit code 2)")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Read the inventory, check it, tell what it holds."""
    from edgewright.host_programs import missing_for_boot, missing_for_build, missing_for_images
    from edgewright.kubernetes_check import manifest_problems
    from edgewright.lockfile import Lock
    from edgewright.paths import Cache
    from edgewright.site import load_site
    from edgewright.site_check import refuse_bad_site, unrecognised
    from edgewright.store import Store

    site = load_site(options.inventory, vault_password_file=options.vault_password_file)
    refuse_bad_site(site)
    lock = Lock.load(site.lock_path) if site.lock_path.exists() else None
    if mistakes := manifest_problems(site, lock, Store(Cache(options.cache).store)):
        raise EdgeError(mistakes)
    warnings = [
        *(Problem(str(site.shown), f"Ansible warns: {warning.rstrip('.')}") for warning in site.warnings),
        *site.orphans,
        *unrecognised(site),
        *_lock_warnings(site, lock),
        *missing_for_build(),
        *missing_for_boot(),
        *(missing_for_images() if _has_images(site) else ()),
    ]
    if options.strict and warnings:
        raise EdgeError(warnings)
    for warning in warnings:
        reporter.warning(str(warning))
    hosts = [_summary(host.name, host.variables) for host in site.hosts]
    reporter.answer(f"{site.shown}: site '{site.name}', {_count(len(hosts), 'host')}, no mistakes.")
    for host in hosts:
        reporter.answer(
            f"  {host['name']}: {_count(len(host['inference_services']), 'inference service')},"
            f" {_count(len(host['virtual_machines']), 'virtual machine')}"
        )
    reporter.result(
        {
            "site": site.name,
            "hosts": hosts,
            "errors": [],
            "warnings": EdgeError(warnings).as_list(),
        }
    )
    return ExitCode.OK


def _has_images(site: Site) -> bool:
    """Tell whether something of a checked site comes from a registry."""
    machines = (vm for host in site.hosts for vm in host.variables.get("edge_virtual_machines") or ())
    disks = any(disk["source"].startswith(DOCKER) for vm in machines for disk in vm["disks"])
    return disks or site.hosts[0].variables.get("edge_runtime") == "k3s"


def _lock_warnings(site: Site, lock: Lock | None) -> list[Problem]:
    """Tell what the lock lacks; an inventory without one is right, it only cannot be built yet."""
    from edgewright.resolve_request import gaps, request_of

    path = site.lock_path
    remedy = f"Run `edgewright lock -i {site.shown}` where there is a network."
    if lock is None:
        return [Problem(str(site.shown / path.name), "the site is not locked yet", remedy=remedy)]
    missing = gaps(lock, request_of(site), str(site.shown / path.name))
    return [Problem(gap.where, gap.what, gap.found, gap.expected, remedy) for gap in missing]


def _summary(name: str, variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "inference_services": [service["name"] for service in variables.get("edge_inference_services") or ()],
        "virtual_machines": [machine["name"] for machine in variables.get("edge_virtual_machines") or ()],
    }


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
