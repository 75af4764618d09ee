"""A stand-in for k3s: what a role, a playbook or a module can see of k3s, without containers, etcd or Kubernetes.

It refuses what k3s refuses (and unknown keys, of which k3s only warns), keeps its state where k3s keeps it, and says
READY to systemd when k3s would. Pods are records: none runs.

It is asked hundreds of times, and Python compiles what it imports from an archive each time: a command imports what it
needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from k3s.log import fatal, info, ready

VERSION = (Path(sys.argv[0]).resolve().name.partition("k3s-")[2] or "v0.0.0").replace("%2B", "+")
_LINKS = {"kubectl": "kubectl", "crictl": "crictl", "ctr": "ctr"}


def _serve(arguments: list[str]) -> None:
    from k3s import settings
    from k3s.server import Server

    info(f"Starting k3s {VERSION} (stand-in)")
    Server(settings.read("server", arguments), VERSION).run()


def _agent(arguments: list[str]) -> None:
    from k3s import settings
    from k3s.node import Node

    configured = settings.read("agent", arguments)
    info(f"Starting k3s agent {VERSION} (stand-in)")
    token = configured.get("token", "")
    if configured.get("token-file"):
        token = Path(configured["token-file"]).read_text(encoding="utf-8").strip()
    if not token:
        fatal("Error: --token is required")
    if not configured.get("server"):
        fatal("Error: --server is required")
    node = Node(
        configured,
        Path(configured.get("data-dir") or settings.DATA),
        VERSION,
        configured["server"],
        token,
        is_server=False,
    )
    node.prepare()
    ready()
    info("k3s agent is up and running")
    node.run()


def _do(words: list[str]) -> None:
    from k3s import commands, settings

    known = {
        "server": _serve,
        "agent": _agent,
        "etcd-snapshot": commands.etcd_snapshot,
        "token": commands.token,
        "secrets-encrypt": commands.secrets_encrypt,
        "certificate": commands.certificate,
        "kubectl": commands.kubectl,
        "crictl": commands.images,
        "ctr": commands.images,
    }
    if words[0] not in known:
        fatal(f'Error: No help topic for "{words[0]}"')
    try:
        known[words[0]](words[1:])
    except (settings.SettingError, OSError) as error:
        fatal(f"Error: {error}")


def main() -> None:
    """Do what the command line asks; a link's name is a command, as with k3s."""
    name = Path(sys.argv[0]).name
    words = [_LINKS[name], *sys.argv[1:]] if name in _LINKS else sys.argv[1:]
    if not words or words[0] in ("-v", "--version"):
        print(f"k3s version {VERSION} (stand-in)\ngo version none")
    else:
        _do(words)


main()
