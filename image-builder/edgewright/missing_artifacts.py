"""What can be had neither from the store nor from the network, as one list: canonical names, why, what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem

from edgewright.exits import NeedsNetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgewright.resolve_request import Request
    from edgewright.site import Site

_WHAT = "is not in the store, and cannot be fetched"


def missing_artifacts(site: Site, request: Request, failures: Sequence[Problem]) -> NeedsNetworkError:
    """Return the error with which a run ends that cannot get what a site is made of.

    Args:
        site: the site.
        request: what it asks for.
        failures: what ``lock`` or ``fetch`` said: places, mirrors and reasons.
    """
    listed = [_named(problem, request) for problem in failures]
    names = {problem.where for problem in listed}
    unknown = [source for source in request.documents if source in names]
    what = f"{len(listed)} artifacts of the site are missing"
    if unknown:
        what += f", and the container images that {len(unknown)} of them name"
    return NeedsNetworkError(
        [
            *listed,
            Problem(
                str(site.shown),
                what,
                remedy=(
                    f"Where there is a network, run `edgewright lock -i {site.shown}`, `edgewright fetch` and "
                    "`edgewright artifacts export PATH`; bring PATH and site.lock.yml here, and run `edgewright "
                    f"artifacts import PATH -i {site.shown}`. Or name mirrors in edge_mirrors (docs/artifacts.md)."
                ),
            ),
        ]
    )


def _named(problem: Problem, request: Request) -> Problem:
    """Return a failure under the canonical name of what it kept from being had; others as they are."""
    for name in _names(problem, request):
        found = problem.found or problem.what
        return Problem(name, _WHAT, found, remedy=f"{problem.where.removesuffix(f': {name}')} asks for it.")
    return replace(problem, remedy="")


def _names(problem: Problem, request: Request) -> Iterator[str]:
    for source in request.artifacts:
        addresses = {source, request.places.url(source)}
        if checksums := request.checksums.get(source):
            addresses |= {checksums, request.places.url(checksums)}
        if problem.where == source or any(problem.what.startswith(f"{address}: ") for address in addresses):
            yield source
    for image in request.images:
        if image in (problem.where, problem.where.rpartition(": ")[2]):
            yield image
