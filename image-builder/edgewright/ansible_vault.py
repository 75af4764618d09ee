"""Ansible vault's passwords: where they come from, and handing them to Ansible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem


def configured_password_file() -> Path | None:
    """Return the password file that ``ANSIBLE_VAULT_PASSWORD_FILE`` or Ansible's configuration names, if one does."""
    from ansible import constants

    # read here, not from `constants`, which keeps what the environment said when Ansible was first imported
    configured = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or constants.DEFAULT_VAULT_PASSWORD_FILE
    return Path(configured).expanduser() if configured else None


def use_vault_secrets(loader: Any, password_file: Path | None) -> None:
    """Give Ansible's loader the passwords: of ``password_file``, else of Ansible's own configuration.

    Args:
        loader: an ``ansible.parsing.dataloader.DataLoader``.
        password_file: a file with the password, or a program that prints it.

    Raises:
        EdgeError: a password file that cannot be used.
    """
    from ansible import constants
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import VaultSecretsContext, get_file_vault_secret

    files = [(constants.DEFAULT_VAULT_IDENTITY, password_file)] if password_file else []
    for entry in constants.DEFAULT_VAULT_IDENTITY_LIST or []:
        identity, _, path = entry.rpartition("@")
        files.append((identity or constants.DEFAULT_VAULT_IDENTITY, Path(path)))
    configured = configured_password_file()
    if configured and not password_file:
        files.append((constants.DEFAULT_VAULT_IDENTITY, configured))
    secrets = []
    for identity, path in files:
        try:
            secret = get_file_vault_secret(filename=str(path), vault_id=identity, loader=loader)
            secret.load()
        except AnsibleError as error:
            raise EdgeError(
                Problem(
                    where=str(path),
                    what="the vault password file cannot be used",
                    found=" ".join(error.message.split()),
                    remedy="Give a readable, non-empty file, or an executable that prints the password.",
                )
            ) from None
        secrets.append((identity, secret))
    loader.set_vault_secrets(secrets)
    VaultSecretsContext._current = None  # noqa: SLF001 - one process may read several inventories
    VaultSecretsContext.initialize(VaultSecretsContext(secrets))
