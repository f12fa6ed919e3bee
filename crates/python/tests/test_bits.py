"""Results equal those of the Rust crates bit for bit on the same arrays."""

import numpy as np
import pytest
from geometric_collapse import _native, collapse, fewshot, gc, statistics


@pytest.fixture
def features(fixtures):
    return np.array(fixtures["features"]).reshape(60, 5), np.array(fixtures["labels"])


@pytest.fixture
def single(fixtures):
    return np.array(fixtures["features_f32"], np.float32).reshape(60, 5), np.array(fixtures["labels"])


def test_report_with_head_and_complexity(fixtures, features):
    expected = fixtures["collapse"]
    head = np.array(expected["weight"]).reshape(4, 5), np.array(expected["bias"])
    report = collapse.report(*features, head, gc_per_sample=expected["gc_per_sample"])
    assert report.to_dict() == expected["report"]


def test_report_in_f32(fixtures, single):
    assert collapse.report(*single).to_dict() == fixtures["collapse"]["report_f32"]


def test_moments_of_batches(fixtures, features):
    values, labels = features
    first, rest = collapse.Moments(4, 5), collapse.Moments(4, 5)
    first.update(values[:20], labels[:20])
    rest.update(values[20:], labels[20:])
    first.merge(rest)
    assert first.to_dict() == fixtures["collapse"]["moments"]
    assert first.cdnv().to_dict() == fixtures["collapse"]["cdnv"]


def test_evaluation_and_episodes(fixtures, single):
    expected = fixtures["fewshot"]
    heads = ["ncm", "ridge:1", "logistic:1", "lda:auto"]
    evaluation = fewshot.evaluate(*single, heads=heads, way=3, shots=2, queries=3, episodes=1100, seed=7)
    assert evaluation.to_dict() == expected["evaluation"]
    assert str(evaluation) == expected["text"]
    assert fewshot.Sampler(single[1], 3, 2, 3, seed=7).episode(3).to_dict() == expected["episode_3"]
    again = fewshot.evaluate(
        *single,
        heads=heads,
        episodes=[fewshot.Sampler(single[1], 3, 2, 3, seed=7).episode(index) for index in range(1100)],
    )
    assert again == evaluation


def test_transfer_scores_and_their_ranks(fixtures, single):
    expected = fixtures["fewshot"]
    values, labels = single
    assert fewshot.transfer_scores(values, labels).to_dict() == expected["scores"]
    several = [fewshot.transfer_scores(values[:rows], labels[:rows]) for rows in (30, 40, 50, 60)]
    table = fewshot.rank_scores(several, expected["accuracies"])
    assert table.to_dict()["ranks"] == expected["ranks"]


def test_statistics(fixtures):
    expected = fixtures["statistics"]
    x, y, z, p = (expected[name] for name in ("x", "y", "z", "p"))
    blocks = [(x[4 * seed : 4 * seed + 4], y[4 * seed : 4 * seed + 4]) for seed in range(3)]
    partial = [(*block, [z[4 * seed : 4 * seed + 4]]) for seed, block in enumerate(blocks)]
    assert statistics.estimate_mean(x).to_dict() == expected["mean"]
    assert statistics.rank_correlation(x, y).to_dict() == expected["spearman"]
    assert statistics.blocked_rank_correlation(blocks, statistic="kendall").to_dict() == expected["blocked"]
    assert statistics.partial_rank_correlation(partial).to_dict() == expected["partial"]
    assert statistics.sweep_change(blocks, scale="difference").to_dict() == expected["sweep"]
    assert statistics.sweep_change(blocks, scale="difference", end_to_end=True, level=0.9).to_dict() == expected["ends"]
    assert statistics.holm(p) == expected["holm"]
    assert statistics.benjamini_hochberg(p) == expected["benjamini_hochberg"]
    assert statistics.wilson_interval(3, 10).to_dict() == expected["wilson"]
    assert statistics.clopper_pearson_interval(3, 10).to_dict() == expected["clopper_pearson"]
    assert statistics.equivalence_test(0.1, 0.2, 9, (-0.5, 0.5)).to_dict() == expected["equivalence"]
    assert statistics.granulated_coefficient([blocks]).to_dict() == expected["granulated"]
    assert statistics.worst_sign_error(blocks, 0.1).to_dict() == expected["sign_error"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("exact", {"exact": True}),
        ("planned", {"until_rel": 0.02, "seed": 1}),
        ("projections", {"probes": 2, "seed": 5, "per_class": True, "per_sample": True}),
    ],
)
def test_complexity_of_weights(fixtures, name, settings):
    expected = fixtures["gc"]
    weights = {key: np.array(entry["values"]).reshape(entry["shape"]) for key, entry in expected["weights"].items()}
    inputs = np.array(expected["inputs"]).reshape(200, 6)
    labels = np.array(expected["labels"]) if name == "projections" else None
    estimate = gc.measure_weights(weights, inputs, expected["architecture"], labels=labels, **settings)
    values = estimate.to_dict()
    measured = {key: values.pop(key) for key in ("layer", "is_guess", "notes")}
    assert measured == {"layer": "input of head", "is_guess": False, "notes": []}
    assert values == expected[name]


def test_probes_of_the_penalty(fixtures):
    drawn, factor = _native.penalty_probes((200, 6), True, "sphere", 2, False, (4, 9))
    assert factor == 1 / (200 * 2)
    assert [cotangent.ravel().tolist() for cotangent in drawn] == fixtures["gc"]["cotangents"]
