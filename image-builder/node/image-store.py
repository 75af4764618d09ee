"""Make a containers/storage overlay store the same at every build of the same images.

containers/storage gives each layer a random short name for its mount options (``overlay/<id>/link``, ``overlay/l/``;
containers/storage, drivers/overlay/overlay.go) and writes the time of the import into its indices. Both are replaced
by values that follow from the content.

A folder that a layer empties first has an extended attribute (``overlay.opaque``), which a builder without root cannot
write the way the node's kernel reads it. It is written as what it means: a whiteout for each thing that is below it.

Usage: image-store.py STORAGE; SOURCE_DATE_EPOCH is the time.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

# The alphabet and length that overlay.go uses for short names (base32, 26 characters).
_NAME_LENGTH = 26
# The kernel's own, and the one that a mount in a user namespace has.
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def short_name(layer: str) -> str:
    """Return a layer's short name, derived from its id."""
    digest = hashlib.sha256(layer.encode()).digest()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "".join(alphabet[byte % 32] for byte in digest[:_NAME_LENGTH])


def rename_links(overlay: Path) -> None:
    """Give every layer its derived short name, in its link file, the folder of links and the lists of lower layers."""
    names = {}
    for link in overlay.glob("*/link"):
        names[link.read_text()] = short_name(link.parent.name)
    shutil.rmtree(overlay / "l")
    (overlay / "l").mkdir(mode=0o700)
    for link in overlay.glob("*/link"):
        new = names[link.read_text()]
        link.write_text(new)
        (overlay / "l" / new).symlink_to(f"../{link.parent.name}/diff")
    for lower in overlay.glob("*/lower"):
        parts = lower.read_text().split(":")
        lower.write_text(":".join(f"l/{names[part.removeprefix('l/')]}" for part in parts))


def spell_out_opaque_folders(overlay: Path) -> None:
    """Replace opaque folders by whiteouts of what the lower layers have there (kernel documentation, overlayfs)."""
    for layer in overlay.glob("*/diff"):
        lower = layer.parent / "lower"
        parts = lower.read_text().split(":") if lower.exists() else []
        below = [(overlay / part).resolve() for part in parts]
        for name, _, _ in os.walk(layer):
            folder = Path(name)
            if marks := set(OPAQUE) & set(os.listxattr(folder)):
                seen = folder.lstat()
                for mark in marks:
                    os.removexattr(folder, mark)
                hide(folder, [each / folder.relative_to(layer) for each in below])
                os.utime(folder, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def hide(folder: Path, below: list[Path]) -> None:
    """Make a whiteout of everything that folders below have; one of what nothing has there hides nothing."""
    own = {entry.name for entry in folder.iterdir()}
    under = {entry.name for each in below if each.is_dir() and not each.is_symlink() for entry in each.iterdir()}
    for name in under - own:
        os.mknod(folder / name, stat.S_IFCHR, os.makedev(0, 0))


def fix_times(index: Path, when: str) -> None:
    """Set every ``created`` of an index to the build's date."""
    if not index.exists():
        return
    records = json.loads(index.read_text())
    for record in records:
        if "created" in record:
            record["created"] = when
        for key in ("big-data-digests", "big-data-sizes", "uidset", "gidset"):
            if isinstance(record.get(key), dict):
                record[key] = dict(sorted(record[key].items()))
    records.sort(key=lambda record: record["id"])
    index.write_text(json.dumps(records, separators=(",", ":")))


def main() -> None:
    """Rewrite the store named on the command line."""
    storage = Path(sys.argv[1])
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    when = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rename_links(storage / "overlay")
    spell_out_opaque_folders(storage / "overlay")
    fix_times(storage / "overlay-layers" / "layers.json", when)
    fix_times(storage / "overlay-images" / "images.json", when)
    for name in ("db.sql", "defaultNetworkBackend", "storage.lock", "userns.lock", "tmp", "overlay/.has-mount-program"):
        path = storage / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # podman takes these locks, shared, even where it cannot write: they must exist. What they hold is who wrote last.
    for name in ("overlay-layers/layers.lock", "overlay-images/images.lock", "overlay-containers/containers.lock"):
        (storage / name).write_bytes(b"")
    for path in [storage, *storage.rglob("*")]:
        relative = path.relative_to(storage).parts
        own = len(relative) < 4 or relative[2] != "diff"
        if path.lstat().st_mtime > epoch or own:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


main()
