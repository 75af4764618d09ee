from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_models
import pytest
from hypothesis import HealthCheck, settings
from server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One server answers all examples of a property, and a shared machine may pause it.
settings.register_profile(
    "server", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of model that a test only asks and never changes."""
    root = tmp_path_factory.mktemp("models")
    for datatype in onnx_models.TYPES:
        onnx_models.publish(root, f"identity-{datatype}", onnx_models.identity(datatype))
    onnx_models.publish(root, "two", onnx_models.two_by_two())
    onnx_models.publish(root, "divide", onnx_models.divide())
    onnx_models.publish(root, "gather", onnx_models.gather())
    onnx_models.publish(root, "allocate", onnx_models.allocate())
    onnx_models.publish(root, "anything", onnx_models.identity("FP32", []))
    onnx_models.publish(root, "batched", onnx_models.scaled(1), config="max_batch_size: 4")
    for version in (1, 2, 10):
        onnx_models.publish(root, "versions", onnx_models.scaled(version), version, "version_policy: { all { } }")
    return root


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(repository, "--max-body-size=1MiB", "--log-level=debug") as process:
        yield process
        assert "event=internal_error" not in process.log()
