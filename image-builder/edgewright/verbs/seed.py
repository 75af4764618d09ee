"""``edgewright seed``: what is secret of a site's hosts, for the FAT partitions of their media."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.secret_file import secret_files

from edgewright import site_seed
from edgewright.ansible_vault import configured_password_file
from edgewright.exits import ExitCode
from edgewright.fetching import Fetching
from edgewright.paths import project_root
from edgewright.pipeline import Pipeline, refuse_unfetched, run_stages, usual_modes, with_needs
from edgewright.redaction import hide, redact
from edgewright.reporter import Reporter, amount
from edgewright.site import Site, load_site
from edgewright.site_check import refuse_bad_site
from edgewright.stages.stage import Context, remove_leftovers, scratch_folder
from edgewright.verbs.build import prepare

if TYPE_CHECKING:
    import argparse

    from edgewright.stages.node_layers import NodeLayer

HELP = (
    "Make the site's seed: the secret files of its hosts, which no image has. `flash --seed` puts it onto a medium; the"
    " node that boots it imports its own part and erases all of it from the medium."
)
_FILES = "base__secret_files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="only this host (may be given more than once)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the seed goes (default: build/<site>.seed.tar)"
    )
    # A seed belongs to no version of the image.
    parser.set_defaults(image_version=None)


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Run the roles' seed phase for each host, and pack what it wrote."""
    with reporter.step("Inventory"):
        site = load_site(options.inventory, vault_password_file=options.vault_password_file)
        refuse_bad_site(site)
        # Vaulted or not: what an inventory calls secret is shown to nobody.
        hide(file.content for host in site.hosts for file in secret_files(host.variables.get(_FILES), where=_FILES))
        hosts = _hosts(site, options.host)
    plan, context = prepare(site, options, reporter)
    remove_leftovers(context.cache)
    _installed_root(plan, context, site, reporter)
    tars: dict[str, bytes] = {}
    with usual_modes(), scratch_folder(context.cache, "seed") as scratch:
        password = _vault_password(options.vault_password_file, scratch)
        for layer in plan.layers:
            if layer.host.name in hosts:
                with reporter.step(f"Secrets of {layer.host.name}"):
                    tar = _secrets_of(replace(layer, vault_password_file=password), context, scratch)
                if tar is not None:
                    tars[layer.host.name] = tar
    files = {host: site_seed.paths(tar) for host, tar in tars.items()}
    without = [host for host in hosts if host not in tars]
    if not tars:
        reporter.answer(f"No secrets: {', '.join(hosts)}. Nothing was written, and no seed is needed.")
        reporter.result({"seed": None, "hosts": files, "without": without})
        return ExitCode.OK
    output = options.output or project_root() / "build" / f"{site.name}.seed.tar"
    output.parent.mkdir(parents=True, exist_ok=True)
    site_seed.SiteSeed(tars).write(output)
    for host in hosts:
        reporter.info(f"{host}: {', '.join(files[host]) if host in files else 'no secrets'}")
    reporter.answer(f"{output}  ({amount(output.stat().st_size)}, for its owner alone)")
    reporter.result({"seed": str(output), "hosts": files, "without": without})
    return ExitCode.OK


def _hosts(site: Site, wanted: list[str]) -> list[str]:
    """Return the names of the hosts to make the seed for, in inventory order."""
    names = [host.name for host in site.hosts]
    problems = Problems()
    for name in wanted:
        if name not in names:
            problems.add("--host", "no such host in the inventory", found=repr(name), expected=", ".join(names))
    problems.raise_if_any()
    return [name for name in names if not wanted or name in wanted]


def _installed_root(plan: Pipeline, context: Context, site: Site, reporter: Reporter) -> None:
    """Make the root that the seed phase runs over, unless a build has made it already."""
    install = plan.layers[0].install
    wanted = with_needs([install, plan.tools])
    if not all(stage.is_built(context.cache) for stage in wanted):
        refuse_unfetched(Fetching(plan.disk.lock, plan.disk.store, site.inventory, reporter), site)
    run_stages(wanted, context, reporter)


def _secrets_of(layer: NodeLayer, context: Context, scratch: Path) -> bytes | None:
    """Return the tar of one host's secrets; ``None`` when it has none. What Ansible said is logged without them."""
    log, changes = scratch / f"{layer.host.name}.log", scratch / layer.host.name
    changes.mkdir()
    try:
        layer.run_phase(context, changes, phase="seed", log=log)
    finally:
        if log.exists():
            with context.log.open("a", encoding="utf-8") as stream:
                stream.write(redact(log.read_text(encoding="utf-8", errors="replace")))
    return site_seed.pack(changes, layer.host.name, context.epoch)


def _vault_password(given: Path | None, scratch: Path) -> Path | None:
    """Return a file with the vault's password: Ansible in the node's root sees no environment of ours, and no programs.

    Raises:
        EdgeError: the program that prints the password failed.
    """
    path = given or configured_password_file()
    if path is None or not os.access(path, os.X_OK):
        return path
    done = subprocess.run([path.resolve()], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise EdgeError(Problem(str(path), f"the vault password program ended with exit status {done.returncode}"))
    password = scratch / "vault-password"
    password.touch(mode=0o600)
    password.write_bytes(done.stdout)
    return password
