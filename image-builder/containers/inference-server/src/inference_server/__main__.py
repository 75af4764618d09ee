"""``python3 -m inference_server``: read the settings and serve."""

from __future__ import annotations

import os
import sys

from inference_server.settings import SettingsError, load


def main() -> int:
    """Serve; return 2 for settings that cannot be used, before anything heavy is imported."""
    try:
        settings = load(sys.argv[1:], os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    from inference_server.server import serve

    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
