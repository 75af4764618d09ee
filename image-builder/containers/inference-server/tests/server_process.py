"""A real server process and a client for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx

SOURCE = Path(__file__).resolve().parents[1] / "src"


class ServerProcess:
    """``python -m inference_server`` on a port of its own choice; ready (or only alive) when entered."""

    def __init__(
        self, repository: Path, *flags: str, wait: str = "ready", environment: dict[str, str] | None = None
    ) -> None:
        self._argv = [sys.executable, "-m", "inference_server", f"--model-repository={repository}", "--host=127.0.0.1"]
        self._argv += ["--port=0", *flags]
        self._wait = wait
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INFERENCE_SERVER_")}
        self._environment = {**(inherited if environment is None else environment), "PYTHONPATH": str(SOURCE)}
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - lives as long as the process

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._argv, env=self._environment, stderr=self._log, stdout=self._log)
        address = self.until(lambda: re.search(r"event=listening address=(\S+)", self.log()))[1]
        self.port = int(address.rpartition(":")[2])
        self.client = httpx.Client(base_url=f"http://{address}", timeout=60)
        self.until(lambda: self.client.get(f"/v2/health/{self._wait}").status_code == 200)
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()

    def until(self, condition: Any, seconds: float = 120) -> Any:
        """Return the first true value of ``condition()``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if result := condition():
                return result
            assert self.process.poll() is None or condition(), self.log()
            time.sleep(0.01)
        raise AssertionError(f"waited {seconds} s in vain; the log:\n{self.log()}")

    def log(self) -> str:
        """Return what the server has logged so far."""
        return os.pread(self._log.fileno(), 2**24, 0).decode()

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used (proc_pid_stat(5): utime and stime)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def terminate(self) -> float:
        """Send SIGTERM, wait for the end, return how many seconds it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - start

    def infer(self, model: str, *inputs: dict[str, Any], **document: Any) -> httpx.Response:
        """Post an inference request."""
        return self.client.post(f"/v2/models/{model}/infer", json={"inputs": [*inputs], **document})

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one sample of /metrics, or 0."""
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(self.client.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return 0.0


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    """Return an input of an inference request."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


class Background:
    """A call in a thread; ``result()`` waits for what it returned, or raises what it raised."""

    def __init__(self, call: Any) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Any) -> None:
        try:
            self._outcome.append(call())
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(60)
        if self._error is not None:
            raise self._error
        return self._outcome[0]
