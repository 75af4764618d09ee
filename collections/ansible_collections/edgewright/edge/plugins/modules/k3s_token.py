#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the file with a cluster's token, and a new token for a running cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_token
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Keep or rotate the token of a k3s cluster
description:
  - Keeps the token in a file with mode 0600, for the option C(token-file) of k3s, or gives a running cluster a new one.
  - The token is in no result, no diff, no log and no process's arguments. C(k3s token rotate) takes the new token as an
    argument, so this module asks the server's own API instead.
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
    details: Says what happens to the file and to the cluster. No token is shown.
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: partial
    details: With O(state=rotated) and no O(token), every run makes a new token.
options:
  path:
    description: The file. Folders that are missing are made with mode 0700.
    type: path
    default: /etc/rancher/k3s/token
  token:
    description:
      - The token. At least 16 of A-Z, a-z, 0-9, C(.), C(_), C(:) and C(-), or the full form with the hash of the
        cluster's authority (C(K10…::server:…)), which only nodes that join can have.
      - Without it, O(state=present) keeps the token that is in the file, or makes one when there is none;
        O(state=rotated) makes a new one.
    type: str
  first_server:
    description: This node starts the cluster, so that there is no authority yet which a full token could name.
    type: bool
    default: false
  state:
    description:
      - With V(present), the file has the token. On a server that has started, another one than the cluster's is
        refused.
      - With V(rotated), the cluster that this server runs takes the new token, and the file gets it if it is there; a
        server that made its own token has no file. Then give the other nodes the new token and restart k3s on all of
        them. Backups made before need the old one.
    type: str
    choices: [present, rotated]
    default: present
  data_dir:
    description: Folder of k3s's data.
    type: path
    default: /var/lib/rancher/k3s
  port:
    description: Port of this server's API, for O(state=rotated).
    type: int
    default: 6443
"""

EXAMPLES = r"""
- name: Token is in its file
  edgewright.edge.k3s_token:
    token: "{{ k3s__token }}"
    first_server: "{{ inventory_hostname == groups['k3s_server'][0] }}"

- name: Cluster has a new token
  edgewright.edge.k3s_token:
    token: "{{ vaulted_new_token }}"
    state: rotated
  notify: K3s is restarted on all nodes
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
kind:
  description: Form of the token, V(short) or V(full).
  returned: success
  type: str
  sample: short
generated:
  description: Whether the token was, or in check mode would be, made by this run.
  returned: success
  type: bool
rotated:
  description: Whether the cluster was, or in check mode would be, given another token.
  returned: success
  type: bool
