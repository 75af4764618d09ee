"""What connections get while a service of podman comes and goes."""

from __future__ import annotations

import json
from typing import Any

from scenario import PROJECT

_PROGRAM = (PROJECT / "molecule" / "shared" / "tools" / "knock.py").read_text()


def assert_told_at_once(host: Any, address: str, port: int, unit: str, *, prefix: str = "") -> None:
    """Check that whoever connects while a unit restarts gets an answer or is refused, and waits for neither."""
    told = host.check_output(f"{prefix}python3 -c %s %s %s systemctl restart %s", _PROGRAM, address, str(port), unit)
    found = json.loads(told)
    assert found["answered"]
    assert found["refused"], "nobody asked while the service was away"
    assert found["unheard"] == 0
    assert found["sent again"] == 0
