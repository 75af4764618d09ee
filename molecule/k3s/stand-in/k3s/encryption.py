"""Encryption of secrets at rest: its state and keys (``k3s secrets-encrypt``). No secret is really encrypted here."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "encryption-config.json"


def begin(cred: Path, provider: str) -> None:
    """Make the first key where there is none."""
    file = cred / _FILE
    if not file.exists():
        _write(file, {"provider": provider, "keys": [f"{provider}key"], "stage": "start"})


def status(cred: Path) -> dict[str, Any]:
    """Return the state as the supervisor answers it."""
    file = cred / _FILE
    if not file.exists():
        return {"stage": "", "activekey": "", "enable": None, "hashmatch": False}
    state = json.loads(file.read_text(encoding="utf-8"))
    kind = {"aescbc": "AES-CBC", "secretbox": "XSalsa20-POLY1305"}[state["provider"]]
    active = f"{kind} {state['keys'][0]}"
    inactive = [f"{kind} {name}" for name in state["keys"][1:]]
    found = {"stage": state["stage"], "activekey": active, "enable": True, "hashmatch": True}
    return {**found, "inactivekeys": inactive} if inactive else found


def rotate(cred: Path) -> dict[str, Any]:
    """Make a new key the active one."""
    file = cred / _FILE
    if not file.exists():
        raise ValueError("secrets encryption is not enabled")
    state = json.loads(file.read_text(encoding="utf-8"))
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    state["keys"], state["stage"] = [f"{state['provider']}key-{stamp}"], "reencrypt_finished"
    _write(file, state)
    return status(cred)


def _write(file: Path, state: dict[str, Any]) -> None:
    file.touch(0o600)
    file.write_text(json.dumps(state), encoding="utf-8")
