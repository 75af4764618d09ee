"""What a node has after the role ``base``, asked of the running node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "http://127.0.0.1:8091"
FETCH = (
    "import sys, urllib.request, urllib.error\n"
    "try: answer = urllib.request.urlopen(urllib.request.Request(sys.argv[1], method=sys.argv[2]), timeout=30)\n"
    "except urllib.error.HTTPError as error: answer = error\n"
    "print(answer.status, answer.headers['Content-Type']); print(answer.read().decode())"
)


def fetch(host: Any, path: str, method: str = "GET") -> tuple[str, str]:
    """Return the first line (status and type) and the body of an HTTP answer, asked on the node itself."""
    head, _, body = host.check_output("python3 -c %s %s %s", FETCH, PAGE + path, method).partition("\n")
    return head, body


@pytest.fixture
def broken_unit(host: Any) -> Iterator[str]:
    """A unit of the node that has failed."""
    host.run("systemd-run --unit=broken --wait /bin/false")
    yield "broken.service"
    host.check_output("systemctl reset-failed broken.service")


@pytest.fixture
def bad_check(host: Any) -> Iterator[str]:
    """A health check that says what is wrong."""
    path = "/etc/edgewright/health.d/disk"
    host.check_output("printf '#!/bin/sh\\necho the disk is upside down\\nexit 1\\n' >%s; chmod 0755 %s", path, path)
    yield "disk"
    host.check_output("rm %s", path)


def test_node_has_its_name(host: Any) -> None:
    assert host.check_output("hostname") == "edge-1"
    assert host.check_output("getent hosts edge-1") == "127.0.1.1       edge-1"


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""


def test_network_is_what_networkd_reads(host: Any) -> None:
    assert host.service("systemd-networkd").is_running
    assert host.service("systemd-networkd").is_enabled
    shown = host.check_output("networkctl cat 10-uplink.network")
    assert "PermanentMACAddress=52:54:00:ed:9e:01" in shown
    assert "Address=192.0.2.10/24" in shown
    assert "nameserver 192.0.2.53" in host.file("/etc/resolv.conf").content_string


def test_nobody_is_asked_for_the_time(host: Any) -> None:
    assert not host.service("systemd-timesyncd").is_enabled
    assert not host.service("systemd-timesyncd").is_running


def test_secret_files_are_for_root_alone_and_folders_that_were_there_stay_as_they_are(host: Any) -> None:
    for path, content in {"/etc/uplink/keys/site.key": "open sesame\n", "/etc/ssh/uplink.key": "open too\n"}.items():
        file = host.file(path)
        assert (file.user, file.group, file.mode, file.content_string) == ("root", "root", 0o600, content)
    assert [host.file(path).mode for path in ("/etc/uplink", "/etc/uplink/keys", "/etc/ssh")] == [0o700, 0o700, 0o755]


def test_ssh_admits_keys_of_the_inventory_only(host: Any) -> None:
    lines = host.check_output("sshd -T -C user=edge").splitlines()
    settings = dict(line.split(" ", 1) for line in lines if " " in line)
    assert settings["passwordauthentication"] == "no"
    assert settings["kbdinteractiveauthentication"] == "no"
    assert settings["permitrootlogin"] in {"prohibit-password", "without-password"}
    assert settings["authorizedkeysfile"].startswith("/etc/ssh/authorized_keys.d/%u")
    assert "operator@example" in host.file("/etc/ssh/authorized_keys.d/edge").content_string
    assert host.service("ssh").is_running


def test_host_keys_are_made_when_they_are_missing(host: Any) -> None:
    host.check_output("rm -f /etc/ssh/ssh_host_*")
    host.check_output("systemctl restart edgewright-ssh-host-keys.service ssh.service")
    key = "/etc/ssh/ssh_host_ed25519_key"
    assert host.file(key).mode == 0o600
    made = host.file(key).sha256sum
    host.check_output("systemctl restart edgewright-ssh-host-keys.service ssh.service")
    assert host.file(key).sha256sum == made


def test_operator_has_no_password_and_may_become_root(host: Any) -> None:
    assert host.check_output("getent shadow edge").split(":")[1].startswith("!")
    assert host.check_output("runuser -u edge -- sudo -n id -u") == "0"
    assert host.file("/var/lib/edgewright/operator").user == "edge"


def test_journal_is_on_disk_and_bounded(host: Any) -> None:
    assert host.file("/var/log/journal").is_directory
    assert "SystemMaxUse=256M" in host.check_output("systemd-analyze cat-config systemd/journald.conf")


def test_healthy_node_reaches_boot_complete(host: Any) -> None:
    host.check_output("systemctl restart edgewright-health.service")
    host.check_output("systemctl start boot-complete.target")
    assert host.service("boot-complete.target").is_running
    report = json.loads(host.file("/run/edgewright/health.json").content_string)
    assert report["healthy"] is True
    assert [check["name"] for check in report["checks"]] == ["units"]


def test_failed_unit_is_not_healthy(host: Any, broken_unit: str) -> None:
    said = host.run("/usr/lib/edgewright/health")
    assert said.rc == 1
    assert f"failed: {broken_unit}" in said.stdout
    status = json.loads(fetch(host, "/status.json")[1])
    assert status["health"]["healthy"] is False
    assert status["failed_units"] == [broken_unit]


def test_unhealthy_boot_does_not_count_as_good(host: Any, bad_check: str) -> None:
    host.check_output("systemctl stop boot-complete.target edgewright-health.service")
    assert host.run("systemctl start boot-complete.target").rc != 0
    assert not host.service("boot-complete.target").is_running
    report = json.loads(host.file("/run/edgewright/health.json").content_string)
    failed = next(check for check in report["checks"] if check["name"] == bad_check)
    assert failed["healthy"] is False
    assert failed["message"] == "the disk is upside down"
    # Not on trial: an unhealthy node stays up.
    assert host.check_output("systemctl show -P ConditionResult edgewright-fallback.service") == "no"
    host.check_output("systemctl reset-failed edgewright-health.service")


def test_health_report_is_refreshed_by_its_timer(host: Any) -> None:
    timer = host.check_output("systemctl show -P TimersMonotonic edgewright-health-check.timer")
    assert "OnUnitInactiveUSec=1min" in timer
    assert "OnActiveUSec=30s" in timer
    assert host.service("edgewright-health-check.timer").is_running


def test_status_page_shows_the_node(host: Any) -> None:
    head, body = fetch(host, "/")
    assert head == "200 text/html; charset=utf-8"
    assert "at demo" in body
    head, body = fetch(host, "/status.json")
    assert head == "200 application/json; charset=utf-8"
    status = json.loads(body)
    assert status["site"] == "demo"
    assert status["machine_id_present"] is True
    assert status["boot_id"] == host.file("/proc/sys/kernel/random/boot_id").content_string.strip()


def test_status_page_of_an_unknown_machine_says_so(host: Any) -> None:
    reason = "no host of the inventory <matches> this machine"
    host.check_output("echo %s >/run/edgewright/identity.json", json.dumps({"node": None, "reason": reason}))
    body = fetch(host, "/")[1]
    host.check_output("rm /run/edgewright/identity.json")
    assert "This machine is not in the inventory" in body
    assert "no host of the inventory &lt;matches&gt; this machine" in body


def test_status_page_offers_the_certificate_of_the_site_s_authority(host: Any) -> None:
    assert fetch(host, "/ca.crt")[0].startswith("404")
    host.check_output("mkdir -p /var/lib/edgewright/ingress && echo certificate >/var/lib/edgewright/ingress/ca.crt")
    assert fetch(host, "/ca.crt") == ("200 application/x-x509-ca-cert; charset=utf-8", "certificate")
    host.check_output("rm -r /var/lib/edgewright/ingress")


@pytest.mark.parametrize(("path", "method", "status"), [("/etc/shadow", "GET", "404"), ("/", "POST", "405")])
def test_status_page_answers_nothing_else(host: Any, path: str, method: str, status: str) -> None:
    assert fetch(host, path, method)[0].startswith(status)


def test_visitors_leave_no_failed_unit(host: Any) -> None:
    rubbish = "import socket; socket.create_connection(('127.0.0.1', 8091)).sendall(b'\\x16\\x03\\x01\\xff\\n\\n')"
    host.check_output("python3 -c %s", rubbish)
    fetch(host, "/")
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend 'edgewright-status*'") == ""


def test_status_page_has_no_privilege(host: Any) -> None:
    shown = host.check_output("systemctl show -P DynamicUser -P CapabilityBoundingSet edgewright-status@x.service")
    assert shown.split() == ["yes"]
