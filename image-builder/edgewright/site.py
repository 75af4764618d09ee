"""A site as the builder sees it: its hosts, their variables as Ansible reads them, and where each was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.positions import KeyPath, PositionIndex, format_key_path, parse_key_path
from edgewright.redaction import hide

LOCK_NAME = "site.lock.yml"


@dataclass(frozen=True)
class Host:
    """One inventory host.

    Attributes:
        name: ``inventory_hostname``.
        groups: names of its groups, without ``all`` and ``ungrouped``, sorted.
        variables: its variables as plain data (``dict``, ``list``, ``str``, ``int``, ``float``, ``bool``, ``None``,
            dates), fully templated, vault values decrypted; without facts and without Ansible's magic variables.
        secret_values: the strings among them that an Ansible vault protects. They must never reach an image or a log.
    """

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]
    secret_values: frozenset[str] = field(default=frozenset(), repr=False)
    positions: PositionIndex = field(default_factory=PositionIndex, repr=False, compare=False)


@dataclass(frozen=True)
class Site:
    """One inventory folder.

    Attributes:
        name: the hosts' common ``edge_site``, else the folder's name.
        inventory: the folder, absolute.
        hosts: in inventory order.
        shown: the folder as the user wrote it, for messages.
        sources: its hosts files, for those who run Ansible on it (``-i``, once for each).
        warnings: what Ansible warned about while it read the folder.
        orphans: variables files that no host or group reads.
    """

    name: str
    inventory: Path
    hosts: tuple[Host, ...]
    shown: Path = Path()
    sources: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    orphans: tuple[Problem, ...] = ()

    @property
    def lock_path(self) -> Path:
        """The file that pins the site's artifacts and packages; it may not exist yet."""
        return self.inventory / LOCK_NAME

    @property
    def secret_values(self) -> frozenset[str]:
        """Every vault-protected string of every host."""
        return frozenset().union(*(host.secret_values for host in self.hosts))

    def host(self, name: str) -> Host:
        """Return a host by name.

        Raises:
            KeyError: the inventory has no such host.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def locate(self, host_name: str, key_path: str | KeyPath) -> str:
        """Say where a value was written, as ``group_vars/all.yml:14``, relative to the inventory folder.

        A value templated from another variable is found where that variable was written. For a key that does not exist
        the answer is the nearest thing around it, and an empty string if nothing of it exists.

        Args:
            host_name: the host whose value it is.
            key_path: ``edge_virtual_machines[2].disks[0].bus``, or its parts as a tuple.
        """
        path = parse_key_path(key_path) if isinstance(key_path, str) else key_path
        position = self.host(host_name).positions.find(path)
        return position.relative_to(self.inventory) if position else ""

    def where(self, host_name: str, key_path: str | KeyPath) -> str:
        """Write a problem's ``where``: ``inventories/shop/group_vars/all.yml:14: edge_virtual_machines[2].memory``."""
        key = key_path if isinstance(key_path, str) else format_key_path(key_path)
        located = self.locate(host_name, key_path)
        return f"{self.shown / located}: {key}" if located else f"{self.shown} (host {host_name}): {key}"


def load_site(inventory: Path, *, vault_password_file: Path | None = None) -> Site:
    """Read an inventory folder through Ansible's own loader, group vars, vault and templating included.

    The folder holds ``hosts.yml`` (or ``hosts``, ``hosts.ini`` … as Ansible's enabled inventory plugins read them),
    ``group_vars/`` and ``host_vars/``. Vault passwords come from ``vault_password_file`` and from Ansible's own
    configuration (``ANSIBLE_VAULT_PASSWORD_FILE``). Secrets are registered with ``redaction`` before anything can fail.

    Raises:
        EdgeError: everything that keeps it from being read: missing folder, YAML errors, undefined variables, vault
            values without a password, no hosts; with file and line.
    """
    folder = _folder(inventory)
    # Ansible costs 0.3 s to import: only what reads an inventory pays for it
    from edgewright.ansible_inventory import AnsibleInventory

    problems = Problems()
    with AnsibleInventory(folder, inventory, vault_password_file) as source:
        source.check_files(problems)
        problems.raise_if_any()
        names = source.parse(problems)
        problems.raise_if_any()
        hosts = []
        for name in names:
            raw = source.raw_variables(name)
            secrets = source.secrets(raw)
            hide(secrets)
            positions = PositionIndex()
            positions.learn_keys(raw.own)
            variables = source.template(raw, positions, problems)
            hosts.append(Host(name, source.groups(name), variables, frozenset(secrets), positions))
        sources, warnings, orphans = tuple(source.sources), source.warnings, tuple(source.orphans())
    problems.found = list(dict.fromkeys(problems.found))  # one mistake in group_vars would come once for each host
    problems.raise_if_any()
    names_of_site = {host.variables.get("edge_site") for host in hosts}
    common = names_of_site.pop() if len(names_of_site) == 1 else None
    name = common if isinstance(common, str) and common else folder.name
    return Site(name, folder, tuple(hosts), inventory, sources, warnings, orphans)


def _folder(inventory: Path) -> Path:
    folder = inventory.expanduser().absolute()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_file():
        raise EdgeError(
            Problem(
                where=str(inventory),
                what="the inventory must be a folder",
                found="a file",
                remedy=f"Use its folder: -i {inventory.parent}",
            )
        )
    near = sorted(path.parent.name for path in folder.parent.glob("*/hosts*")) if folder.parent.is_dir() else []
    raise EdgeError(
        Problem(
            where=str(inventory),
            what="no such inventory folder",
            expected=f"one of {', '.join(near)} in {inventory.parent}" if near else "",
            remedy="Give the folder that holds the site's hosts.yml with -i.",
        )
    )
