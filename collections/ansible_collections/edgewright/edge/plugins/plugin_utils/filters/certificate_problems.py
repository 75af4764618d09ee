# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``certificate_problems`` does: given certificates and keys, to what is wrong in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.given_certificate import (
    certificate_problems as problems_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def certificate_problems(variables: Mapping[str, Any], names: Iterable[str] = (), with_keys: bool = True) -> list[str]:
    """Return the problems as text."""
    return [str(problem) for problem in problems_of(variables, names, with_keys=with_keys)]