"""

import base64
import http.client
import json
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils import private_file
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_token import MAKE_ONE, Token, read_token

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "default": "/etc/rancher/k3s/token", "no_log": False},
    "token": {"type": "str", "no_log": True},
    "first_server": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "rotated"], "default": "present"},
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "port": {"type": "int", "default": 6443},
}
_BYTES = 32
_TIMEOUT = 60.0
_RESOURCE = "/v1-k3s/token"


@dataclass
class Work:
    """What is to be done, and with which token."""

    token: Token
    text: str
    file: private_file.PrivateFile
    generated: bool = False
    rotates: bool = False
    writes: bool = False

    def diff(self, path: str) -> dict[str, str]:
        """Return what changes, in words."""
        before = "" if self.file.content is None else f"{path}: a token, {self.file.mode}\n"
        after = before
        if self.writes:
            after = f"{path}: {'a new token' if self._is_new() else 'a token'}, rw-------\n"
        return {"before": before, "after": after + ("cluster: a new token\n" if self.rotates else "")}

    def _is_new(self) -> bool:
        return self.file.content is None or self.file.content.decode(errors="replace").strip() != self.text


class Server:
    """The k3s server of this node, by its own files."""

    def __init__(self, data_dir: str, port: int) -> None:
        self.home = Path(data_dir) / "server"
        self.port = port

    def token(self) -> Token | None:
        """Return the token that the server has; None on a node where none has started."""
        path = str(self.home / "token")
        content = private_file.look(path).content
        return None if content is None else _read(content.decode(errors="replace"), path)

    def rotate(self, now: Token, new: str) -> None:
        """Give the cluster another token (k3s pkg/server/handlers/token.go).

        Raises:
            EdgeError: the server refuses, or does not answer.
        """
        try:
            trust = ssl.create_default_context(cafile=str(self.home / "tls" / "server-ca.crt"))
        except OSError as error:
            raise self._failed(f"has no authority that can be read: {error.strerror}") from None
        proof = base64.b64encode(f"server:{now.password}".encode()).decode()
        # Not by a proxy of the environment: it is this node's own server.
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=trust, timeout=_TIMEOUT)
        try:
            connection.request(
                "PUT",
                _RESOURCE,
                json.dumps({"newToken": new}),
                {"Authorization": f"Basic {proof}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            raise self._failed(f"does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise self._failed(f"refuses a new token: HTTP status {answer.status} {answer.reason}")

    def _failed(self, what: str) -> EdgeError:
        remedy = "Look at 'journalctl -u k3s'; k3s must run on this server."
        return EdgeError(Problem(f"https://127.0.0.1:{self.port}{_RESOURCE}", what, remedy=remedy))


def _read(text: str, where: str) -> Token:
    """Read a token; raises EdgeError, which does not show it."""
    try:
        return read_token(text)
    except UnfitError as error:
        raise EdgeError(Problem(where, error.what, expected=error.expected, remedy=error.remedy)) from None


def present(parameters: dict[str, Any], known: Token | None) -> Work:
    """Decide about the token's file; ``known`` is what the server has that runs here, if one does.

    Raises:
        EdgeError: the token that is given, or in the file, cannot be this cluster's.
    """
    path, given = parameters["path"], parameters["token"]
    file = private_file.look(path)
    generated = given is None and not (file.content or b"").strip()
    if generated and known:
        raise EdgeError(
            Problem(
                path,
                "is missing, and the cluster has a token already, which a random one cannot be",
                remedy=f"Give the cluster's token; it is in {parameters['data_dir']}/server/token.",
            )
        )
    if generated:
        text, where = secrets.token_hex(_BYTES), "token"
    elif given is None:
        text, where = (file.content or b"").decode(errors="replace").strip(), path
    else:
        text, where = given.strip(), "token"
    token = _read(text, where)
    if parameters["first_server"] and token.kind == "full" and not known:
        raise EdgeError(
            Problem(
                where,
                "is a full token, and names the authority of a cluster that does not exist yet",
                expected="the secret alone",
                remedy=f"Give what stands behind its last ':'. {MAKE_ONE}",
            )
        )
    if known and not token.is_like(known):
        raise EdgeError(
            Problem(
                where,
                "is not the token of the cluster that this server has, and k3s would not start with it",
                remedy="Give the cluster's token, or change the cluster's with 'state: rotated'.",
            )
        )
    writes = file.content != f"{text}\n".encode() or not file.is_private
    return Work(token, text, file, generated=generated, writes=writes)


def rotated(parameters: dict[str, Any], known: Token | None) -> Work:
    """Decide about a new token of the cluster.

    Raises:
        EdgeError: there is no server here, or the token cannot be a new one.
    """
    path, given = parameters["path"], parameters["token"]
    if known is None:
        raise EdgeError(
            Problem(
                f"{parameters['data_dir']}/server/token",
                "is missing: no server of k3s has started here",
                remedy="Run this on a server of the cluster.",
            )
        )
    file = private_file.look(path)
    text = secrets.token_hex(_BYTES) if given is None else given.strip()
    token = _read(text, "token")
    if token.kind == "full":
        raise EdgeError(
            Problem("token", "is a full token", expected="the new secret alone: the authority stays", remedy=MAKE_ONE)
        )
    is_new = not token.is_like(known)
    writes = file.content is not None and (file.content != f"{text}\n".encode() or not file.is_private)
    return Work(token, text, file, generated=given is None, rotates=is_new, writes=writes)


def main() -> None:
    """Check, rotate, write."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    parameters = module.params
    server = Server(parameters["data_dir"], parameters["port"])
    try:
        known = server.token()
        work = (rotated if parameters["state"] == "rotated" else present)(parameters, known)
        if not module.check_mode:
            # The cluster first: k3s keeps its token itself, so an interruption loses none.
            if work.rotates and known:
                server.rotate(known, work.text)
            if work.writes:
                private_file.write(parameters["path"], f"{work.text}\n".encode())
    except EdgeError as error:
        _refuse(module, error)
    module.exit_json(
        changed=work.rotates or work.writes,
        path=parameters["path"],
        kind=work.token.kind,
        generated=work.generated,
        rotated=work.rotates,
        diff=work.diff(parameters["path"]),
    )


def _refuse(module: AnsibleModule, error: EdgeError) -> NoReturn:
    module.fail_json(msg=str(error), errors=error.as_list())
    raise AssertionError("fail_json does not return")


if __name__ == "__main__":
    main()
