"""Certificates and keys that an operator might give."""

from __future__ import annotations

import base64
import datetime
import ipaddress

import pytest
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.certificate_problems import certificate_problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
NAMES = ["shop.example", "till.shop.example"]


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey = KEY, password: bytes = b"") -> str:
    how: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def certificate(*names: str, ca: bool = False, since: int = -60, days: int = 30) -> str:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), 1)
    builder = builder.not_valid_before(now + datetime.timedelta(since)).not_valid_after(now + datetime.timedelta(days))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    known = [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("10.0.2.15"))]
    builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def told(**variables: str) -> list[str]:
    return certificate_problems({f"ingress__{name}": value for name, value in variables.items()}, NAMES)


def test_good_ones_are_taken():
    assert told() == []
    assert told(certificate=certificate("shop.example", "*.shop.example"), key=pem()) == []
    assert told(ca_certificate=certificate(ca=True), ca_key=pem()) == []


@pytest.mark.parametrize("key", [pem(password=b"secret"), "none", pem()[:-40], pem().replace("M", "N", 3)])
def test_what_is_no_key_is_refused_and_not_shown(key: str):
    (problem,) = told(certificate=certificate(*NAMES), key=key)
    assert problem.startswith("ingress__key: is no private key; expected PEM")
    assert key not in problem


def test_a_key_of_another_is_refused():
    assert told(certificate=certificate(*NAMES), key=pem(OTHER)) == [
        "ingress__key: is not the key of ingress__certificate. Give the two that were made together."
    ]


def test_a_key_of_an_unknown_kind_is_refused():
    known, unknown = (bytes.fromhex(f"06072a8648ce3d02{last}") for last in ("01", "7f"))  # id-ecPublicKey (RFC 5480)
    content = x509.load_pem_x509_certificate(certificate(*NAMES).encode()).public_bytes(Encoding.DER)
    text = base64.encodebytes(content.replace(known, unknown)).decode()
    odd = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
    (problem,) = told(certificate=odd, key=pem())
    assert problem.startswith("ingress__certificate: has a key of an unknown kind; expected RSA or an elliptic curve.")


def test_what_begins_later_is_refused():
    (problem,) = told(certificate=certificate(*NAMES, since=2), key=pem())
    assert problem.startswith("ingress__certificate: is not good yet; found its beginning on ")
    (problem,) = told(ca_certificate=certificate(ca=True, since=2), ca_key=pem())
    assert problem.startswith("ingress__ca_certificate: is not good yet; found its beginning on ")
    (problem,) = told(ca_certificate=certificate(ca=True, days=-1), ca_key=pem())
    assert problem.startswith("ingress__ca_certificate: is over; found its end on ")


def test_halves_are_refused():
    (problem,) = told(certificate=certificate(*NAMES))
    assert problem.startswith("ingress__key: is missing: ingress__certificate is given.")
    assert told(ca_key=pem()) == [
        "ingress__ca_key: is given without ingress__ca_certificate. Add 'ingress__ca_certificate'."
    ]
    # While an image is built, keys stay in their vault.
    assert certificate_problems({"ingress__certificate": certificate(*NAMES)}, NAMES, with_keys=False) == []


def test_all_mistakes_are_told_at_once():
    found = told(
        certificate=certificate("shop.example", days=-1), key=pem(), ca_certificate=certificate(), ca_key=pem()
    )
    assert [problem.partition(";")[0].partition(". ")[0] for problem in found] == [
        "ingress__certificate: is given, and ingress__ca_certificate too, from which one would be made",
        "ingress__certificate: is over",
        "ingress__certificate: is not for all names of edge_ingress",
        "ingress__ca_certificate: is no certificate of an authority",
    ]
    assert "found shop.example, 10.0.2.15; expected till.shop.example" in found[2]


def test_a_client_s_own_certificate_is_no_authority_of_clients():
    (problem,) = certificate_problems({"edge_ingress": {"client_ca": certificate(ca=True) + certificate()}})
    assert problem.startswith("edge_ingress.client_ca: has a certificate that is none of an authority; found CN=x")


def test_what_is_no_certificate_is_refused():
    assert told(certificate="x", key=pem()) == [
        "ingress__certificate: is no certificate; expected PEM: lines from '-----BEGIN' to '-----END'."
    ]
