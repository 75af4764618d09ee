"""Certificates of a cluster, made with openssl: an authority, a server's, an administrator's, a node's."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = "server-ca"
_DAYS, _AUTHORITY_DAYS = 365, 3650


def _openssl(*arguments: str | Path, given: str | None = None) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def _key(path: Path) -> None:
    path.touch(0o600)
    path.write_text(_openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1"), encoding="ascii")


def authority(folder: Path) -> None:
    """Make the authority where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = folder / f"{AUTHORITY}.crt"
    if not certificate.exists():
        key = folder / f"{AUTHORITY}.key"
        _key(key)
        subject = ["-subj", "/CN=k3s-server-ca", "-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
        _openssl("req", "-x509", "-new", "-key", key, "-days", str(_AUTHORITY_DAYS), *subject, "-out", certificate)


def issue(folder: Path, name: str, subject: str, names: list[str] | None = None, *, days: int = _DAYS) -> None:
    """Make a key and a certificate of the authority in the same folder, anew; ``names`` makes it a server's."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    key.unlink(missing_ok=True)
    _key(key)
    request = _openssl("req", "-new", "-key", key, "-subj", subject)
    if names:
        extensions = f"extendedKeyUsage=serverAuth\nsubjectAltName={','.join(names)}\n"
    else:
        extensions = "extendedKeyUsage=clientAuth\n"
    file = folder / f"{name}.ext"
    file.write_text(extensions, encoding="ascii")
    signer: list[str | Path] = [
        "-CA",
        folder / f"{AUTHORITY}.crt",
        "-CAkey",
        folder / f"{AUTHORITY}.key",
        "-CAcreateserial",
    ]
    _openssl("x509", "-req", *signer, "-days", str(days), "-extfile", file, "-out", certificate, given=request)
    file.unlink()


def begins(certificate: Path) -> str:
    """Return when a certificate begins to be valid, as openssl writes it."""
    return _openssl("x509", "-noout", "-startdate", "-in", certificate).strip().removeprefix("notBefore=")


def expires(certificate: Path) -> str:
    """Return when a certificate ends, as openssl writes it."""
    return _openssl("x509", "-noout", "-enddate", "-in", certificate).strip().removeprefix("notAfter=")


def ends_within(certificate: Path, seconds: int) -> bool:
    """Return whether a certificate ends within so many seconds."""
    command = ["openssl", "x509", "-noout", "-checkend", str(seconds), "-in", str(certificate)]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def fingerprint(folder: Path) -> str:
    """Return the hash that tokens carry: SHA-256 of the authority's certificate."""
    return hashlib.sha256((folder / f"{AUTHORITY}.crt").read_bytes()).hexdigest()
