"""A running guest whose file systems stand still for a moment.

Talks to libvirt, which talks to the agent in the guest. Be quick while it is frozen: what the guest writes has to wait.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# The agent of Windows gives its writers a minute (VSS), that of Linux waits for its hook scripts.
_LONGEST: Final = 90
# It is told "thawed"; if we die first, it thaws the guest in our place: even a killed process leaves none frozen. An
# agent that still freezes, too late for us, hears of nothing else until it has: it is asked again for some minutes.
_STAND_BY: Final = """
read -r word
[ "$word" = thawed ] && exit
tries=40
[ "$word" = once ] && tries=1
until virsh --quiet --connect "$0" domfsthaw "$1"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 3
done
"""


@contextmanager
def frozen(libvirt: Any, domain: Any) -> Iterator[tuple[int, str]]:
    """Freeze a guest's file systems through its agent for the time of a block, and thaw them whatever happens in it.

    Yields:
        How many file systems are frozen, and why none is, in libvirt's words.
    """
    command = ["sh", "-c", _STAND_BY, domain.connect().getURI(), domain.name()]
    # In a session of its own, so that no signal to us and ours reaches it.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    ) as stand_by:
        try:
            yield _freeze(libvirt, domain)
        finally:
            # This closes the pipe, and waits for what the other does then.
            stand_by.communicate(_thaw(libvirt, domain))


def _freeze(libvirt: Any, domain: Any) -> tuple[int, str]:
    try:
        domain.agentSetResponseTimeout(_LONGEST)
        count = int(domain.fsFreeze())
    except libvirt.libvirtError as error:
        return 0, str(error)
    return count, "" if count else "the guest has no file system that can be frozen"


def _thaw(libvirt: Any, domain: Any) -> str:
    """Thaw, and return what the stand-by is told."""
    # Also when freezing failed: an agent that answered too late may have frozen after all.
    try:
        domain.fsThaw()
    except libvirt.libvirtError as error:
        # libvirt 11.2 and later tell an agent that was too slow from one that is not there.
        late = {libvirt.VIR_ERR_AGENT_UNRESPONSIVE, getattr(libvirt, "VIR_ERR_AGENT_COMMAND_TIMEOUT", None)}
        return "" if error.get_error_code() in late else "once\n"
    finally:
        _forget_timeout(libvirt, domain)
    return "thawed\n"


def _forget_timeout(libvirt: Any, domain: Any) -> None:
    try:
        domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK)
    except libvirt.libvirtError:
        # It stopped meanwhile, and took the setting with it.
        return
