"""Bad input is an exception of the fitting class with the message of the Rust crates."""

import numpy as np
import pytest
from geometric_collapse import collapse, fewshot, gc, heads, statistics


def nan_at(features, row, column):
    changed = features.copy()
    changed[row, column] = np.nan
    return changed


def test_labels(clusters):
    features, labels = clusters
    negative = labels.copy()
    negative[7] = -1
    for call in (collapse.report, fewshot.transfer_scores, fewshot.evaluate):
        with pytest.raises(ValueError, match="row 7 has label -1, but labels are class numbers from 0"):
            call(features, negative)
        with pytest.raises(TypeError, match="expected integers, got float64"):
            call(features, labels.astype(float))
    with pytest.raises(ValueError, match="90 feature rows but 89 labels"):
        collapse.report(features, labels[:-1])
    with pytest.raises(ValueError, match="90 rows of features but 89 labels"):
        fewshot.transfer_scores(features, labels[:-1])
    with pytest.raises(ValueError, match=r"labels: expected shape \[n\], got \[90, 1\]"):
        collapse.report(features, labels[:, None])
    with pytest.raises(ValueError, match="row 2 has label 2, but the class count is 2"):
        collapse.report(features, labels, class_count=2)
    with pytest.raises(ValueError, match="row 0 has label 18446744073709551615"):
        collapse.report(features, np.full(90, 2**64 - 1, np.uint64))


def test_features(clusters):
    features, labels = clusters
    with pytest.raises(ValueError, match="feature 2 of row 11 is NaN"):
        collapse.report(nan_at(features, 11, 2), labels)
    with pytest.raises(ValueError, match="feature 2 of sample 11"):
        fewshot.evaluate(nan_at(features, 11, 2), labels, way=3)
    with pytest.raises(ValueError, match=r"expected shape \[n, p\] with p at least 1, got \[90\]"):
        collapse.report(features[:, 0], labels)
    with pytest.raises(ValueError, match=r"got \[90, 2, 3\]; flatten"):
        collapse.report(features.reshape(90, 2, 3), labels)
    for wrong in (features.astype(int), features.astype(complex), features.astype(object), features > 0):
        with pytest.raises(TypeError, match="expected float16, bfloat16, float32 or float64"):
            collapse.report(wrong, labels)
    with pytest.raises(TypeError, match="the mask would be lost"):
        collapse.report(np.ma.masked_less(features, 0), labels)
    with pytest.raises(TypeError, match="expected an array, got NoneType"):
        collapse.report(None, labels)
    with pytest.raises(ValueError, match="rows of one length"):
        collapse.report([[1.0], [1.0, 2.0]], [0, 1])
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        collapse.report(features, np.zeros(90, int))
    with pytest.raises(ValueError):
        collapse.report(np.empty((0, 3)), np.empty(0, int))


def test_options(clusters):
    features, labels = clusters
    with pytest.raises(ValueError, match="unknown variant `balanced`"):
        collapse.report(features, labels, weighting="balanced")
    with pytest.raises(ValueError, match="gc_per_class"):
        collapse.report(features, labels, gc_per_class=[[1.0]])
    with pytest.raises(MemoryError, match="bytes are needed"):
        collapse.report(features, labels, memory_limit=10)
    with pytest.raises(ValueError, match="expected a pair of weight"):
        collapse.report(features, labels, head=(features, labels, labels))
    with pytest.raises(ValueError):
        collapse.report(features, labels, head=np.zeros((3, 5)))


def test_counts(clusters):
    features, labels = clusters
    with pytest.raises(TypeError, match="class_count: expected a whole number, got str"):
        collapse.report(features, labels, class_count="3")
    with pytest.raises(ValueError, match="class_count: expected a whole number from 0, got -1"):
        collapse.Moments(-1, 3)
    with pytest.raises(ValueError, match="seed: expected a whole number from 0, got -1"):
        fewshot.evaluate(features, labels, way=3, seed=-1)
    with pytest.raises(ValueError, match="shots: expected a whole number from 0, got -2"):
        fewshot.Sampler(labels, 3, -2)
    with pytest.raises(TypeError, match="episodes: expected a number or episodes, got float"):
        fewshot.evaluate(features, labels, way=3, episodes=10.5)
    with pytest.raises(ValueError, match="probes: expected a whole number from 0, got -1"):
        gc.measure_weights(WEIGHTS, np.ones((4, 3)), MLP, probes=-1)
    with pytest.raises(ValueError, match="kind: expected pandas or polars, got 'excel'"):
        fewshot.to_table([collapse.report(features, labels)], "excel")


def test_one_head_may_be_a_text(clusters):
    evaluation = fewshot.evaluate(*clusters, way=3, queries=5, episodes=10, heads="ncm")
    assert [head.head for head in evaluation.heads] == ["ncm"]


def test_moments(clusters):
    features, labels = clusters
    moments = collapse.Moments(3, 6)
    with pytest.raises(ValueError, match=r"expected features \[n, 6\], got \[90, 5\]"):
        moments.update(features[:, :5].copy(), labels)
    with pytest.raises(ValueError, match="feature 0 of row 3"):
        moments.update(nan_at(features, 3, 0), labels)
    assert moments.sample_count == 0
    moments.update(features, labels)
    other = collapse.Moments(4, 6)
    with pytest.raises(ValueError, match="shapes differ: 3 classes, 6 features, Full and 4 classes"):
        moments.merge(other)
    with pytest.raises(ValueError):
        collapse.Moments.from_dict({"class_count": 3})
    with pytest.raises(ValueError, match="unknown variant"):
        moments.preset("pytorch")


