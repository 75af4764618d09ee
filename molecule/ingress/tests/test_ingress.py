"""A node that is reached at one address: asked by curl and openssl, which know nothing but the site's authority."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ingress import CURL, KNOWN, IngressBehaviour, ask

STATE = "/var/lib/edgewright/ingress"
TLS = f"{STATE}/tls.pem"
DAY = 86400


@pytest.fixture(scope="module", autouse=True)
def known(host: Any) -> None:
    """A client gets the certificate of the authority from the node, without TLS."""
    host.check_output(f"curl --silent --fail --output {KNOWN} http://10.0.2.15/ca.crt")


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


class TestIngress(IngressBehaviour):
    address = "10.0.2.15"
    service = "first"


# What is reached where


def test_services_are_reached_below_their_names_by_every_address(host: Any) -> None:
    for address in ("https://10.0.2.15", "https://localhost", "https://127.0.0.1"):
        for service in ("first", "second"):
            assert ask(host, f"{address}/{service}/v2/models/m?x=1")["path"] == "/v2/models/m?x=1"
    assert ask(host, "https://shop.example/first", "--resolve shop.example:443:10.0.2.15")["path"] == "/"


# What passes


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
