"""What a site's ingress does on every runtime. A scenario's class inherits the tests and says what its runtime is.

Behind it is a virtual machine ``till``, of which molecule/ingress/files/web.py takes the place, at the host
``till.example`` and below ``/till/web``. Asked by curl and openssl, which know nothing but the site's authority.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

KNOWN = "/srv/known.crt"
CURL = f"curl --silent --show-error --max-time 20 --cacert {KNOWN}"


def ask(host: Any, url: str, more: str = "") -> Any:
    """Return what the application behind a URL says that it was asked."""
    return json.loads(host.check_output(f"{CURL} --fail {more} {url}"))


def code(host: Any, url: str, more: str = "") -> str:
    """Return the status of an answer, and where it leads."""
    return str(
        host.check_output(f"{CURL} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' {more} {url}")
    )


class IngressBehaviour:
    """The tests. ``address`` is the node's, ``service`` the name of an inference service."""

    address: ClassVar[str]
    service: ClassVar[str]

    @property
    def url(self) -> str:
        """The ingress, by the node's address."""
        return f"https://{self.address}"

    def test_a_virtual_machine_is_reached_by_its_own_name_and_by_a_path(self, host: Any) -> None:
        named = ask(host, "https://till.example/first/login", f"--resolve till.example:443:{self.address}")
        assert (named["path"], named["headers"]["Host"]) == ("/first/login", "till.example")
        below = ask(host, f"{self.url}/till/web/login")
        assert (below["path"], below["headers"]["X-Forwarded-Prefix"]) == ("/login", "/till/web")
        assert below["headers"]["X-Forwarded-Proto"] == "https"

    def test_what_a_client_says_of_its_own_address_is_not_believed(self, host: Any) -> None:
        told = ask(host, f"{self.url}/till/web/", "--header 'X-Forwarded-For: 192.0.2.9'")
        assert "192.0.2.9" not in told["headers"]["X-Forwarded-For"]

    @pytest.mark.parametrize("path", ["", "nowhere", "{}y", "till", "{}-/v2"])
    def test_nothing_is_anywhere_else(self, host: Any, path: str) -> None:
        assert code(host, f"{self.url}/{path.format(self.service)}").startswith("404")

    def test_plain_http_leads_to_https_and_keeps_the_method(self, host: Any) -> None:
        plain = f"http://{self.address}/{self.service}/v2?x=1"
        assert code(host, plain, "--data x") == f"308 {self.url}/{self.service}/v2?x=1"

    def test_only_tls_of_today_is_spoken(self, host: Any) -> None:
        asked = f"echo | openssl s_client -connect {self.address}:443"
        assert host.run(f"{asked} -tls1_2").rc == 0
        assert host.run(f"{asked} -tls1_1 -cipher DEFAULT@SECLEVEL=0").rc != 0
        said = host.check_output(
            f"{CURL} --http2 --output /dev/null --write-out '%{{http_version}}' {self.url}/till/web/"
        )
        assert said == "2"

    @pytest.mark.parametrize("how", ["", "--header 'Transfer-Encoding: chunked' --http1.1"])
    def test_large_bodies_arrive_as_they_were_sent(self, host: Any, how: str) -> None:
        host.check_output("[ -e /srv/tensor ] || head -c 20000000 /dev/urandom >/srv/tensor")
        told = ask(host, f"{self.url}/till/web/infer", f"{how} --data-binary @/srv/tensor")
        assert told["size"] == 20_000_000
        assert told["sha256"] == host.check_output("sha256sum /srv/tensor").split()[0]

    def test_a_body_over_the_limit_is_refused_as_too_large(self, host: Any) -> None:
        host.check_output("truncate -s 40M /srv/larger")
        assert code(host, f"{self.url}/till/web/", "--data-binary @/srv/larger").startswith("413")

    def test_what_does_not_answer_in_time_is_given_up(self, host: Any) -> None:
        assert code(host, f"{self.url}/till/web/silent").startswith("504")

    def test_the_certificate_is_for_the_names_and_addresses_of_the_site(self, host: Any) -> None:
        shown = f"echo | openssl s_client -connect {self.address}:443 -verify_return_error -x509_strict -CAfile {KNOWN}"
        for name in ("shop.example", "till.example", host.backend.get_hostname(), "localhost"):
            assert host.run(f"{shown} -servername {name} -verify_hostname {name}").rc == 0, name
        for address in (self.address, "127.0.0.1", "::1"):
            assert host.run(f"{shown} -noservername -verify_ip {address}").rc == 0, address
        assert host.run(f"{shown} -servername shop.example -verify_hostname other.example").rc != 0
