#!/usr/bin/env python3
"""The work of benches/benches/fewshot.rs with easyfsl and with scikit-learn.

    cargo bench -p benches --bench fewshot -- nothing      # writes episodes with our predictions
    python fewshot.py [episodes] [threads] [target]

Before anything is timed, each peer answers the 15,000 queries of 200 episodes that the Rust side wrote, and the script stops
unless its answers are ours, but for at most two of ten thousand (ties within rounding). Then it prints microseconds an episode
for each, and the accuracy, which is the same task's and so agrees within its error.
Timed: sampling, fitting, predicting, counting. Not timed: imports, data. easyfsl is run with 0 and with 2 loader
workers, and the faster one counts.
"""
import os
import pathlib
import sys
import time

import numpy as np
import torch
from easyfsl.datasets import FeaturesDataset
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from torch.utils.data import DataLoader

from figures import figure, wanted

# easyfsl 1.5 passes `data_source`, which newer versions of torch no longer take.
torch.utils.data.Sampler.__init__ = lambda self, data_source=None: None

EPISODES = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
TARGET = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else os.environ.get("CARGO_TARGET_DIR", "target"))
SAMPLES, DIMENSION, CLASSES, WAY, SHOT, QUERY = 12_000, 512, 20, 5, 5, 15


def data():
    """Class means and samples around them, both standard normal, the means scaled to a tenth."""
    generator = np.random.default_rng(1)
    labels = np.arange(SAMPLES) % CLASSES
    means = generator.standard_normal((CLASSES, DIMENSION))
    return (generator.standard_normal((SAMPLES, DIMENSION)) + 0.1 * means[labels]).astype(np.float32), labels


def check():
    """The peers' answers to the episodes that our side wrote, against ours."""
    from safetensors.numpy import load_file
    path = TARGET / "tmp" / "fewshot.safetensors"
    if not path.exists():
        sys.exit(f"{path} is missing: run the Rust side first, or name its target directory")
    case = load_file(path)
    features = case["features"]

    def prototypes(support, labels, query):
        model = PrototypicalNetworks(backbone=torch.nn.Identity())
        model.process_support_set(torch.from_numpy(support), torch.from_numpy(labels))
        return model(torch.from_numpy(query)).argmax(1).numpy()

    fitted = lambda make: lambda support, labels, query: make().fit(support, labels).predict(query)  # noqa: E731
    peers = [("easyfsl", "ncm", prototypes), ("NearestCentroid", "ncm", fitted(NearestCentroid)),
             ("RidgeClassifier", "ridge:1", fitted(lambda: RidgeClassifier(alpha=1.0)))]
    for name, head, answer in peers:
        rows = zip(case["support"], case["support_classes"].astype(np.int64), case["query"])
        answers = np.array([answer(features[support], classes, features[query]) for support, classes, query in rows])
        different = (answers != case[head]).mean()
        if not different <= 2e-4:
            sys.exit(f"{name} answers {different:.1%} of the queries otherwise than our {head}: nothing is timed")
        print(f"{name} and our {head} give the same answers ({answers.size} queries, {different:.2%} differ)", flush=True)


def work(head):
    """Our side's name of the episodes of this head; it takes 10,000 of them, and the cost of one is compared."""
    return f"fewshot/5-way 5-shot 15-query/{head}/{SAMPLES}x{DIMENSION}, 10000 episodes"


def report(name, seconds, accuracy, head, side):
    figure(work(head), side, [seconds], elements=EPISODES)
    print(f"{name:<44} {seconds / EPISODES * 1e6:9.1f} us an episode   accuracy {accuracy:.4f}", flush=True)


def easyfsl(features, labels, workers):
    dataset = FeaturesDataset(labels.tolist(), torch.from_numpy(features), [str(c) for c in range(CLASSES)])
    sampler = TaskSampler(dataset, n_way=WAY, n_shot=SHOT, n_query=QUERY, n_tasks=EPISODES)
    loader = DataLoader(
        dataset, batch_sampler=sampler, num_workers=workers, collate_fn=sampler.episodic_collate_fn
    )
    model = PrototypicalNetworks(backbone=torch.nn.Identity())
    start = time.perf_counter()
    accuracy = evaluate(model, loader, device="cpu", use_tqdm=False)
    report(f"easyfsl, nearest mean, {workers} workers", time.perf_counter() - start, accuracy, "ncm", "easyfsl" if workers == 0 else f"easyfsl, {workers} workers")


def scikit_learn(features, labels, name, make, head):
    generator = np.random.default_rng(2)
    rows = [np.flatnonzero(labels == c) for c in range(CLASSES)]
    support_labels, query_labels = np.repeat(np.arange(WAY), SHOT), np.repeat(np.arange(WAY), QUERY)
    accuracies = []
    start = time.perf_counter()
    for _ in range(EPISODES):
        drawn = [generator.choice(rows[c], SHOT + QUERY, replace=False) for c in generator.choice(CLASSES, WAY, replace=False)]
        support = np.concatenate([d[:SHOT] for d in drawn])
        query = np.concatenate([d[SHOT:] for d in drawn])
        predicted = make().fit(features[support], support_labels).predict(features[query])
        accuracies.append((predicted == query_labels).mean())
    report(f"scikit-learn, {name}", time.perf_counter() - start, np.mean(accuracies), head, "scikit-learn")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    check()
    features, labels = data()
    print(f"{EPISODES} episodes, {WAY}-way {SHOT}-shot {QUERY}-query, {SAMPLES}x{DIMENSION}, {THREADS} threads", flush=True)
    if wanted(f"{work('ncm')}, cpu"):
        for workers in (0, 2):
            easyfsl(features, labels, workers)
        scikit_learn(features, labels, "NearestCentroid", NearestCentroid, "ncm")
    if wanted(f"{work('ridge:1')}, cpu"):
        scikit_learn(features, labels, "RidgeClassifier(alpha=1)", lambda: RidgeClassifier(alpha=1.0), "ridge:1")
