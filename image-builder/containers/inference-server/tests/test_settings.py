from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from inference_server.settings import Settings, SettingsError, flag, load, variable
from server_process import SOURCE, ServerProcess

HERE = SOURCE.parent


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    environment = {"INFERENCE_SERVER_PORT": "9000", "INFERENCE_SERVER_QUEUE_SIZE": "5", "OTHER": "x"}
    settings = load(["--port=9001", "--max-body-size", "4MiB"], environment)
    assert (settings.port, settings.queue_size, settings.max_body_size) == (9001, 5, 4 * 2**20)
    assert settings.model_repository == Path("/models")


def test_all_bad_settings_are_named_at_once() -> None:
    environment = {
        "INFERENCE_SERVER_PORT": "70000",
        "INFERENCE_SERVER_TYPO": "1",
        "INFERENCE_SERVER_SPINNING": "perhaps",
    }
    with pytest.raises(SettingsError) as caught:
        load(["--max-body-size=-1", "--request-timeout=nan", "--log-level=loud"], environment)
    assert str(caught.value).splitlines() == [
        "INFERENCE_SERVER_PORT: found '70000'; expected a whole number from 0 to 65535",
        "--max-body-size: found '-1'; expected a size up to 2GiB, like 32MiB",
        "--request-timeout: found 'nan'; expected a number from 0.001 to 86400",
        "INFERENCE_SERVER_SPINNING: found 'perhaps'; expected true or false",
        "--log-level: found 'loud'; expected debug or info or warning or error",
        "INFERENCE_SERVER_TYPO: no such setting; see --help",
    ]


def test_variables_that_kubernetes_adds_beside_a_service_of_this_name_are_no_settings() -> None:
    links = {
        "INFERENCE_SERVER_SERVICE_HOST": "10.43.0.9",
        "INFERENCE_SERVER_SERVICE_PORT_HTTP": "8080",
        "INFERENCE_SERVER_PORT": "tcp://10.43.0.9:8080",
        "INFERENCE_SERVER_PORT_8080_TCP_ADDR": "10.43.0.9",
    }
    assert load([], links) == Settings()


def test_the_program_says_what_is_wrong_and_ends_with_2() -> None:
    argv = [sys.executable, "-m", "inference_server", "--port=x"]
    done = subprocess.run(argv, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "--port: found 'x'; expected a whole number from 0 to 65535\n")


def test_the_readme_documents_every_setting_with_its_default() -> None:
    text = (HERE / "README.md").read_text()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `INFERENCE_SERVER_")]
    shown = {row[0].strip().strip("`"): row[2].strip().strip("`") for row in rows}
    expected = {
        variable(setting.name): str(setting.default).lower()
        if isinstance(setting.default, bool)
        else str(setting.default)
        for setting in fields(Settings)
    }
    expected[variable("max_body_size")] = "32MiB"
    assert shown == expected
    assert all(flag(setting.name) in text for setting in fields(Settings))


def test_the_health_command_tells_ready_from_not_ready_and_from_absent(repository: Path) -> None:
    def health(port: int) -> tuple[int, str]:
        argv = [sys.executable, "-m", "inference_server.health", f"--port={port}"]
        done = subprocess.run(argv, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    with ServerProcess(repository) as server:
        assert health(server.port) == (0, "ready\n")
        port = server.port
    code, text = health(port)
    assert code == 1
    assert text.startswith(f"no answer from 127.0.0.1:{port}: ")
    with ServerProcess(repository / "nowhere", wait="live") as server:
        server.until(lambda: "event=repository_unreadable" in server.log())
        assert health(server.port) == (1, f"not ready: 127.0.0.1:{server.port} answered 503\n")


def test_the_recipe_starts_this_package_as_nobody_in_particular() -> None:
    recipe = yaml.safe_load((HERE / "container.yml").read_text())
    assert recipe["entrypoint"][1:] == ["-m", "inference_server"]
    assert [(HERE / source / "inference_server/__main__.py").is_file() for source in recipe["copy"]] == [True]
    assert int(recipe["user"].partition(":")[0]) > 0
    assert recipe["exposed_ports"] == [f"{Settings().port}/tcp"]
    assert recipe["stop_signal"] == "SIGTERM"
    assert (HERE / recipe["requirements"]).is_file()