def test_few_shot(clusters, tmp_path):
    features, labels = clusters
    with pytest.raises(ValueError, match="there is no head `nmc`"):
        fewshot.evaluate(features, labels, way=3, heads=["nmc"])
    with pytest.raises(ValueError, match="5-way episodes need 5 classes, but there are 3"):
        fewshot.evaluate(features, labels)
    with pytest.raises(ValueError):
        fewshot.evaluate(features, labels, way=3, episodes=1)
    with pytest.raises(ValueError, match="expected at least 2, got -1"):
        fewshot.evaluate(features, labels, way=3, episodes=-1)
    with pytest.raises(FileNotFoundError):
        fewshot.evaluate(features, labels, task_list=tmp_path / "missing.jsonl")
    path = tmp_path / "tasks.jsonl"
    fewshot.write_task_list(path, labels, 20, way=3, queries=5)
    with pytest.raises(ValueError):
        fewshot.read_task_list(path, labels[::-1].copy())
    one = fewshot.evaluate(features, labels, task_list=path)
    other = fewshot.evaluate(features, labels, way=3, queries=5, episodes=20, seed=3)
    with pytest.raises(ValueError):
        fewshot.compare(one, "ncm", other, "ncm")
    with pytest.raises(KeyError, match="no head 'lda:auto'; there are ncm, ridge:1"):
        one.head("lda:auto")


def test_an_exception_in_the_progress_function_is_raised(clusters, monkeypatch):
    features, labels = clusters

    def interrupt(_count):
        raise KeyboardInterrupt

    rules = fewshot._fixed_rules(3, 1, 5)
    source = {"drawn": {"rules": rules, "seed": 0, "episodes": 5000}}
    with pytest.raises(KeyboardInterrupt):
        fewshot._native.evaluate(features, labels, ["ncm"], source, {"level": 0.95, "resamples": 100, "seed": 0}, None, interrupt)


def test_heads(clusters):
    features, labels = clusters
    with pytest.raises(ValueError, match="call fit before predict"):
        heads.NearestMean().predict(features)
    with pytest.raises(ValueError, match="at least two classes"):
        heads.NearestMean().fit(features, np.zeros(90))
    with pytest.raises(ValueError, match="feature 1 of sample 4"):
        heads.NearestMean().fit(nan_at(features, 4, 1), labels)
    with pytest.raises(ValueError, match="has no setting 'alpha'; it has penalty, penalised_bias"):
        heads.Ridge().set_params(alpha=1)
    with pytest.raises(ValueError):
        heads.Ridge(-1.0).fit(features, labels)
    fitted = heads.NearestMean().fit(features, labels)
    with pytest.raises(ValueError, match="expected 6 features, as the head was fitted with, got 5"):
        fitted.predict(features[:, :5])


def test_statistics():
    with pytest.raises(ValueError, match="value 1 is NaN"):
        statistics.estimate_mean([0.0, np.nan, 1.0])
    with pytest.raises(ValueError, match="the lists hold 3 and 2"):
        statistics.rank_correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="the confidence level"):
        statistics.estimate_mean([0.0, 1.0], level=95)
    with pytest.raises(ValueError, match="unknown variant `pearson`"):
        statistics.rank_correlation([1, 2, 3], [1, 2, 3], statistic="pearson")
    with pytest.raises(TypeError):
        statistics.holm(["a"])


WEIGHTS = {"0.weight": np.zeros((4, 3)), "0.bias": np.zeros(4), "2.weight": np.ones((2, 4)), "2.bias": np.zeros(2)}
MLP = 'family = "mlp"\ninputs = 3\nhidden = [4]\nclasses = 2\n'


def test_weights():
    images = np.ones((40, 3))
    with pytest.raises(ValueError, match="^state dict: the weights do not fit the architecture"):
        gc.measure_weights({"other.weight": np.zeros((4, 3))}, images, MLP)
    with pytest.raises(ValueError):
        gc.measure_weights(WEIGHTS, images, "resnet-18")
    with pytest.raises(ValueError):
        gc.measure_weights(WEIGHTS, images, 'family = "mpl"')
    with pytest.raises(FileNotFoundError):
        gc.measure_weights("missing.safetensors", images, MLP)
    with pytest.raises(TypeError, match="images: expected float16"):
        gc.measure_weights(WEIGHTS, np.ones((40, 3), np.uint8), MLP)
    with pytest.raises(TypeError, match="got nested lists"):
        gc.measure_weights(WEIGHTS, [[1.0, 2.0, 3.0]], MLP)
    with pytest.raises(ValueError, match=r"a sample has shape \[4\], the architecture takes \[3\]"):
        gc.measure_weights(WEIGHTS, np.ones((40, 4)), MLP)
    with pytest.raises(TypeError, match="expected a name or a TOML text, got NoneType"):
        gc.measure_weights(WEIGHTS, images, None)
    with pytest.raises(TypeError, match="expected a file or a state dict, got int"):
        gc.measure_weights(3, images, MLP)
    with pytest.raises(ValueError, match="an exact value has no probes"):
        gc.measure_weights(WEIGHTS, images, MLP, exact=True, probes=2)
