"""Reads an inventory folder through ansible-core's Python API (2.19), with every mistake as a ``Problem``.

Only this file and ``positions`` know Ansible's classes. Its messages never reach the terminal: they become warnings or
problems.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems

from edgewright.ansible_vault import use_vault_secrets
from edgewright.positions import KeyPath, Position, PositionIndex, format_key_path, origin_of
from edgewright.redaction import redact

if TYPE_CHECKING:
    from types import TracebackType

_HOSTS_FILE = re.compile(r"hosts(\.(yml|yaml|json|toml|ini|py|sh))?")
_VARS_SUFFIXES = ("", ".yml", ".yaml", ".json")
_YAML_SUFFIXES = (".yml", ".yaml")
_VAULT_HEADER = b"$ANSIBLE_VAULT;"
_VAULT_REMEDY = "Give the password with --vault-password-file FILE, or set ANSIBLE_VAULT_PASSWORD_FILE."

# a key given twice silently loses the first value in Ansible's default mode; colours would get into messages
_ENVIRONMENT = {"ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}


@dataclass(frozen=True)
class RawVariables:
    """A host's variables before templating: all that templates may use, and those the inventory itself defines."""

    everything: Mapping[str, Any]
    own: Mapping[str, Any]


class AnsibleInventory:
    """An inventory folder opened through Ansible; a context manager, because it borrows the process's stdout."""

    def __init__(self, folder: Path, shown: Path, vault_password_file: Path | None) -> None:
        self.folder = folder
        self._shown = shown  # the folder as the user wrote it: messages name files as they can be opened from here
        self._vault_password_file = vault_password_file
        self._noise = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self._stack = ExitStack()
        self._encrypted_files: set[Path] = set()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(redirect_stdout(self._noise))
            self._stack.enter_context(redirect_stderr(self._noise))
            self._stack.enter_context(_environment(_ENVIRONMENT))
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

        # Ansible's importer serves only collections that it has loaded itself; the builder imports its own by plain
        # Python.
        _AnsibleCollectionFinder._remove()  # noqa: SLF001 - there is no public way to take it out again
        self._stack.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What Ansible said while it worked, one entry a message."""
        self._noise.flush()
        said = self._noise.buffer.getvalue().decode()
        parts = re.split(r"^\[WARNING\]: ", said, flags=re.MULTILINE)
        return tuple(dict.fromkeys(redact(" ".join(part.split())) for part in parts if part.strip()))

    @property
    def sources(self) -> list[Path]:
        """The hosts files, in the order Ansible reads them."""
        return sorted(path for path in self.folder.iterdir() if path.is_file() and _HOSTS_FILE.fullmatch(path.name))

    def check_files(self, problems: Problems) -> None:
        """Load every file on its own, so that one run shows the mistakes of all files."""
        from ansible.errors import AnsibleError

        if not self.sources:
            problems.add(
                str(self._shown),
                "the inventory folder has no hosts file",
                expected="hosts.yml",
                remedy="Create hosts.yml with the site's hosts (docs/inventory.md).",
            )
        for path in self._files():
            if path.open("rb").read(len(_VAULT_HEADER)) == _VAULT_HEADER:
                self._encrypted_files.add(path)
            elif path.parent == self.folder and path.suffix not in _YAML_SUFFIXES:
                continue  # an INI file or a script: Ansible's own plugins decide what it is
            try:
                data = self._loader.load_from_file(str(path), unsafe=True, trusted_as_template=True)
            except AnsibleError as error:
                problems.found.append(self._problem(error, path))
                continue
            if data is not None and not isinstance(data, Mapping):
                problems.add(
                    self._relative(path),
                    "a variables file must be a mapping of names to values",
                    found=f"a {_kind(data)}",
                    remedy="Write `name: value` lines.",
                )
                continue
            for key_path, value in _leaves((), data or {}):
                if _is_encrypted(value):
                    self._decrypt(key_path, value, problems)

    def parse(self, problems: Problems) -> list[str]:
        """Read the hosts files and return the hosts' names in inventory order."""
        from ansible.errors import AnsibleError
        from ansible.inventory.manager import InventoryManager
        from ansible.vars.hostvars import HostVars
        from ansible.vars.manager import VariableManager

        sources = self.sources
        try:
            self._inventory = InventoryManager(loader=self._loader, sources=[str(path) for path in sources])
        except AnsibleError as error:
            problems.found.append(self._problem(error, self.folder))
            return []
        self._variables = VariableManager(loader=self._loader, inventory=self._inventory)
        HostVars(self._inventory, self._variables, self._loader)  # makes `hostvars` usable in templates
        parsed = {Path(path) for path in self._inventory._inventory.processed_sources}  # noqa: SLF001 - no public way
        for path in sources:
            if path not in parsed:
                problems.found.append(self._why_unparsed(path))
        names = [str(host.name) for host in self._inventory.get_hosts()]
        if not names and not problems.found:
            problems.add(
                self._relative(sources[0]),
                "the inventory has no hosts",
                expected="at least one host below all: hosts:",
                remedy="Add the site's nodes (docs/inventory.md).",
            )
        return [_plain(name) for name in names]

    def groups(self, host: str) -> tuple[str, ...]:
        """Return the names of a host's groups, without the two that every inventory has."""
        groups = {_plain(str(group.name)) for group in self._inventory.get_host(host).get_groups()}
        return tuple(sorted(groups - {"all", "ungrouped"}))

    def orphans(self) -> list[Problem]:
        """Return the variables files that no host or group reads: most often a name that was mistyped."""
        found = []
        for folder, what, known in (
            ("group_vars", "group", sorted(map(str, self._inventory.groups))),
            ("host_vars", "host", sorted(map(str, self._inventory.hosts))),
        ):
            for path in sorted((self.folder / folder).glob("[!.]*")):
                name = path.name if path.is_dir() else path.name.removesuffix(path.suffix)
                if name in known or path.name in known or path.suffix not in _VARS_SUFFIXES:
                    continue
                near = difflib.get_close_matches(name, known, n=1)
                found.append(
                    Problem(
                        self._relative(path),
                        f"nothing reads this: the inventory has no {what} '{name}'",
                        expected=f"one of {', '.join(known)}",
                        remedy=f"Did you mean '{near[0]}'?" if near else "",
                    )
                )
        return found

    def raw_variables(self, host: str) -> RawVariables:
        """Return a host's variables as loaded, by Ansible's precedence, not yet templated."""
        from ansible import constants

        entry = self._inventory.get_host(host)
        everything = self._variables.get_vars(host=entry, include_hostvars=True, stage="all")
        magic = constants.INTERNAL_STATIC_VARS
        return RawVariables(everything, {key: value for key, value in everything.items() if key not in magic})

    def secrets(self, raw: RawVariables) -> set[str]:
        """Return the values that a vault protects: ``!vault`` strings, and all that encrypted files say."""
        found = set()
        for _, value in _leaves((), raw.own):
            place = origin_of(value)
            if _is_encrypted(value) or (place and place.path in self._encrypted_files):
                found.add(str(_plain(str(value))))
        return {secret for secret in found if secret}

    def template(self, raw: RawVariables, positions: PositionIndex, problems: Problems) -> dict[str, Any]:
        """Template a host's own variables down to plain data; record where each value came from."""
        from ansible.template import Templar

        templar = Templar(loader=self._loader, variables=dict(raw.everything))
        result: dict[str, Any] = self._template((), raw.own, templar, positions, problems)
        return result

    def _template(self, path: KeyPath, value: Any, templar: Any, positions: PositionIndex, problems: Problems) -> Any:
        """Template leaf by leaf: every mistake is found in one run, at its own line."""
        from ansible.errors import AnsibleError, AnsibleValueOmittedError

        if isinstance(value, Mapping):
            mapping = {}
            for key, item in value.items():
                below = (*path, str(key))
                positions.record(below, item, key)
                try:
                    mapping[_plain(key)] = self._template(below, item, templar, positions, problems)
                except AnsibleValueOmittedError:
                    continue
            return mapping
        if isinstance(value, list):
            items = []
            for index, item in enumerate(value):
                positions.record((*path, index), item)
                try:
                    items.append(self._template((*path, index), item, templar, positions, problems))
                except AnsibleValueOmittedError:
                    continue
            return items
        if not isinstance(value, str) and not _is_encrypted(value):
            return _plain(value)
        try:
            templated = templar.template(value)
        except AnsibleValueOmittedError:
            raise
        except AnsibleError as error:
            place = positions.find(path)
            problems.add(
                self._where(place, path),
                redact(_one_line(error.message)),
                found="" if _is_encrypted(value) else redact(_plain(str(value)).strip()),
                remedy="Define the variable in group_vars or host_vars, or correct the template.",
            )
            return None
        return self._settle(path, templated, positions)

    def _settle(self, path: KeyPath, value: Any, positions: PositionIndex) -> Any:
        """Turn a template's result into plain data, and record where its parts came from."""
        positions.record(path, value)
        if isinstance(value, Mapping):
            mapping = {}
            for key, item in value.items():
                positions.record((*path, str(key)), item, key)
                mapping[_plain(key)] = self._settle((*path, str(key)), item, positions)
            return mapping
        if isinstance(value, list | tuple | set):
            return [self._settle((*path, index), item, positions) for index, item in enumerate(value)]
        return _plain(value)

    def _open(self) -> None:
        from ansible.parsing.dataloader import DataLoader
        from ansible.plugins.loader import init_plugin_loader
        from ansible.utils.collection_loader import AnsibleCollectionConfig

        if AnsibleCollectionConfig.collection_finder is None:
            init_plugin_loader([])
        self._loader = DataLoader()
        self._loader.set_basedir(str(self.folder))
        use_vault_secrets(self._loader, self._vault_password_file)

    def _decrypt(self, key_path: KeyPath, value: Any, problems: Problems) -> None:
        from ansible.errors import AnsibleError

        try:
            str(value)
        except AnsibleError as error:
            place = origin_of(value)
            problems.add(
                self._where(place, key_path),
                "a vault value cannot be decrypted",
                found=_one_line(error.message),
                remedy=_VAULT_REMEDY,
            )

    def _files(self) -> list[Path]:
        files = self.sources
        for name in ("group_vars", "host_vars"):
            files += sorted(
                path
                for path in (self.folder / name).rglob("*")
                if path.is_file() and path.suffix in _VARS_SUFFIXES and not path.name.startswith(".")
            )
        return files

    def _why_unparsed(self, path: Path) -> Problem:
        """Ansible only warns when a source cannot be read: ask the plugin again, for its exception."""
        from ansible.errors import AnsibleError
        from ansible.inventory.data import InventoryData
        from ansible.plugins.loader import inventory_loader

        if not os.access(path, os.X_OK):
            try:
                plugin = inventory_loader.get("yaml" if path.suffix in _YAML_SUFFIXES else "ini")
                plugin.parse(InventoryData(), self._loader, str(path), cache=False)
            except AnsibleError as error:
                return self._problem(error, path)
        said = "; ".join(warning for warning in self.warnings if path.name in warning)
        return Problem(
            self._relative(path), "Ansible cannot read this hosts file", said, remedy="See docs/inventory.md."
        )

    def _problem(self, error: Any, path: Path) -> Problem:
        """Turn an exception of Ansible's loader into a problem with file and line."""
        from yaml import MarkedYAMLError

        message = _one_line(error.message)
        if "vault" in type(error).__name__.lower() or path in self._encrypted_files:
            return Problem(self._relative(path), "the encrypted file cannot be read", message, remedy=_VAULT_REMEDY)
        cause = error.__cause__
        place = origin_of(error.obj)
        where = str(self._shown / place.relative_to(self.folder)) if place else self._relative(path)
        if isinstance(cause, MarkedYAMLError) and cause.problem_mark:
            where = f"{self._relative(path)}:{cause.problem_mark.line + 1}"
            said = (cause.problem or "").rstrip(".")
            if said and said.lower() not in message.lower():
                message = f"{message} ({said})"
        return Problem(where, redact(message), remedy="Correct the file; `yamllint` shows its structure.")

    def _relative(self, path: Path) -> str:
        return str(self._shown / path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def _where(self, place: Position | None, key_path: KeyPath) -> str:
        where = f"{self._shown / place.relative_to(self.folder)}: " if place else ""
        return where + format_key_path(key_path)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves((*path, str(key)), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves((*path, index), item)
    elif value is not None and not isinstance(value, bool):
        yield path, value


def _is_encrypted(value: Any) -> bool:
    from ansible.parsing.vault import EncryptedString

    return isinstance(value, EncryptedString)


def _plain(value: Any) -> Any:
    """Take Ansible's tags off a scalar."""
    from ansible.module_utils._internal._datatag import AnsibleTagHelper

    return AnsibleTagHelper.as_native_type(value)


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "text" if isinstance(value, str) else type(value).__name__


def _one_line(message: str) -> str:
    """Fold a message of Ansible's; name types as a user knows them."""
    message = re.sub(r"<class '[\w.]*?_AnsibleTagged(\w+)'>", lambda match: match[1].lower(), message)
    return " ".join(message.split()).removesuffix(".")
