"""What ``edgewright check`` finds in a k3s site's manifests: against their own definitions, and those of the lock."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from edgewright.lockfile import Artifact, Lock
from edgewright.store import Store

from .test_check import errors_of

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Run, Write

KUBEVIRT = "https://github.com/kubevirt/kubevirt/releases/download/v1.9.0/kubevirt-operator.yaml"
ELSEWHERE = "https://files.example/cameras.yaml"
DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cameras.example.org}
spec:
  group: example.org
  names: {kind: Camera, plural: cameras}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [address]
              properties:
                address: {type: string, format: ipv4}
                codec: {type: string, enum: [h264, h265]}
                port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
                rate: {type: integer, minimum: 1, maximum: 60, exclusiveMaximum: true}
                since: {type: string, format: date-time}
                note: {type: string, nullable: true}
                name: {type: string, pattern: "^[a-z]+$"}
                vendor: {type: object, x-kubernetes-preserve-unknown-fields: true}
                labels: {type: object, additionalProperties: {type: string}}
                streams:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [id]
                  items: {type: object, required: [id], properties: {id: {type: integer}}}
    - {name: v1alpha1, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
"""
GOOD = """\
apiVersion: example.org/v1
kind: Camera
metadata: {name: door, namespace: shop, labels: {a: b}, annotations: {any: thing}}
spec:
  address: 10.0.0.7
  codec: h265
  port: rtsp
  rate: 59
  since: 2026-01-01T00:00:00Z
  note: null
  name: door
  vendor: {any: {thing: [1, 2]}}
  labels: {any: text}
  streams: [{id: 1}, {id: 2}]
"""
# What the definition of KubeVirt's operator would say, had it no field for how images are pulled.
OPERATOR = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: virt-operator}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kubevirts.kubevirt.io}
spec:
  group: kubevirt.io
  names: {kind: KubeVirt}
  versions:
    - name: v1
      served: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                infra: {type: object, x-kubernetes-preserve-unknown-fields: true}
                workloadUpdateStrategy: {type: object, x-kubernetes-preserve-unknown-fields: true}
                certificateRotateStrategy: {type: object, x-kubernetes-preserve-unknown-fields: true}
                configuration: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


def k3s(*manifests: str, **files: str) -> dict[str, str]:
    """Files of a site with these manifests, each a source."""
    return {
        "hosts.yml": "k3s_server: {hosts: {box-1: {}}}\n",
        "group_vars/all.yml": (
            f"edge_site: test\nedge_runtime: k3s\nedge_kubernetes:\n  manifests: {json.dumps(manifests)}\n"
        ),
        **files,
    }


def locked(folder: Path, cache: Path, **contents: str) -> None:
    """Pin documents by their URLs, and put them into the store."""
    store = Store(cache / "store")
    artifacts = {}
    for url, text in contents.items():
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        (folder / "scratch").write_text(text)
        store.add_file(folder / "scratch", digest)
        artifacts[url] = Artifact(url, digest, len(text), (url,))
    Lock(artifacts=artifacts).dump(folder / "site.lock.yml")


def test_an_object_that_is_what_its_definition_says_is_right(edgewright: Run, inventory: Write) -> None:
    files = {"cameras.yaml": DEFINITION, "door.yaml": GOOD}
    done = edgewright("check", "-i", inventory(k3s("file:cameras.yaml", "file:door.yaml", **files)))
    assert (done.returncode, errors_of(done)) == (0, [])


# What is changed in the good object, and where and how that is told.
WRONG = [
    ("  codec:", "  codek:", 6, "spec.codek: unknown field; expected one of address, codec, labels, name, note, port,"),
    ("h265", "mjpeg", 6, "spec.codec: is not allowed; found 'mjpeg'; expected one of h264, h265."),
    ("10.0.0.7", "10.0.0", 5, "spec.address: is malformed; found '10.0.0'; expected ipv4."),
    ("port: rtsp", "port: [554]", 7, "spec.port: is of the wrong type; found [554]; expected integer or string."),
    ("rate: 59", "rate: 60", 8, "spec.rate: breaks the rule exclusiveMaximum; found 60; expected 60."),
    ("rate: 59", "rate: fast", 8, "spec.rate: is of the wrong type; found 'fast'; expected integer."),
    ("2026-01-01T00:00:00Z", "yesterday", 9, "spec.since: is malformed; found 'yesterday'; expected date-time."),
    ("name: door\n  v", "name: Door7\n  v", 11, "spec.name: is malformed; found 'Door7'; expected text that"),
    ("{any: text}", "{any: 5}", 13, "spec.labels.any: is of the wrong type; found 5; expected string."),
    ("{id: 2}", "{id: 1}", 14, "spec.streams[1]: has the same id as an earlier item."),
    ("{id: 2}", "{url: x}", 14, "spec.streams[1].id: is missing. Add 'id'."),
    ("  address: 10.0.0.7\n", "", 4, "spec.address: is missing. Add 'address'."),
    ("codec: h265", "codec: null", 6, "spec.codec: is of the wrong type; found None; expected string."),
    ("org/v1\n", "org/v1alpha1\n", 1, "apiVersion: is no version of Camera; found v1alpha1; expected one of v1."),
    ("metadata:", "extra: 1\nmetadata:", 3, "extra: unknown field"),
]


def test_what_is_wrong_in_an_object_is_told_at_its_line(edgewright: Run, inventory: Write) -> None:
    files = {"cameras.yaml": DEFINITION}
    for number, (old, new, _, _) in enumerate(WRONG):
        assert old in GOOD
        files[f"{number}.yaml"] = GOOD.replace(old, new)
    done = edgewright("check", "-i", inventory(k3s(*(f"file:{name}" for name in files), **files)))
    assert done.returncode == 2
    errors = errors_of(done)
    for number, (_, _, line, told) in enumerate(WRONG):
        begins = f"site/{number}.yaml:{line}: Camera shop/door: {told}"
        assert [error for error in errors if error.startswith(begins)], (begins, errors)


