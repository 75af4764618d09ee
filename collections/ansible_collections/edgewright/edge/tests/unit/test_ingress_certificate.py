"""The node's program that keeps the certificate of the ingress, with a server that answers with one."""

from __future__ import annotations

import datetime
import importlib.machinery
import importlib.util
import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

PROGRAM = Path(__file__).parents[2] / "roles/ingress/files/ingress-certificate"


def pair(name):
    """Return a key and its certificate as the text of one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(300))
    parts = (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM),
    )
    return b"".join(parts).decode()


@pytest.fixture
def serve(tmp_path):
    """Return a function that answers with a certificate, as nginx does that has read it, and gives the port."""
    listeners = []

    def start(pem):
        (tmp_path / "served.pem").write_text(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "served.pem")
        listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        listeners.append(listener)
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        return listener.getsockname()[1]

    def answer(listener):
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def look(tmp_path, monkeypatch, capsys):
    """Return a function that has the program look at a given certificate, and says what it had systemd do."""
    loader = importlib.machinery.SourceFileLoader("ingress_certificate", str(PROGRAM))
    program = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(program)
    for name, path in {"SETTINGS": "settings.json", "STATE": "", "CA": "ca.crt", "TLS": "tls.pem"}.items():
        monkeypatch.setattr(program, name, tmp_path / path)
    monkeypatch.setitem(program.GIVEN, "given", tmp_path / "given.pem")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    def run(pem, port, *words):
        settings = {"source": "given", "secret": {}, "unit": "edgewright-ingress.service", "port": port}
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        (tmp_path / "given.pem").write_text(pem)
        (tmp_path / "asked").unlink(missing_ok=True)
        monkeypatch.setattr("sys.argv", ["ingress-certificate", *words])
        assert program.main() == 0
        asked = (tmp_path / "asked").read_text().split() if (tmp_path / "asked").exists() else []
        return asked[-2:], capsys.readouterr().out

    return run


RELOADED = ["try-reload-or-restart", "edgewright-ingress.service"]


def test_what_answers_takes_over_a_certificate_though_an_earlier_run_was_killed_after_it_wrote_it(serve, look):
    old, new = pair("old"), pair("new")
    port = serve(old)
    # Written, and nobody told.
    assert look(new, port, "--starting")[0] == []
    assert look(new, port) == (RELOADED, "the certificate is taken over by what answers, which had another one still\n")


def test_nobody_is_told_while_all_is_well_or_nothing_answers(serve, look):
    pem = pair("one")
    assert look(pem, serve(pem))[0] == RELOADED
    assert look(pem, serve(pem)) == ([], "")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert look(pem, port) == ([], "")
