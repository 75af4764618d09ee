from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright import accelerator
from edgewright.machine import Machine, MachineError
from edgewright.tools import emulator, qemu
from edgewright.tools.qemu import Hardware, Link

pytestmark = pytest.mark.usefixtures("firmware")
SMALL = Hardware(memory=256 * 1024**2, cpus=1, link=Link(isolated=True))
# What OVMF says when it has tried the disk, which has nothing to boot (EDK2, MdeModulePkg/Library/UefiBootManagerLib).
TRIED = r"BdsDxe: .*Boot000\d"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _boot(image: Path, *words: str | Path) -> list[str]:
    command = [sys.executable, "-m", "edgewright", "boot", str(image), "--accel", "tcg", "--json", "--memory", "256MiB"]
    return [*command, *(str(word) for word in words)]


def test_a_machine_boots_is_reset_is_cut_off_and_boots_again(image: Path, tmp_path: Path) -> None:
    before = _digest(image)
    with Machine(image, SMALL, console=tmp_path / "console") as machine:
        assert not machine.running
        machine.start()
        machine.wait_for_console(TRIED, 180)
        with machine.qmp() as qmp:
            assert qmp.execute("query-status")["status"] == "running"
        seen = machine.console_size()
        machine.reset()
        machine.wait_for_console(TRIED, 180, since=seen)
        machine.kill()
        assert machine.returncode == -9
        seen = machine.console_size()
        machine.start()
        machine.wait_for_console(TRIED, 180, since=seen)
        scratch = machine.disk.parent
    assert not machine.running
    assert not scratch.exists()
    assert _digest(image) == before


def test_waiting_in_vain_says_what_the_console_said_instead(image: Path) -> None:
    with Machine(image, SMALL) as machine:
        machine.start()
        machine.wait_for_console(TRIED, 180)
        with pytest.raises(MachineError, match=r"did not show 'never'.*\n(.*\n)*.*BdsDxe"):
            machine.wait_for_console("never", 0.3)
        machine.kill()
        with pytest.raises(MachineError, match="went off"):
            machine.wait_for_console("never", 120)


def test_a_guest_that_ignores_the_power_button_is_reported(image: Path) -> None:
    with Machine(image, SMALL) as machine:
        machine.start()
        machine.wait_for_console(TRIED, 180)
        with pytest.raises(MachineError, match="still on 1 s after its power button"):
            machine.powerdown(timeout=1)
        assert machine.running


@pytest.mark.parametrize("name", ["state.raw", "state.qcow2"])
def test_persistent_state_survives_and_the_image_does_not_change(image: Path, tmp_path: Path, name: str) -> None:
    before, state = _digest(image), tmp_path / "kept" / name
    with Machine(image, SMALL, persistent=state, disk_size=64 * 1024**2) as machine:
        machine.start()
        machine.wait_for_console(TRIED, 180)
    info = json.loads(
        subprocess.run(["qemu-img", "info", "--output=json", state], check=True, capture_output=True).stdout
    )
    assert info["virtual-size"] == 64 * 1024**2
    assert info["format"] == name.partition(".")[2]
    variables = state.with_name(f"{name}.nvram")
    template = qemu.find_firmware().variables
    assert variables.read_bytes() != template.read_bytes(), "the firmware remembered nothing of its first boot"
    subprocess.run(["qemu-io", "-f", info["format"], "-c", "write -P 7 40M 4k", state], check=True, capture_output=True)
    with Machine(image, SMALL, persistent=state) as machine:
        machine.start()
        machine.wait_for_console(TRIED, 180)
    check = ["qemu-io", "-f", info["format"], "-c", "read -P 7 40M 4k", state]
    assert "verification failed" not in subprocess.run(check, check=True, capture_output=True, text=True).stdout
    assert _digest(image) == before


def test_an_overlay_is_not_put_on_a_rebuilt_image(image: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.qcow2"
    Machine(image, SMALL, persistent=state).close()
    os.utime(image, (1, 1))
    with pytest.raises(EdgeError, match="an overlay on another image, or on an older build"):
        Machine(image, SMALL, persistent=state)


def test_a_disk_smaller_than_the_image_is_refused(image: Path) -> None:
    with pytest.raises(EdgeError, match="smaller than the image"):
        Machine(image, SMALL, disk_size=1024**2)


def test_what_qemu_refuses_is_told_in_its_own_words(image: Path) -> None:
    with (
        Machine(image, Hardware(link=Link(mac="01:00:00:00:00:01x"))) as machine,
        pytest.raises(MachineError, match="mac"),
    ):
        machine.start()


def test_the_link_is_captured(image: Path, tmp_path: Path) -> None:
    capture = tmp_path / "link.pcap"
    hardware = Hardware(memory=256 * 1024**2, cpus=1, link=Link(isolated=True, capture=capture))
    with Machine(image, hardware) as machine:
        machine.start()
        machine.wait_for_console(TRIED, 180)
    assert capture.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"  # pcap, little endian


def test_qemu_does_not_outlive_a_builder_that_is_killed(image: Path, tmp_path: Path) -> None:
    console = tmp_path / "console"
    process = subprocess.Popen(_boot(image, "--console", console), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 180
    while not (console.exists() and "BdsDxe" in console.read_text(errors="replace")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (child,) = (int(pid) for pid in children.read_text().split())
    process.kill()
    process.wait()
    while Path(f"/proc/{child}").exists() and b"Z" not in Path(f"/proc/{child}/stat").read_bytes().split()[2:3]:
        assert time.monotonic() < deadline, "QEMU still runs"
        time.sleep(0.1)


def test_the_command_line_prints_where_the_ports_are_and_stops_on_ctrl_c(image: Path, tmp_path: Path) -> None:
    console = tmp_path / "console"
    words = _boot(image, "--no-network", "--console", console)
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 180
    while not (console.exists() and "BdsDxe" in console.read_text(errors="replace")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "→ port 22" in messages
    assert "→ port 8090" in messages


def test_after_its_time_the_machine_is_stopped_and_the_exit_code_says_so(image: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        _boot(image, "--timeout", "1", "--grace", "1", "--console", tmp_path / "c"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "cutting the power" in done.stderr
    assert json.loads(done.stdout)["accelerator"] == "tcg"


def test_kvm_is_not_trusted_without_a_kernel_to_prove_it(tmp_path: Path) -> None:
    verdict = accelerator.choose("auto", kernel=None, memory=tmp_path / "answers.json")
    assert verdict.name == "tcg"
    assert not (tmp_path / "answers.json").exists(), "a guess must not be remembered"


def test_what_is_no_kernel_does_not_pass_the_probe(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"no kernel" * 1000)
    assert not accelerator.probe(emulator.installed(), tmp_path / "kernel", "tcg", patience=5)


def test_a_kernel_passes_the_probe_under_emulation(kernel: Path) -> None:
    assert accelerator.probe(emulator.installed(), kernel, "tcg", patience=60)


def test_the_answer_about_kvm_is_remembered(kernel: Path, tmp_path: Path) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used here")
    memory = tmp_path / "answers.json"
    first = accelerator.choose("auto", kernel=kernel, memory=memory)
    started = time.monotonic()
    assert accelerator.choose("auto", kernel=None, memory=memory) == first
    assert time.monotonic() - started < 2
    memory.write_text("{damaged")
    assert accelerator.choose("auto", kernel=None, memory=memory).name == "tcg"