def test_all_mistakes_of_all_manifests_are_told_at_once(edgewright: Run, inventory: Write) -> None:
    twice = GOOD.replace("codec: h265", "codec: x\n  rat: 1")
    listed = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "example.org/v1", "kind": "Camera",
         "metadata": {"name": "gate"}, "spec": {}}]}, indent=1
    )  # fmt: skip
    files = {"a.yaml": twice, "b.json": listed, "cameras.yaml": DEFINITION}
    done = edgewright("check", "-i", inventory(k3s("file:a.yaml", "file:b.json", "file:cameras.yaml", **files)))
    told = [error.split(": ", 3)[:3] for error in errors_of(done)]
    assert told == [
        ["site/a.yaml:6", "Camera shop/door", "spec.codec"],
        ["site/a.yaml:7", "Camera shop/door", "spec.rat"],
        ["site/b.json:11", "List", "items[0].spec.address"],
    ]


def test_what_is_no_object_is_told_before_anything_is_locked(edgewright: Run, inventory: Write) -> None:
    files = {
        "a.yaml": "a: [",
        "b.yaml": "- a\n- b\n",
        "c.yaml": "kind: Pod\nmetadata: {name: a}\n",
        "d.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
        "e.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n",
    }
    done = edgewright("check", "-i", inventory(k3s(*(f"file:{name}" for name in files), **files)))
    told = [
        "site/a.yaml:2: is no YAML: did not find expected node content.",
        "site/b.yaml:1: document 1: is no object of Kubernetes; found list; expected a mapping.",
        "site/c.yaml:1: Pod a: apiVersion: is missing. Give the object its apiVersion.",
        "site/d.yaml:1: Pod: metadata.name: is missing. Give the object its metadata.name.",
        "site/e.yaml:1: Pod 5: metadata.name: is no text. Give the object its metadata.name.",
    ]
    assert errors_of(done) == told


def test_a_release_whose_definition_differs_from_what_is_rendered_is_told_once_it_is_in_the_store(
    edgewright: Run, inventory: Write, tmp_path: Path
) -> None:
    folder = inventory(k3s())
    assert edgewright("check", "-i", folder).returncode == 0
    locked(tmp_path / folder, tmp_path / "cache", **{KUBEVIRT: OPERATOR})
    (error,) = errors_of(edgewright("check", "-i", folder))
    assert error.startswith("site/group_vars/all.yml:3: edge_kubernetes.kubevirt: this release's KubeVirt differs from")
    assert "spec.imagePullPolicy unknown field" in error
    more = "                imagePullPolicy: {type: string}\n"
    locked(tmp_path / folder, tmp_path / "cache", **{KUBEVIRT: OPERATOR + more})
    assert edgewright("check", "-i", folder).returncode == 0


def test_settings_of_kubevirt_that_cannot_be_are_told_at_their_line(edgewright: Run, inventory: Write) -> None:
    role = "kubevirt__certificates: {ca_years: 1}\nkubevirt__namespaces: [Shop]\n"
    files = k3s()
    folder = inventory({**files, "group_vars/all.yml": files["group_vars/all.yml"] + role})
    told = [error.partition(";")[0] for error in errors_of(edgewright("check", "-i", folder))]
    assert told == [
        "site/group_vars/all.yml:5: kubevirt__certificates.server_years: is more than the authority lasts",
        "site/group_vars/all.yml:6: kubevirt__namespaces[0]: is not an RFC 1123 label",
    ]


def test_manifests_from_outside_are_looked_at_once_they_are_in_the_store(
    edgewright: Run, inventory: Write, tmp_path: Path
) -> None:
    folder = inventory(k3s(ELSEWHERE, "file:door.yaml", **{"door.yaml": GOOD.replace("h265", "mjpeg")}))
    assert edgewright("check", "-i", folder).returncode == 0  # nothing here knows what a camera is
    locked(tmp_path / folder, tmp_path / "cache", **{ELSEWHERE: DEFINITION})
    (error,) = errors_of(edgewright("check", "-i", folder))
    assert error.startswith("site/door.yaml:6: Camera shop/door: spec.codec: is not allowed")
    wrong = DEFINITION + "---\n" + GOOD.replace("h265", "mpeg")
    locked(tmp_path / folder, tmp_path / "cache", **{ELSEWHERE: wrong})
    errors = errors_of(edgewright("check", "-i", folder))
    assert any(
        error.startswith(
            f"site/group_vars/all.yml:4: edge_kubernetes.manifests[0]: {ELSEWHERE}: Camera shop/door: spec"
        )
        for error in errors
    ), errors


def test_a_value_of_the_vault_is_not_shown(edgewright: Run, inventory: Write, tmp_path: Path) -> None:
    """What a manifest has is shown, but not where it is a secret of the inventory."""
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    command = [sys.executable, "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", str(password)]
    vaulted = subprocess.run([*command, "--name", "wifi", "h265x"], check=True, capture_output=True, text=True).stdout
    files = {"all.yaml": f"{GOOD.replace('h265', 'h265x')}---\n{DEFINITION}", "host_vars/box-1/vault.yml": vaulted}
    folder = inventory(k3s("file:all.yaml", **files, **{"host_vars/box-1.yml": ""}))
    done = edgewright("check", "-i", folder, "--vault-password-file", str(password))
    assert "spec.codec: is not allowed; found '(secret)'" in errors_of(done)[0]
    assert "h265x" not in done.stdout + done.stderr
