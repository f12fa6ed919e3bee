"""The interpreter lock is released while a function computes, Ctrl-C ends it, and threads do not change results."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from geometric_collapse import collapse, fewshot

# A process started in the background of a shell ignores SIGINT, and so would Python: its handler is set again.
LONG = """
import signal
import numpy as np
from geometric_collapse import fewshot, gc

signal.signal(signal.SIGINT, signal.default_int_handler)
features = np.random.default_rng(0).normal(size=(600, 64)).astype(np.float32)
print("started", flush=True)
{work}
"""

EVALUATION = "fewshot.evaluate(features, np.arange(600) % 20, episodes=50_000_000)"
MEASUREMENT = """
rng = np.random.default_rng(1)
weights = {"0.weight": rng.normal(size=(512, 64)), "0.bias": np.zeros(512), "2.weight": np.ones((2, 512)), "2.bias": np.zeros(2)}
images = np.tile(rng.normal(size=(1000, 64)), (200, 1))
gc.measure_weights(weights, images, 'family = "mlp"\\ninputs = 64\\nhidden = [512]\\nclasses = 2\\n', exact=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
@pytest.mark.parametrize("work", [EVALUATION, MEASUREMENT], ids=["evaluate", "measure_weights"])
def test_ctrl_c_ends_a_computation(work):
    with subprocess.Popen(
        [sys.executable, "-c", LONG.format(work=work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(1.0)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in errors
    assert "panicked" not in errors


def test_the_interpreter_lock_is_released(clusters):
    features, labels = clusters
    done = threading.Event()

    def work():
        fewshot.evaluate(features, labels, way=3, queries=5, episodes=30_000)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        time.sleep(0.001)
        turns += 1
    thread.join()
    # With the lock held, this loop would get no turn, or a few, before the end.
    assert turns > 10


def test_the_number_of_threads_changes_nothing(clusters):
    code = """
import json
import numpy as np
from geometric_collapse import collapse, fewshot

features = np.random.default_rng(0).normal(size=(3000, 40)).astype(np.float32)
labels = np.arange(3000) % 30
print(json.dumps([collapse.report(features, labels).to_dict(), fewshot.evaluate(features, labels, episodes=300).to_dict()]))
"""
    results = []
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        results.append(done.stdout)
    assert results[0] == results[1]


def test_a_read_only_view_can_be_shared_between_threads(clusters):
    features, labels = clusters
    expected = collapse.report(features, labels)
    results: list = []
    threads = [threading.Thread(target=lambda: results.append(collapse.report(features, labels))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
    assert np.isfinite(features).all()
