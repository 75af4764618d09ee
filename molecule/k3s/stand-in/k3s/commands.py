"""The other commands of ``k3s``: they ask the running server, or look at the node's files."""

from __future__ import annotations

import argparse
import datetime
import json
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from k3s import certificates, settings
from k3s.client import Client
from k3s.containerd import Containerd
from k3s.log import fatal, info, log
from k3s.settings import DATA
from k3s.tokens import Token, TokenError

_RENEW_DAYS = 120


def _supervisor(arguments: list[str]) -> tuple[Client, dict[str, Any]]:
    """Return a client of this node's server, with the token that the settings or the data folder give."""
    configured = settings.read("server", arguments)
    file = Path(configured.get("token-file") or DATA / "server/token")
    text = configured.get("token") or (file.read_text(encoding="utf-8") if file.exists() else "")
    url = f"https://127.0.0.1:{configured.get('https-listen-port', 6443)}"
    try:
        return Client.joining(url, Token.parse(text), "server"), configured
    except (TokenError, OSError) as error:
        fatal(f"Error: see server log for details: {error}")
    raise AssertionError


def _ask(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    code, answer = client.request(method, f"/v1-k3s/{path}", body)
    if code != 200:
        message = answer.get("message", answer) if isinstance(answer, dict) else answer
        fatal(f"Error: see server log for details: {client.url}/v1-k3s/{path}: {code} {message}")
    return answer


def _own(arguments: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Return the flags of a command itself, and the arguments that are left."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for name in names:
        parser.add_argument(f"--{name}", dest=name, default="")
    found, rest = parser.parse_known_args(arguments)
    return vars(found), rest


def etcd_snapshot(arguments: list[str]) -> None:
    """``save``, ``ls``, ``delete`` and ``prune``."""
    action, words = arguments[0], arguments[1:]
    own, rest = _own(words, "name", "snapshot-retention", "output", "dir", "etcd-token", "etcd-server")
    names = [word for word in rest if not word.startswith("-")]
    client, _ = _supervisor(["--token=" + own["etcd-token"]] if own["etcd-token"] else [])
    operation = {"ls": "list", "list": "list", "l": "list"}.get(action, action)
    request: dict[str, Any] = {"operation": operation, "name": names or ([own["name"]] if own["name"] else [])}
    request["retention"] = int(own["snapshot-retention"] or 5)
    answer = _ask(client, "POST", "db/snapshot", request)
    if operation == "list" and own["output"] == "json":
        print(json.dumps(answer))
    elif operation == "list":
        print("Name Location Size Created")
        for item in answer["items"]:
            spec, status = item["spec"], item["status"]
            print(spec["snapshotName"], spec["location"], status["size"], status["creationTime"])
    for name in answer.get("created", []):
        info(f"Snapshot {name} saved.")
    for name in answer.get("deleted", []):
        info(f"Snapshot {name} deleted.")
    for name in set(names) - set(answer.get("deleted", names)):
        log("warning", f"Snapshot {name} not found.")


def token(arguments: list[str]) -> None:
    """``rotate`` and ``generate``."""
    action, words = arguments[0], arguments[1:]
    if action == "generate":
        print(f"{secrets.token_hex(3)}.{secrets.token_hex(8)}")
        return
    if action != "rotate":
        fatal(f"Error: the stand-in has no k3s token {action}")
    own, _ = _own(words, "token", "t", "server", "new-token")
    client, _ = _supervisor([f"--token={own['token'] or own['t']}"] if own["token"] or own["t"] else [])
    new = own["new-token"] or secrets.token_hex(16)
    print(
        "WARNING: Recommended to keep a record of the old token. If restoring from a snapshot, you must use the "
        "token associated with that snapshot."
    )
    _ask(client, "PUT", "token", {"newToken": new})
    print("Token rotated, restart k3s nodes with new token")


def secrets_encrypt(arguments: list[str]) -> None:
    """``status`` and ``rotate-keys``."""
    action, words = arguments[0], arguments[1:]
    own, _ = _own(words, "output", "o")
    client, _ = _supervisor([])
    if action == "rotate-keys":
        _ask(client, "PUT", "encrypt/config", {"stage": "rotate_keys"})
        print("keys rotated, reencryption finished")
        return
    if action != "status":
        fatal(f"Error: the stand-in has no k3s secrets-encrypt {action}")
    state = _ask(client, "GET", "encrypt/status")
    if (own["output"] or own["o"]) == "json":
        print(json.dumps(state, indent="\t"))
    elif state["enable"] is None:
        print("Encryption Status: Disabled, no configuration file found")
    else:
        print(f"Encryption Status: Enabled\nCurrent Rotation Stage: {state['stage']}")
        print("Server Encryption Hashes: All hashes match\n\nActive  Key Type  Name\n------  --------  ----")
        print(" *      {}  {}".format(*state["activekey"].split(" ", 1)))
        for key in state.get("inactivekeys", []):
            print("        {}  {}".format(*key.split(" ", 1)))


def _time(text: str) -> datetime.datetime:
    """Return a time as openssl writes it."""
    return datetime.datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=datetime.UTC)


def certificate(arguments: list[str]) -> None:
    """``check`` and ``rotate``; the latter wants a server that does not run."""
    action, words = arguments[0], arguments[1:]
    own, _ = _own(words, "output", "service")
    tls = DATA / "server/tls"
    authority = tls / "server-ca.crt"
    leaves = sorted({*tls.glob("*.crt"), *(DATA / "agent").glob("*.crt")} - {authority})
    if action == "rotate":
        kept = DATA / f"agent/tls-{int(time.time())}"
        if tls.exists():
            shutil.copytree(tls, kept)
        for path in leaves:
            if path.name != "server-ca.crt":
                info(f"Rotating certificates for {path.stem}")
                path.unlink()
        info(
            f"Successfully backed up certificates to {kept}, please restart k3s server or agent to rotate certificates"
        )
        return
    found = []
    now = datetime.datetime.now(datetime.UTC)
    for path in [*leaves, *([authority] if authority.exists() else [])]:
        begin, end = _time(certificates.begins(path)), _time(certificates.expires(path))
        status = "EXPIRED" if end < now else "WARNING" if (end - now).days < _RENEW_DAYS else "OK"
        if now < begin:
            end, status = begin, "NOT YET VALID"
        usages = ["CertSign"] if path == authority else ["ClientAuth"]
        names = {"Filename": path.name, "Subject": path.stem, "Usages": usages}
        found.append({**names, "ExpiryTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "Status": status})
    if own["output"] == "json":
        print(json.dumps({"Certificates": found}))
        return
    for entry in found:
        print(*(entry[name] for name in ("Filename", "Subject", "ExpiryTime", "Status")), sep="   ")


def kubectl(arguments: list[str]) -> None:
    """``get``, ``delete``, ``cordon``, ``uncordon`` and ``version``, by the same API that everybody asks."""
    own, words = _own(arguments, "kubeconfig", "output", "namespace")
    short, words = {}, [*words]
    for flag in ("-o", "-n"):
        if flag in words:
            at = words.index(flag)
            short[flag] = words[at + 1]
            del words[at : at + 2]
    client = Client.from_kubeconfig(Path(own["kubeconfig"] or "/etc/rancher/k3s/k3s.yaml"))
    verb, *rest = words
    if verb in ("cordon", "uncordon"):
        body = {"spec": {"unschedulable": True if verb == "cordon" else None}}
        _kube(client, "PATCH", f"/api/v1/nodes/{rest[0]}", body)
        print(f"node/{rest[0]} {verb}ed")
        return
    if verb == "version":
        print(f"Server Version: {_kube(client, 'GET', '/version')['gitVersion']}")
        return
    if verb == "get" and rest[0] == "--raw":
        answer = client.request("GET", rest[1])[1]
        print(answer.decode() if isinstance(answer, bytes) else json.dumps(answer))
        return
    names = [word for word in rest if not word.startswith("-")]
    kind = {"node": "nodes", "no": "nodes", "pod": "pods", "po": "pods", "ns": "namespaces"}.get(names[0], names[0])
    path = _path(client, kind, "" if "-A" in rest else short.get("-n", own["namespace"] or "default"))
    answer = _kube(client, {"get": "GET", "delete": "DELETE"}[verb], "/".join([path, *names[1:2]]))
    if (short.get("-o") or own["output"]) == "json":
        print(json.dumps(answer, indent=4))
        return
    for item in answer.get("items", [answer]):
        ready = [entry["status"] for entry in item.get("status", {}).get("conditions", []) if entry["type"] == "Ready"]
        state = {"True": "Ready", "False": "NotReady", "Unknown": "NotReady"}.get("".join(ready), "")
        print(item["metadata"]["name"], state, item.get("status", {}).get("phase", ""))


def _path(client: Client, kind: str, namespace: str) -> str:
    bases = ["/api/v1"]
    for group in _kube(client, "GET", "/apis")["groups"]:
        bases += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
    for base in bases:
        for entry in _kube(client, "GET", base)["resources"]:
            if kind in (entry["name"], entry["kind"].lower(), f"{entry['name']}.{base.split('/')[2]}"):
                scope = f"/namespaces/{namespace}" if entry["namespaced"] and namespace else ""
                return f"{base}{scope}/{entry['name']}"
    print(f'error: the server doesn\'t have a resource type "{kind}"', file=sys.stderr)
    sys.exit(1)


def _kube(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    code, answer = client.request(method, path, body)
    if code >= 400:
        print(f"Error from server ({answer['reason']}): {answer['message']}", file=sys.stderr)
        sys.exit(1)
    return dict(answer)


def images(arguments: list[str]) -> None:
    """``crictl images`` and ``ctr -n k8s.io images``: ``ls`` what the store has and what is pinned; ``import``.

    A running k3s imports what is in its folder of archives by itself; of another place there is nothing to import.
    """
    store = Containerd(DATA)
    store.start()
    if "import" in arguments:
        archive = Path(arguments[-1])
        if archive.parent != store.archives or not archive.is_file():
            fatal(f"ctr: open {archive}: the stand-in imports what is in {store.archives}")
        return
    if "--output=json" in arguments or "json" in arguments:
        entries = [{"repoTags": [name], "pinned": image["pinned"]} for name, image in sorted(store.images.items())]
        print(json.dumps({"images": entries}))
        return
    print("REF LABELS")
    for name, image in sorted(store.images.items()):
        print(name, "io.cri-containerd.pinned=pinned" if image["pinned"] else "-")
