"""A node that is reached at one address: asked by curl and openssl, which know nothing but the site's authority."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

STATE = "/var/lib/edgewright/ingress"
TLS = f"{STATE}/tls.pem"
CURL = "curl --silent --show-error --max-time 20 --cacert /srv/known.crt"
DAY = 86400


@pytest.fixture(scope="module", autouse=True)
def known(host: Any) -> None:
    """A client gets the certificate of the authority from the node, without TLS."""
    host.check_output("curl --silent --fail --output /srv/known.crt http://10.0.2.15/ca.crt")


def ask(host: Any, url: str, more: str = "") -> Any:
    """Return what the application behind a URL says that it was asked."""
    return json.loads(host.check_output(f"{CURL} --fail {more} {url}"))


def code(host: Any, url: str, more: str = "") -> str:
    """Return the status of an answer, and where it leads."""
    return str(
        host.check_output(f"{CURL} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' {more} {url}")
    )


def served(host: Any) -> str:
    """Return the fingerprint of the certificate that is served now."""
    return str(
        host.check_output(
            "echo | openssl s_client -connect 127.0.0.1:443 2>/dev/null | openssl x509 -noout -fingerprint"
        )
    )


def soon(host: Any, before: str) -> None:
    """Wait until another certificate is served."""
    until = time.monotonic() + 20
    while served(host) == before:
        assert time.monotonic() < until, "the same certificate is served"
        time.sleep(0.2)


# What is reached where


def test_services_are_reached_below_their_names_by_every_address(host: Any) -> None:
    for address in ("https://10.0.2.15", "https://localhost", "https://127.0.0.1"):
        for service in ("first", "second"):
            assert ask(host, f"{address}/{service}/v2/models/m?x=1")["path"] == "/v2/models/m?x=1"
    assert ask(host, "https://shop.example/first", "--resolve shop.example:443:10.0.2.15")["path"] == "/"


def test_a_virtual_machine_is_reached_by_its_own_name_and_by_a_path(host: Any) -> None:
    named = ask(host, "https://till.example/first/login", "--resolve till.example:443:10.0.2.15")
    assert (named["path"], named["headers"]["Host"]) == ("/first/login", "till.example")
    below = ask(host, "https://10.0.2.15/till/web/login")
    assert (below["path"], below["headers"]["X-Forwarded-Prefix"]) == ("/login", "/till/web")
    assert below["headers"]["X-Forwarded-Proto"] == "https"


def test_what_a_client_says_of_its_own_address_is_not_believed(host: Any) -> None:
    told = ask(host, "https://10.0.2.15/first/", "--header 'X-Forwarded-For: 192.0.2.9'")
    assert told["headers"]["X-Forwarded-For"] == "10.0.2.15"


@pytest.mark.parametrize("path", ["", "nowhere", "firsty", "till", "first-/v2"])
def test_nothing_is_anywhere_else(host: Any, path: str) -> None:
    assert code(host, f"https://10.0.2.15/{path}").startswith("404")


def test_plain_http_leads_to_https_and_keeps_the_method(host: Any) -> None:
    assert code(host, "http://10.0.2.15/first/v2?x=1") == "308 https://10.0.2.15/first/v2?x=1"


def test_only_tls_of_today_is_spoken(host: Any) -> None:
    assert host.run("echo | openssl s_client -connect 127.0.0.1:443 -tls1_1 -cipher DEFAULT@SECLEVEL=0").rc != 0
    said = host.check_output(
        f"{CURL} --http2 --output /dev/null --write-out '%{{http_version}}' https://127.0.0.1/first/"
    )
    assert said == "2"


# What passes


@pytest.mark.parametrize("how", ["", "--header 'Transfer-Encoding: chunked' --http1.1"])
def test_large_bodies_arrive_as_they_were_sent(host: Any, how: str) -> None:
    host.check_output("[ -e /srv/tensor ] || head -c 20000000 /dev/urandom >/srv/tensor")
    told = ask(host, "https://10.0.2.15/first/v2/models/m/infer", f"{how} --data-binary @/srv/tensor")
    assert told["size"] == 20_000_000
    assert told["sha256"] == host.check_output("sha256sum /srv/tensor").split()[0]


def test_a_body_over_the_limit_is_refused_as_too_large(host: Any) -> None:
    host.check_output("truncate -s 40M /srv/larger")
    assert code(host, "https://10.0.2.15/first/", "--data-binary @/srv/larger").startswith("413")


def test_an_answer_passes_while_it_is_made(host: Any) -> None:
    script = (
        "import ssl, time, urllib.request\n"
        "context = ssl.create_default_context(cafile='/srv/known.crt')\n"
        "answer = urllib.request.urlopen('https://10.0.2.15/till/web/slow', context=context)\n"
        "began = time.monotonic()\n"
        "print(answer.readline().strip().decode(), round(time.monotonic() - began), *answer.read().split())\n"
    )
    first, seconds, *_ = host.check_output("python3 -c %s", script).split()
    assert (first, seconds) == ("0", "0")


def test_what_does_not_answer_in_time_is_given_up(host: Any) -> None:
    assert code(host, "https://10.0.2.15/till/web/silent").startswith("504")


def test_a_service_that_is_away_is_said_to_be_so_at_once_and_is_back_at_once(host: Any) -> None:
    host.check_output("systemctl stop second.service")
    began = time.monotonic()
    said = host.check_output(f"{CURL} --write-out ' %{{http_code}}' https://10.0.2.15/second/v2/health/ready")
    assert time.monotonic() - began < 2
    host.check_output("systemctl start second.service")
    assert said == '{"error":"the service is not there at the moment: try again"} 503'
    host.check_output("timeout 10 sh -c 'until curl -s http://127.0.0.1:8081/; do sleep 0.1; done'")
    assert ask(host, "https://10.0.2.15/second/")["path"] == "/"


# Certificates


def test_the_certificate_is_for_the_names_and_addresses_of_the_site(host: Any) -> None:
    strict = "openssl verify -x509_strict -purpose sslserver -CAfile /srv/known.crt"
    for name in ("shop.example", "till.example", host.backend.get_hostname(), "localhost"):
        assert host.run(f"{strict} -verify_hostname {name} {TLS}").rc == 0, name
    for address in ("10.0.2.15", "127.0.0.1", "::1"):
        assert host.run(f"{strict} -verify_ip {address} {TLS}").rc == 0, address
    assert host.run(f"{strict} -verify_hostname other.example {TLS}").rc != 0


def test_keys_are_for_root_alone_and_an_authority_does_not_depend_on_the_clock(host: Any) -> None:
    for name in ("tls.pem", "authority.pem"):
        file = host.file(f"{STATE}/{name}")
        assert (file.mode, file.user, file.group) == (0o600, "root", "root")
    assert "KEY" not in host.file(f"{STATE}/ca.crt").content_string
    printed = host.check_output("openssl x509 -in /srv/known.crt -noout -startdate -enddate -dateopt iso_8601")
    assert printed.split("\n") == ["notBefore=2020-01-01 00:00:00Z", "notAfter=2099-12-31 23:59:59Z"]
    assert host.run("su -s /bin/sh www-data -c 'cat %s'", TLS).rc != 0


def replaced(host: Any, begin: int, end: int, name: str = "localhost") -> str:
    """Put another certificate of the authority in place, good from and until a number of days from now."""
    before = served(host)
    span = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * DAY)) for days in (begin, end)]
    host.check_output(
        f"cd /srv && openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout k -out r -subj /CN=x "
        f"-addext subjectAltName=DNS:{name} 2>/dev/null && openssl x509 -req -in r -out c -copy_extensions copyall "
        f"-CA {STATE}/authority.pem -CAkey {STATE}/authority.pem -not_before {span[0]} -not_after {span[1]} "
        f"2>/dev/null && cat k c >{TLS} && systemctl reload edgewright-ingress"
    )
    soon(host, before)
    return served(host)


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [
        (-300, 65, "ends"),
        (-400, -1, "ends"),
        (40, 405, "was made while the clock was ahead"),
        (-10, 355, "its names and addresses have changed"),
    ],
)
def test_a_certificate_that_cannot_stay_is_made_anew_and_served(host: Any, begin: int, end: int, why: str) -> None:
    other = replaced(host, begin, end)
    cursor = host.check_output("journalctl -n 0 --show-cursor -q | sed -n 's/^-- cursor: //p'")
    host.check_output("systemctl start edgewright-ingress-certificate.service")
    soon(host, other)
    unit = "edgewright-ingress-certificate.service"
    assert why in host.check_output("journalctl --no-pager -o cat -u %s --after-cursor=%s", unit, cursor)
    assert ask(host, "https://10.0.2.15/first/")["path"] == "/"


def test_a_certificate_that_was_written_and_not_taken_over_is_served_after_the_next_look(host: Any) -> None:
    before = served(host)
    # As if the program had been killed between the two.
    host.check_output(f"cp -p {TLS} /srv/tls.pem && rm {TLS} && /usr/lib/edgewright/ingress-certificate --starting")
    assert served(host) == before
    host.check_output("systemctl start edgewright-ingress-certificate.service")
    soon(host, before)


def test_half_a_file_is_mended_when_the_ingress_starts(host: Any) -> None:
    host.check_output(f"truncate -s 200 {TLS}")
    host.check_output("systemctl restart edgewright-ingress")
    assert ask(host, "https://10.0.2.15/first/")["path"] == "/"
    assert host.file(TLS).mode == 0o600


def test_a_certificate_that_is_good_stays_when_the_ingress_starts_again(host: Any) -> None:
    before = host.check_output(f"sha256sum {STATE}/*.pem")
    host.check_output("systemctl restart edgewright-ingress && systemctl start edgewright-ingress-certificate.service")
    assert host.check_output(f"sha256sum {STATE}/*.pem") == before


def test_it_is_looked_at_every_day_and_when_the_clock_jumps(host: Any) -> None:
    timer = "edgewright-ingress-certificate.timer"
    assert host.check_output("systemctl show -P TimersCalendar -P OnClockChange %s", timer).endswith("\nyes")
    assert host.check_output("systemctl is-active %s", timer) == "active"
    assert host.file(f"/etc/systemd/system/timers.target.wants/{timer}").is_symlink


def test_the_node_is_healthy_only_while_the_very_certificate_is_served(host: Any) -> None:
    assert "its certificate is good until" in host.check_output("/etc/edgewright/health.d/ingress")
    host.check_output("systemctl stop edgewright-ingress")
    assert host.run("/etc/edgewright/health.d/ingress").rc == 1
    host.check_output("systemctl start edgewright-ingress")
    host.check_output("timeout 10 /bin/sh -c 'until /etc/edgewright/health.d/ingress; do sleep 0.2; done'")


def test_both_ports_are_its_own_and_it_starts_with_the_node(host: Any) -> None:
    sockets = host.check_output("ss -Hltnp '( sport = :80 or sport = :443 )'")
    main = host.check_output("systemctl show -P MainPID edgewright-ingress")
    assert len(sockets.splitlines()) == 4
    assert all(f"pid={main}," in line for line in sockets.splitlines())
    assert "multi-user.target" in host.check_output("systemctl show -P WantedBy edgewright-ingress")
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
