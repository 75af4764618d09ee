"""The systemd unit of k3s (systemd.service(5)), as k3s's own installer sets it up, without the installer."""

from __future__ import annotations

from typing import Final

PROGRAM: Final = "/usr/local/bin/k3s"


def unit_name(role: str) -> str:
    """Return the name of a role's unit: ``k3s.service`` or ``k3s-agent.service``."""
    return "k3s.service" if role == "server" else "k3s-agent.service"


def k3s_unit(role: str, *, wait_for_network: bool, program: str = PROGRAM) -> str:
    """Render the unit of a server or an agent.

    Everything that k3s is told is in its config.yaml: nothing of it is in the command line, which others can read.

    Args:
        role: ``server`` or ``agent``.
        wait_for_network: whether an address must be there first. A node whose address is fixed has it without a
            cable, and must not wait for one.
        program: path of k3s.
    """
    network = "network-online.target" if wait_for_network else "network.target"
    sections = {
        "Unit": [
            f"Description=Kubernetes (k3s {role})",
            "Documentation=https://docs.k3s.io",
            f"Wants={network}",
            f"After={network} systemd-sysctl.service",
            # Whatever keeps it from starting may go away by itself: the clock, the network, another server.
            "StartLimitIntervalSec=0",
        ],
        "Service": [
            "Type=notify",
            "EnvironmentFile=-/etc/default/%N",
            # Pods and virtual machines outlive a restart of k3s.
            "KillMode=process",
            "Delegate=yes",
            "LimitNOFILE=1048576",
            "LimitNPROC=infinity",
            "LimitCORE=infinity",
            "TasksMax=infinity",
            "TimeoutStartSec=0",
            "Restart=always",
            "RestartSec=5s",
            "ExecStartPre=-/sbin/modprobe br_netfilter",
            "ExecStartPre=-/sbin/modprobe overlay",
            f"ExecStart={program} {role}",
        ],
        "Install": ["WantedBy=multi-user.target"],
    }
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())
