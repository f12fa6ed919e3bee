"""Golden values that independent NumPy programs computed (their provenance is beside the files)."""

import json

import numpy as np
import pytest
from conftest import CRATES, read_safetensors
from geometric_collapse import collapse, fewshot, heads

COLLAPSE = CRATES / "collapse" / "tests" / "golden"
FEWSHOT = CRATES / "fewshot" / "tests" / "golden"
SETS = ["balanced", "imbalanced", "wide_rank_deficient", "imbalanced_long_tail", "two_classes", "two_point_analytic", "etf_exact"]


def close(got, expected):
    """Within 1e-9, absolute below 1 and relative above."""
    return abs(got - expected) <= 1e-9 * max(abs(expected), 1.0)


@pytest.mark.parametrize("weighting", ["class_balanced", "sample_weighted"])
@pytest.mark.parametrize("name", SETS)
def test_collapse(name, weighting):
    arrays = read_safetensors(COLLAPSE / "metrics.safetensors")
    expected = json.loads((COLLAPSE / "metrics.json").read_text())["metrics"][name]
    features, labels, gc = (arrays[f"{name}.{part}"] for part in ("features", "labels", "gc"))
    head = arrays[f"{name}.W"], arrays[f"{name}.b"]
    report = collapse.report(features, labels, head, weighting=weighting, gc_per_sample=gc)
    assert close(report.cdnv, expected["cdnv_mean"])
    assert close(report.geometric_collapse, expected["geo_mixture"])
    assert close(report.pairwise_geometric_collapse, expected["geo_pairwise"])
    weighted = expected[weighting]
    assert close(report.nc1, weighted["nc1"])
    assert close(report.equinorm, weighted["nc2_equinorm_cv"])
    assert close(report.etf_error, weighted["etf_dev"])
    assert close(report.self_duality, weighted["nc3"])


@pytest.mark.parametrize("name", SETS)
def test_matrix_of_pairs(name):
    arrays = read_safetensors(COLLAPSE / "metrics.safetensors")
    features, labels = arrays[f"{name}.features"], arrays[f"{name}.labels"]
    moments = collapse.Moments(len(arrays[f"{name}.W"]), features.shape[1])
    moments.update(features, labels)
    matrix = moments.cdnv_matrix()
    assert np.isnan(np.diag(matrix)).all()
    off = ~np.eye(len(matrix), dtype=bool)
    np.testing.assert_allclose(matrix[off], arrays[f"{name}.V"][off], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("setting", ["5w1s", "5w5s", "2w3s", "10w2s"])
def test_few_shot(setting):
    arrays = read_safetensors(FEWSHOT / "fewshot.safetensors")
    expected = json.loads((FEWSHOT / "accuracies.json").read_text())[setting]
    features, labels = arrays["features"], arrays["labels"]
    for number in range(expected["episodes"]):
        episode = f"{setting}.ep{number}"
        support, query = arrays[f"{episode}.support"], arrays[f"{episode}.query"]
        classes = arrays[f"{episode}.classes"]
        for head, name in [(heads.NearestMean(), "ncm"), (heads.Ridge(1.0), "ridge1.0")]:
            predicted = head.fit(features[support], labels[support]).predict(features[query])
            assert (predicted == classes[arrays[f"{episode}.{name}_pred"]]).all()


def test_a_hand_worked_cdnv():
    # Means 0 and 4, variances 1 and 1: (1 + 1)/(2·16).
    features = np.array([[-1.0], [1.0], [3.0], [5.0]])
    assert collapse.report(features, [0, 0, 1, 1], scatter="trace").cdnv == 1 / 16
    assert fewshot.transfer_scores(np.hstack([features, features**2]), [0, 0, 1, 1]).separation.pairs == 1
