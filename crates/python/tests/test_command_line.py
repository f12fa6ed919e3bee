"""The console script, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from geometric_collapse import collapse

MODULE = [sys.executable, "-m", "geometric_collapse"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_the_script_is_installed_and_shows_its_own_name() -> None:
    script = Path(sys.executable).with_name("geometric-collapse")
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "measure" in shown and "reproduce" in shown
    assert "geometric-collapse" in shown and "xtask" not in shown


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_collapse_of_a_file_is_that_of_the_function(dtype: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (rng.normal(size=(60, 5)) + 4.0 * np.eye(5)[labels]).astype(dtype)
    np.savez(tmp_path / "features.npz", features=features, labels=labels)
    done = run("collapse", "--features", "features.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)["collapse"]
    # The command multiplies deviations in f64, whatever the dtype of the file.
    assert collapse.report(features, labels, precision="double").to_dict() == measured
    in_dtype = collapse.report(features, labels)
    assert in_dtype.cdnv == measured["cdnv"] and in_dtype.nc1 == pytest.approx(measured["nc1"], rel=1e-5)
    assert (in_dtype.nc1 == measured["nc1"]) == (dtype is np.float64)


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [(["no-such-command"], 2, "no-such-command"), (["collapse", "--features", "missing.npz"], 1, "missing.npz")],
)
def test_exit_codes_and_messages(arguments: list[str], code: int, needle: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert needle in done.stderr and "panicked" not in done.stderr and "Traceback" not in done.stderr


def tiny(out: str) -> list[str]:
    """Sweeps of four runs of about a second."""
    settings = [
        "data.classes=6",
        "data.train_images_per_class=8",
        "data.test_images_per_class=3",
        "train.epochs=2",
        "train.batch_size=8",
        "measure.schedule=[0, 1]",
        "measure.loss_window=16",
        "measure.feature_images_per_class=4",
        "measure.gc_images_per_class=2",
        "sweeps.learning-rate.values=[0.05, 0.1]",
        "sweeps.batch-size.values=[8, 16]",
        "sweeps.l2.values=[0, 1e-2]",
    ]
    return ["reproduce", "fig1", "--seed", "0", "--out", out, *(word for text in settings for word in ("--set", text))]


def test_a_sweep_starts_its_runs_by_the_interpreter(tmp_path: Path) -> None:
    done = run(*tiny("results"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "report.html").stat().st_size > 0
    assert "gc" in (tmp_path / "results" / "measurements.csv").read_text().splitlines()[0].split(",")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_a_sweep(tmp_path: Path) -> None:
    sweep = subprocess.Popen(
        [*MODULE, *tiny("results"), "--set", "train.epochs=2000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    since = time.monotonic()
    while not list(tmp_path.glob("results/runs/*/metrics.jsonl")):
        assert sweep.poll() is None and time.monotonic() - since < 120, "no run started"
        time.sleep(0.05)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(timeout=120) == 130
