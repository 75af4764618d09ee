"""Lets ``python -m edgewright`` do what ``edgewright`` does."""

import sys

from edgewright.cli import main

sys.exit(main())
