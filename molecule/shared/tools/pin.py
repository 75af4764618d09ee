#!/usr/bin/env python3
"""Put files into a content-addressed store and pin them in a site's lock, as ``edgewright lock`` and ``fetch`` do.

Usage: ``pin.py INVENTORY_FOLDER CACHE_FOLDER SOURCE=FILE…``; each SOURCE is what the inventory names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgewright.lockfile import LOCK_NAME, Artifact, Lock
from edgewright.store import Store


def main() -> None:
    """Store and pin each file."""
    inventory, cache = Path(sys.argv[1]), Path(sys.argv[2])
    store = Store(cache / "store")
    artifacts = {}
    for argument in sys.argv[3:]:
        source, _, name = argument.partition("=")
        with Path(name).open("rb") as stream:
            digest, size = store.adopt_stream(stream)
        artifacts[source] = Artifact(source=source, digest=digest, size=size)
    Lock(artifacts=artifacts).dump(inventory / LOCK_NAME)


if __name__ == "__main__":
    main()
