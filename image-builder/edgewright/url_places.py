"""Where a file with a URL is really had: there, at a mirror, or in a folder on a stick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem


@dataclass(frozen=True)
class UrlPlaces:
    """The mirrors of a site, for files; a mirror stands in for what its prefix names, nothing else is asked then.

    Relative folders are meant below ``inventory``.
    """

    mirrors: Mirrors = field(default_factory=Mirrors)
    inventory: Path = Path()

    def url(self, source: str) -> str:
        """Return where to ask for a URL; a file in a folder is ``file:<path>``."""
        located = self.mirrors.locate(source)
        if located is None:
            return source
        return located.address if located.kind == "http" else f"file:{self.inventory / located.address}"

    def path(self, source: str) -> Path | None:
        """Return the file that stands in for a URL, or ``None`` if a server has to be asked.

        Raises:
            EdgeError: the mirror is a folder, and has no such file.
        """
        place = self.url(source)
        if not place.startswith("file:"):
            return None
        path = Path(place.removeprefix("file:"))
        if not path.is_file():
            remedy = "Put the file there, or take the mirror out of edge_mirrors."
            raise EdgeError(Problem(source, "the mirror's folder has no such file", str(path), remedy=remedy))
        return path
