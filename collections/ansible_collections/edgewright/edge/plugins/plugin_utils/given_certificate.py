"""A certificate with its key that an operator gives for the site's ingress: whether they can be what they are given as.

On the controller only: it needs the library cryptography, which Ansible itself needs for its vault.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

CERTIFICATE, KEY = "ingress__certificate", "ingress__key"
CA_CERTIFICATE, CA_KEY = "ingress__ca_certificate", "ingress__ca_key"
_PEM: Final = "PEM: lines from '-----BEGIN' to '-----END'"
_MAKE: Final = "See docs/ingress.md for how one is made."
T = TypeVar("T")


def certificate_problems(
    variables: Mapping[str, Any], names: Iterable[str], *, with_keys: bool, now: datetime.datetime | None = None
) -> list[Problem]:
    """Return what is wrong in the variables of one host; a key is never shown.

    Args:
        variables: of the host; an absent one and an empty one are the same.
        names: host names that a certificate must be good for.
        with_keys: whether keys can be read now; while an image is built they stay in their vault.
        now: time that a certificate must be good at; the controller's.
    """
    problems = Problems()
    if variables.get(CERTIFICATE) and variables.get(CA_CERTIFICATE):
        problems.add(
            CERTIFICATE,
            f"is given, and {CA_CERTIFICATE} too, from which one would be made",
            remedy="Give one of the two.",
        )
    for certificate, key in ((CERTIFICATE, KEY), (CA_CERTIFICATE, CA_KEY)):
        _check_pair(variables, certificate, key, with_keys=with_keys, problems=problems)
    moment = now or datetime.datetime.now(datetime.UTC)
    for name in (CERTIFICATE, CA_CERTIFICATE):
        for given in _chain(variables.get(name))[:1]:
            _check_time(name, given, moment, problems)
    chain = _chain(variables.get(CERTIFICATE))
    if chain and (missing := [name for name in names if not _covers(chain[0], name)]):
        problems.add(
            CERTIFICATE,
            "is not for all names of edge_ingress",
            found=", ".join(_names_of(chain[0])) or "no name at all",
            expected=", ".join(missing),
            remedy="Have one made for them too, or take them out of edge_ingress.",
        )
    ingress = variables.get("edge_ingress")
    clients = _chain(ingress.get("client_ca")) if isinstance(ingress, Mapping) else []
    for authority in clients:
        if not _is_authority(authority):
            problems.add(
                "edge_ingress.client_ca",
                "has a certificate that is none of an authority",
                found=authority.subject.rfc4514_string(),
                expected="the authority that signs certificates of clients, not a client's own",
            )
    if (chain := _chain(variables.get(CA_CERTIFICATE))) and not _is_authority(chain[0]):
        problems.add(
            CA_CERTIFICATE,
            "is no certificate of an authority",
            found=chain[0].subject.rfc4514_string(),
            expected="basicConstraints with CA:TRUE, and keyCertSign in its keyUsage",
            remedy=f"Give '{CERTIFICATE}' for the certificate of a server. {_MAKE}",
        )
    return problems.found


def _check_time(name: str, given: x509.Certificate, moment: datetime.datetime, problems: Problems) -> None:
    """Look at whether a certificate is good now."""
    if given.not_valid_after_utc < moment:
        problems.add(name, "is over", found=f"its end on {given.not_valid_after_utc:%Y-%m-%d}")
    if given.not_valid_before_utc > moment:
        problems.add(
            name,
            "is not good yet",
            found=f"its beginning on {given.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            expected=f"not after this machine's clock, {moment:%Y-%m-%d %H:%M} UTC",
            remedy="Set the clock if it is behind, or wait until then.",
        )


def _check_pair(
    variables: Mapping[str, Any], certificate: str, key: str, *, with_keys: bool, problems: Problems
) -> None:
    """Look at a certificate and its key, and whether they belong together."""
    given, secret = variables.get(certificate), variables.get(key)
    if given and not _chain(given):
        problems.add(certificate, "is no certificate", expected=_PEM)
    if secret and not given:
        problems.add(key, f"is given without {certificate}", remedy=f"Add '{certificate}'.")
    if not with_keys:
        return
    private = _private_key(secret)
    if given and not secret:
        problems.add(key, f"is missing: {certificate} is given", remedy=f"Add '{key}', encrypted by ansible-vault.")
    elif secret and private is None:
        problems.add(key, "is no private key", expected=f"{_PEM}, without a passphrase", remedy=_MAKE)
    elif private is not None and (chain := _chain(given)):
        public = _attempt(chain[0].public_key)
        if public is None:
            problems.add(certificate, "has a key of an unknown kind", expected="RSA or an elliptic curve", remedy=_MAKE)
        elif not _same(public, private):
            problems.add(key, f"is not the key of {certificate}", remedy="Give the two that were made together.")


def _attempt(work: Callable[[], T]) -> T | None:
    """Return what comes of it; what is malformed, encrypted, or of a kind that the library does not know is nothing."""
    try:
        return work()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return None


def _chain(value: object) -> list[x509.Certificate]:
    if not isinstance(value, str) or not value.isascii():
        return []
    return _attempt(lambda: x509.load_pem_x509_certificates(value.encode())) or []


def _private_key(value: object) -> PrivateKeyTypes | None:
    return _attempt(lambda: load_pem_private_key(str(value).encode(), None)) if isinstance(value, str) else None


def _same(public: PublicKeyTypes, private: PrivateKeyTypes) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form) == private.public_key().public_bytes(*form)


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = _attempt(lambda: certificate.extensions.get_extension_for_class(x509.BasicConstraints).value)
    usage = _attempt(lambda: certificate.extensions.get_extension_for_class(x509.KeyUsage).value)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _names_of(certificate: x509.Certificate) -> list[str]:
    found = _attempt(lambda: certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if found is None:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _covers(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether a client takes a certificate for a name or an address (RFC 9525, 6.3)."""
    names = _names_of(certificate)
    try:
        return str(ipaddress.ip_address(name)) in names
    except ValueError:
        wildcard = f"*.{name.partition('.')[2]}"
        return any(known.lower() in {name, wildcard} for known in names)
