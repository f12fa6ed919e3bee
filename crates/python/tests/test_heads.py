"""The heads by scikit-learn's conventions."""

import numpy as np
import pytest
from geometric_collapse import fewshot, heads

ALL = [
    heads.NearestMean(),
    heads.Cosine(),
    heads.SimpleShot("l2n"),
    heads.SimpleShot("cl2n", base_mean=np.full(6, 0.5)),
    heads.Ridge(0.5),
    heads.Ridge("loo"),
    heads.Ridge(1, penalised_bias=True),
    heads.Logistic(0.1),
    heads.Discriminant(),
    heads.Discriminant(0.3),
]


@pytest.mark.parametrize("head", ALL, ids=repr)
def test_names_of_classes_are_kept(head, clusters):
    features, labels = clusters
    names = np.array(["cat", "dog", "owl"])[labels]
    assert head.fit(features, names) is head
    assert head.classes_.tolist() == ["cat", "dog", "owl"]
    assert head.score(features, names) > 0.95
    assert head.decision_function(features[:4]).shape == (4, 3)
    assert head.predict(features[:0]).shape == (0,)


@pytest.mark.parametrize("head", ALL, ids=repr)
def test_parameters(head):
    again = type(head)(**head.get_params())
    assert repr(again) == repr(head)
    assert again.set_params(**head.get_params()) is again


def test_a_head_predicts_what_an_evaluation_counts(clusters):
    features, labels = clusters
    evaluation = fewshot.evaluate(features, labels, way=3, shots=2, queries=5, episodes=10, heads=["ridge:1"], seed=2)
    sampler = fewshot.Sampler(labels, 3, 2, 5, seed=2)
    for index, accuracy in enumerate(evaluation.heads[0].per_episode):
        episode = sampler.episode(index)
        support = [row for rows in episode.support for row in rows]
        query = [row for rows in episode.query for row in rows]
        assert heads.Ridge(1).fit(features[support], labels[support]).score(features[query], labels[query]) == accuracy


def test_two_classes_have_one_score(clusters):
    features, labels = clusters
    two = labels < 2
    head = heads.NearestMean().fit(features[two], labels[two])
    scores = head.decision_function(features[two])
    assert scores.shape == (60,)
    assert ((scores > 0) == (head.predict(features[two]) == 1)).all()


def test_mixed_precision_is_widened(clusters):
    features, labels = clusters
    head = heads.NearestMean().fit(features, labels)
    assert (head.predict(features.astype(np.float64)) == head.predict(features)).all()


def test_scikit_learn(clusters):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = clusters
    assert clone(heads.Ridge(3.0)).penalty == 3.0
    assert cross_val_score(heads.NearestMean(), features, labels, cv=3).mean() > 0.9
    search = GridSearchCV(heads.Ridge(), {"penalty": [0.1, 1.0]}, cv=3).fit(features, labels)
    assert search.best_score_ > 0.9
    assert make_pipeline(StandardScaler(), heads.Logistic()).fit(features, labels).score(features, labels) > 0.9
