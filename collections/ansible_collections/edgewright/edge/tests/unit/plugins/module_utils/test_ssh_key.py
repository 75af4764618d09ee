from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.ssh_key import ssh_public_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHHZ9yVwgXtOQ1U4v1yTPTQDi4RQAGhMRHJN/0tJ1pGk operator@example.org"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_that_openssh_makes_are_accepted(kind, tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen (openssh-client) is not installed")
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "key", "-C", "a b"], check=True)
    line = (tmp_path / "key.pub").read_text(encoding="utf-8").strip()
    assert ssh_public_key(line) == line
    with pytest.raises(UnfitError) as caught:
        ssh_public_key((tmp_path / "key").read_text(encoding="utf-8"))
    assert (caught.value.what, caught.value.secret) == ("is a private key", True)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (ED25519[:60], "is cut off or damaged"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "is cut off or damaged"),
        (ED25519.replace("AAAA", "!!!!"), "is cut off or damaged"),
        ("ssh-ed25519", "is cut off or damaged"),
        ("ssh-ed25519 ", "is cut off or damaged"),
        ("ssh-dss AAAA", "is not an SSH public key"),
        ('command="x" ' + ED25519, "is not an SSH public key"),
        (f"{ED25519}\n{ED25519}", "must be a line of text"),
        (7, "must be a string"),
    ],
)
def test_other_lines_are_refused(key, what):
    assert ssh_public_key(ED25519) == ED25519
    with pytest.raises(UnfitError) as caught:
        ssh_public_key(key)
    assert caught.value.what == what
