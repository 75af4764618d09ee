"""Exit codes of the command line, and the error that has one of its own."""

from __future__ import annotations

from enum import IntEnum

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


class ExitCode(IntEnum):
    """What the exit code of ``edgewright`` tells a script."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NEEDS_NETWORK = 3
    INTERRUPTED = 130
    TERMINATED = 143


class NeedsNetworkError(EdgeError):
    """The work needs something that only a network can give: fetch it first, or the mirror no longer has it."""
