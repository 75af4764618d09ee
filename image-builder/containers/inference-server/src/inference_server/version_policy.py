"""Which of the versions on disk a model serves (Triton's ``ModelVersionPolicy``, model_config.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference_server.signature import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """``latest`` N versions, ``specific`` ones, or all when both are None. Triton's default is the latest one."""

    latest: int | None = 1
    specific: tuple[int, ...] | None = None

    def choose(self, available: Collection[int]) -> list[int]:
        """Return the versions to serve, highest first.

        Raises:
            UnsupportedModelError: nothing to serve, or a specific version is not there.
        """
        ordered = sorted(available, reverse=True)
        if not ordered:
            raise UnsupportedModelError("found no version folder; expected <model>/<N>/, N a whole number from 1")
        if self.specific is not None:
            missing = sorted(set(self.specific) - set(ordered))
            if missing:
                raise UnsupportedModelError(
                    f"config.pbtxt: version_policy.specific: versions {missing} are not there; found {ordered}"
                )
            return sorted(set(self.specific), reverse=True)
        return ordered if self.latest is None else ordered[: self.latest]
