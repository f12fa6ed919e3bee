"""Arrays and helpers of the tests."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

CRATES = Path(__file__).resolve().parents[2]


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file of 4- and 8-byte numbers."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    start = 8 + length
    return {
        name: np.frombuffer(data[start + at[0] : start + at[1]], kinds[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
        for at in [entry["data_offsets"]]
    }


@pytest.fixture(scope="session")
def fixtures() -> dict:
    """Arrays and results that `tests/fixtures.rs` wrote on this machine."""
    path = os.environ.get("GEOMETRIC_FIXTURES")
    if path is None:
        pytest.skip("set GEOMETRIC_FIXTURES to the file that `cargo test --test fixtures` writes")
    return json.loads(Path(path).read_text())


@pytest.fixture
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """90 samples of 6 features in 3 well separated classes, f32."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = rng.normal(size=(90, 6))
    features[np.arange(90), labels] += 5.0
    return features.astype(np.float32), labels


@pytest.fixture(scope="session")
def torch():
    """PyTorch; without it the test says so."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")
