"""``edgewright artifacts``: carry what a site's lock pins across an air gap, and prove that it arrived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.paths import Cache

if TYPE_CHECKING:
    import argparse

    from edgewright.fetching import Fetching
    from edgewright.reporter import Reporter
    from edgewright.store import Store

HELP = """\
Carries what site.lock.yml pins (packages, wheels, files, container images) to a machine without a network.

  export PATH      write everything that the site's lock pins: into a folder, or into one archive if PATH ends in .tar.
                   A folder can take several sites, works on FAT, and is added to by the next run.
  import PATH ...  take exports into the store; every byte is checked before it lands. With -i: say what the site lacks
                   then.
  images PATH      write the site's container images as an OCI layout, into a new folder or an archive (.tar): for
                   containerd (ctr images import), or as a mirror (oci:) in edge_mirrors. skopeo and podman read it too,
                   but for images of Docker's older media types.
  verify [PATH ...]
                   read exports again; without PATH the store: all of it, or with -i what the site needs.

Exit codes: 2 if something is damaged or no export, 3 if something is missing in the store."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("action", choices=("export", "import", "images", "verify"), help="what to do")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a folder, or an archive (.tar)")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Do the action; the answer counts files and bytes."""
    from edgewright.store import Store

    actions = {"export": _export, "import": _import, "images": _images, "verify": _verify}
    return actions[options.action](options, Store(Cache(options.cache).store), reporter)


def _export(options: argparse.Namespace, store: Store, reporter: Reporter) -> int:
    from edgewright.exits import ExitCode
    from edgewright.transfer_write import contents_of, write_archive, write_folder

    path = _one_path(options)
    name, lock_path, fetching = _site(options, store, reporter)
    contents = contents_of(name, lock_path, fetching.digests(), store)
    write = write_archive if path.suffix == ".tar" else write_folder
    with reporter.step(f"export {len(contents.files)} files"):
        written = write(contents, store, path, reporter)
    size = sum(each.size for each in contents.files)
    reporter.answer(
        f"{path}: site '{name}', {len(contents.files)} files, {size / 1e6:.1f} MB ({written / 1e6:.1f} MB written)"
    )
    reporter.result({"path": str(path), "site": name, "files": len(contents.files), "size": size, "written": written})
    return ExitCode.OK


def _images(options: argparse.Namespace, store: Store, reporter: Reporter) -> int:
    from edgewright.exits import ExitCode
    from edgewright.lockfile import Lock
    from edgewright.oci_layout import write_layout, write_layout_archive

    path = _one_path(options)
    name, lock_path, _ = _site(options, store, reporter)
    images = Lock.load(lock_path).images
    write = write_layout_archive if path.suffix == ".tar" else write_layout
    with reporter.step(f"write {len(images)} images"):
        size = write(images.values(), store, path)
    reporter.answer(f"{path}: site '{name}', {len(images)} images, {size / 1e6:.1f} MB")
    reporter.result({"path": str(path), "site": name, "images": sorted(images), "size": size})
    return ExitCode.OK


def _one_path(options: argparse.Namespace) -> Path:
    from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

    if len(options.paths) != 1 or options.inventory is None:
        expected = f"edgewright artifacts {options.action} PATH -i INVENTORY"
        what = f"{options.action} takes one folder or archive, and the site's inventory"
        raise EdgeError(Problem("", what, expected=expected))
    path: Path = options.paths[0]
    return path


def _import(options: argparse.Namespace, store: Store, reporter: Reporter) -> int:
    from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

    from edgewright.exits import ExitCode
    from edgewright.transfer_read import import_exports

    if not options.paths:
        raise EdgeError(Problem("", "import needs to know what", expected="edgewright artifacts import PATH …"))
    with reporter.step("import"):
        read = import_exports(options.paths, store, reporter)
    reporter.answer(
        f"{', '.join(read.sites)}: {read.files} files taken, {read.size / 1e6:.1f} MB; {read.kept} were there already"
    )
    missing: list[dict[str, Any]] = []
    if options.inventory is not None:
        name, _, fetching = _site(options, store, reporter)
        missing = [{"name": each.name, "digest": each.digest, "size": each.size} for each in fetching.missing()]
        for each in missing:
            reporter.answer(f"{each['size']:>12}  {each['name']}")
        reporter.answer(f"{name}: {len(missing)} things are missing" if missing else f"{name}: nothing is missing")
    reporter.result(
        {"sites": read.sites, "files": read.files, "size": read.size, "kept": read.kept, "missing": missing}
    )
    return ExitCode.NEEDS_NETWORK if missing else ExitCode.OK


def _verify(options: argparse.Namespace, store: Store, reporter: Reporter) -> int:
    from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

    from edgewright.exits import ExitCode, NeedsNetworkError
    from edgewright.transfer_read import damaged_in_store, verify_exports

    if options.paths:
        with reporter.step("verify"):
            read = verify_exports(options.paths, reporter)
        what = ", ".join(map(str, options.paths))
    else:
        pinned, lacking = _pinned(options, store, reporter)
        with reporter.step("verify the store"):
            read, problems = damaged_in_store(pinned, store, reporter)
        remedy = "Run 'edgewright fetch', or 'edgewright artifacts import'."
        missing = [Problem(name, "this is not in the store", remedy=remedy) for name in lacking]
        if problems.found:
            raise EdgeError(problems.found + missing)
        if missing:
            raise NeedsNetworkError(missing)
        what = str(store.root)
    reporter.answer(f"{what}: {read.files} files, {read.size / 1e6:.1f} MB, all as they should be")
    reporter.result({"sites": read.sites, "files": read.files, "size": read.size})
    return ExitCode.OK


def _pinned(options: argparse.Namespace, store: Store, reporter: Reporter) -> tuple[list[tuple[str, str]], list[str]]:
    """Return digest and name of what to read in the store, and the names of what is not there."""
    if options.inventory is None:
        return [(digest, f"file {digest}") for digest in store.all_digests()], []
    _, _, fetching = _site(options, store, reporter)
    digests = fetching.digests()
    there = [(digest, name) for digest, name in digests.items() if store.has(digest)]
    return there, sorted({name for digest, name in digests.items() if not store.has(digest)})


def _site(options: argparse.Namespace, store: Store, reporter: Reporter) -> tuple[str, Path, Fetching]:
    from edgewright.fetching import Fetching
    from edgewright.lockfile import Lock
    from edgewright.site import load_site

    site = load_site(options.inventory, vault_password_file=options.vault_password_file)
    return site.name, site.lock_path, Fetching(Lock.load(site.lock_path), store, site.inventory, reporter)
