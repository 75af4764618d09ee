#!/usr/bin/env python3
"""Make an authority and a certificate, as an operator would give them: given.py FOLDER.

FOLDER gets ``authority.{crt,key}``, and by it ``given.{crt,key}`` for the scenario's names, and ``client.{crt,key}``.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAMES = ("shop.example", "till.example")


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def main() -> None:
    folder = Path(sys.argv[1])
    now = datetime.datetime.now(datetime.UTC)
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in ("authority", "given", "client")}
    for who, key in keys.items():
        builder = x509.CertificateBuilder(name("authority"), name(who), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.BasicConstraints(ca=who == "authority", path_length=None), critical=True)
        if who == "given":
            names = x509.SubjectAlternativeName([x509.DNSName(known) for known in NAMES])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(keys["authority"], hashes.SHA256())
        (folder / f"{who}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / f"{who}.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )


if __name__ == "__main__":
    main()
