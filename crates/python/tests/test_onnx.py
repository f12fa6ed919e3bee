"""GC and features of ONNX files by our own kernels: against PyTorch's autograd, central differences and the Rust crates."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import CRATES, read_safetensors
from geometric_collapse import collapse, gc, networks

NETWORKS = CRATES / "onnx" / "tests" / "networks"

#: With and without batch norm, attention, and weights in a file beside the graph; of both exporters of PyTorch.
NAMES = ["perceptron_ts", "perceptron_dynamo", "residual_ts", "residual_dynamo", "tiny_vit_dynamo", "pools_ts", "gru_dynamo"]

PERCEPTRON = NETWORKS / "perceptron_ts.onnx"


def case(name: str) -> tuple[Path, dict[str, np.ndarray]]:
    """A graph; its inputs x [3, …], and the features f of PyTorch in f64."""
    return NETWORKS / f"{name}.onnx", read_safetensors(NETWORKS / f"{name}.safetensors")


@pytest.fixture
def inputs() -> np.ndarray:
    return case("perceptron_ts")[1]["x"]


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_pytorch(name: str) -> None:
    path, known = case(name)
    out = networks.features_of_onnx(path, known["x"])
    # Exporters fold batch norm and round attributes in f32.
    np.testing.assert_allclose(out.features, known["f"], rtol=1e-6, atol=1e-6 * np.abs(known["f"]).max())
    assert out.is_guess and "taken as the classifier" in out.layer
    weight, _ = out.head
    assert weight.shape[1] == out.features.shape[1]
    single = networks.features_of_onnx(path, known["x"].astype(np.float32)).features
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, known["f"], rtol=1e-3, atol=1e-4 * np.abs(known["f"]).max())


@pytest.mark.parametrize("name", ["perceptron_ts", "tiny_vit_dynamo", "gru_dynamo"])
def test_the_exact_value_is_that_of_central_differences(name: str) -> None:
    path, known = case(name)
    x = known["x"]
    # Every entry of x[i] is moved up and down by h: ‖J‖² of a sample is the sum of the squared slopes.
    h, size = 1e-5, x[0].size
    steps = h * np.eye(size).reshape(size, *x.shape[1:])
    moved = np.concatenate([part for sample in x for part in (sample + steps, sample - steps)])
    up, down = np.swapaxes(networks.features_of_onnx(path, moved).features.reshape(len(x), 2, size, -1), 0, 1)
    norms = (((up - down) / (2 * h)) ** 2).sum(axis=(1, 2))
    estimate = gc.measure_onnx(path, x, exact=True, per_sample=True)
    np.testing.assert_allclose(estimate.per_sample, norms, rtol=1e-6)
    assert estimate.value == pytest.approx(norms.mean(), rel=1e-6)
    assert (estimate.samples, estimate.inputs) == (3, size)


def test_values_of_the_rust_crates(fixtures: dict) -> None:
    for name, expected in fixtures["onnx"].items():
        path, known = case(name)
        estimate = gc.measure_onnx(path, np.concatenate([known["x"]] * 20), probes=3, seed=2)
        values = estimate.to_dict()
        measured = {key: values.pop(key) for key in ("layer", "tensor", "is_guess", "notes")}
        assert values == expected["projections"]
        assert f"`{measured['tensor']}`, {measured['layer']}" == expected["tensor"]
        assert measured["is_guess"] and measured["notes"] == []


def test_the_measured_tensor_is_stated(inputs: np.ndarray) -> None:
    guess = gc.measure_onnx(PERCEPTRON, inputs, exact=True)
    assert "(a guess)" in repr(guess) and "(a guess)" in guess._repr_html_()
    head = gc.measure_onnx(PERCEPTRON, inputs, layer="head", exact=True)
    assert head.value == guess.value and head.tensor == guess.tensor and not head.is_guess
    assert "guess" not in repr(head)
    named = gc.measure_onnx(PERCEPTRON, inputs, layer=guess.tensor, exact=True)
    assert named.value == guess.value and named.layer.startswith("output of the node")
    output = gc.measure_onnx(PERCEPTRON, inputs, layer="output", exact=True)
    assert output.layer == "the output of the graph" and output.value != guess.value
    # No head takes the output.
    assert networks.features_of_onnx(PERCEPTRON, inputs, layer="output").head is None


def test_batches_paths_and_settings(inputs: np.ndarray) -> None:
    many = np.concatenate([inputs] * 50)
    labels = np.arange(150) % 3
    whole = gc.measure_onnx(str(PERCEPTRON), many, labels=labels, probes=2, per_class=True)
    batches = ((many[start : start + 7], labels[start : start + 7]) for start in range(0, 150, 7))
    assert gc.measure_onnx(PERCEPTRON, batches, probes=2, per_class=True) == whole
    assert [entry.label for entry in whole.per_class] == [0, 1, 2]
    # The plan aims at 5 %; the data may end just before.
    planned = gc.measure_onnx(PERCEPTRON, many, until_rel=0.05, dataset_size=150)
    assert planned.relative_error < 0.06 and planned.stopped in ("relative_error", "data_exhausted")


def test_collapse_of_a_graph(inputs: np.ndarray) -> None:
    images = np.concatenate([inputs + 0.01 * shift for shift in range(10)])
    labels = np.arange(30) % 3
    out = networks.features_of_onnx(PERCEPTRON, images, labels)
    assert (out.labels == labels).all() and out.labels.dtype == np.int64
    report = collapse.report(out.features, out.labels, out.head if len(out.head[0]) == 3 else None)
    assert report.samples == 30 and report.cdnv > 0
    assert "30 samples" in repr(out) and "a guess" in repr(out)
    parts = networks.features_of_onnx(PERCEPTRON, ((images[row : row + 4], labels[row : row + 4]) for row in range(0, 30, 4)))
    assert (parts.features == out.features).all() and (parts.labels == labels).all()


def test_bad_files(inputs: np.ndarray, tmp_path: Path) -> None:
    for function in (gc.measure_onnx, networks.features_of_onnx):
        with pytest.raises(FileNotFoundError, match=r"cannot read .*missing\.onnx"):
            function(tmp_path / "missing.onnx", inputs)
        (tmp_path / "text.onnx").write_text("no graph")
        with pytest.raises(ValueError, match="reading ONNX"):
            function(tmp_path / "text.onnx", inputs)
        with pytest.raises(OSError):
            function(tmp_path, inputs)
        with pytest.raises(TypeError, match="expected the path of an ONNX file, got bytes"):
            function(PERCEPTRON.read_bytes(), inputs)
    # The weights of this graph are in a file beside it.
    shutil.copy(NETWORKS / "residual_dynamo.onnx", tmp_path)
    with pytest.raises(ValueError, match="the weights of"):
        gc.measure_onnx(tmp_path / "residual_dynamo.onnx", case("residual_dynamo")[1]["x"])
    with pytest.raises(TypeError, match="use measure_onnx or measure_weights"):
        gc.measure(str(PERCEPTRON), inputs)


def test_bad_images(inputs: np.ndarray) -> None:
    width = inputs.shape[1]
    for function in (gc.measure_onnx, networks.features_of_onnx):
        with pytest.raises(ValueError, match=re.escape(f"a sample has shape [{width + 1}]")):
            function(PERCEPTRON, np.ones((4, width + 1)))
        with pytest.raises(ValueError, match="a sample has shape"):
            function(PERCEPTRON, np.ones((4, 1, width)))
        with pytest.raises(TypeError, match="images: expected float16"):
            function(PERCEPTRON, np.ones((4, width), np.uint8))
        with pytest.raises(TypeError, match="images: expected float64 as in the first batch, got float32"):
            function(PERCEPTRON, iter([inputs, inputs.astype(np.float32)]))
        with pytest.raises(TypeError, match="expected an array .* or an iterable over batches, got NoneType"):
            function(PERCEPTRON, None)
        with pytest.raises(ValueError, match="got 2 labels for 3 samples"):
            function(PERCEPTRON, inputs, labels=[0, 1])
        with pytest.raises(ValueError, match="row 1 has label -1"):
            function(PERCEPTRON, inputs, labels=[0, -1, 1])
        with pytest.raises(ValueError, match="there are no samples|the data are empty"):
            function(PERCEPTRON, inputs[:0])
    broken = inputs.copy()
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="inputs of sample 1 are not finite"):
        gc.measure_onnx(PERCEPTRON, broken, probes=1)


def test_bad_layers(inputs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="unknown node or tensor `layer9`"):
        gc.measure_onnx(PERCEPTRON, inputs, layer="layer9")
