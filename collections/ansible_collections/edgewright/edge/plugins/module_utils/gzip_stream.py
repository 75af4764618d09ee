"""A gzip stream that nobody vouches for."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE: Final = 4 * MIB


def decompressed(blocks: Iterable[bytes], most: int, where: str) -> Iterator[bytes]:
    """Yield what a gzip stream (RFC 1952) holds, of one member or several, in pieces of some MiB.

    Args:
        blocks: the stream.
        most: bytes it may hold; not much more than that is ever decompressed.
        where: its name, for errors.

    Raises:
        EdgeError: it holds more, or it is damaged or cut off.
    """
    total = 0
    stream = zlib.decompressobj(wbits=31)
    fresh = True
    try:
        for block in blocks:
            rest = block
            while rest:
                if stream.eof:
                    stream, fresh = zlib.decompressobj(wbits=31), True
                made = stream.decompress(rest, _PIECE)
                fresh = False
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
                total += len(made)
                if total > most:
                    raise EdgeError(
                        Problem(
                            where,
                            "decompresses to more than its disk can be",
                            found=f"more than {most} bytes",
                            remedy="Do not trust this package; export it again.",
                        )
                    )
                yield made
    except zlib.error as error:
        raise EdgeError(
            Problem(where, f"is no whole gzip stream ({error})", remedy="Copy the package again.")
        ) from None
    if fresh or not stream.eof:
        raise EdgeError(Problem(where, "is no whole gzip stream: it is cut off", remedy="Copy the package again."))
