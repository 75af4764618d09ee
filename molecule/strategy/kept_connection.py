"""Strategy: linear, with connections to the nodes that Mitogen keeps open, in place of a process in the node per task.

What Molecule itself does, on localhost, stays as it is: it uses asynchronous tasks, whose end Mitogen does not see.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible_mitogen.strategy import StrategyMixin

DOCUMENTATION = """
name: kept_connection
short_description: Linear, with connections that are kept open
"""


class StrategyModule(StrategyMixin, Linear):  # type: ignore[misc]  # neither has types
    """Mitogen's for plays on nodes, Ansible's own for those on localhost."""

    def run(self, iterator: Any, play_context: Any, result: int = 0) -> int:
        """Run a play."""
        if list(iterator.host_states) == ["localhost"]:
            return int(Linear.run(self, iterator, play_context))
        return int(super().run(iterator, play_context, result))
