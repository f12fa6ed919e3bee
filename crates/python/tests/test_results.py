"""Results: frozen, with dictionaries, tables, texts and a form for notebooks; moments that can be pickled."""

import ast
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from geometric_collapse import _native, collapse, fewshot, gc, heads, networks, statistics
from geometric_collapse._results import plus_minus


@pytest.fixture
def evaluation(clusters):
    return fewshot.evaluate(*clusters, way=3, queries=5, episodes=100, seed=1)


def test_results_are_frozen(clusters):
    report = collapse.report(*clusters)
    with pytest.raises(AttributeError, match="frozen"):
        report.cdnv = 0.0
    with pytest.raises(AttributeError, match="frozen"):
        del report.cdnv
    with pytest.raises(AttributeError, match="no value 'cdvn'"):
        _ = report.cdvn
    values = report.to_dict()
    values["cdnv"] = -1.0
    assert report.cdnv > 0
    assert "cdnv" in dir(report)


def test_the_error_of_geometric_collapse_includes_that_of_gc(clusters):
    exact = collapse.report(*clusters, gc=2.0)
    measured = collapse.report(*clusters, gc=2.0, gc_std_error=0.5)
    expected = np.hypot(exact.geometric_collapse_std_error, 0.25 * exact.geometric_collapse)
    assert measured.geometric_collapse == exact.geometric_collapse
    assert measured.geometric_collapse_std_error == pytest.approx(expected, rel=1e-12)


def test_pickles(clusters, evaluation):
    report = collapse.report(*clusters)
    for result in (report, evaluation):
        again = pickle.loads(pickle.dumps(result))
        assert again == result
        assert repr(again) == repr(result)
    moments = collapse.Moments(3, 6)
    moments.update(*clusters)
    again = pickle.loads(pickle.dumps(moments))
    assert again.to_dict() == moments.to_dict()
    assert again.cdnv() == moments.cdnv()


def test_declared_values_are_those_of_the_crates(clusters, evaluation):
    head = np.ones((3, 6)) + np.eye(3, 6)
    report = collapse.report(*clusters, head, gc=1.0)
    for result in (report, evaluation, evaluation.heads[0], evaluation.heads[0].accuracy):
        assert set(type(result).__annotations__) <= {*result.to_dict(), "_values", "_text"}


def test_texts(evaluation):
    assert plus_minus(17.234, 0.62) == "17.2 ± 0.6"
    assert plus_minus(0.12345, 0.0123) == "0.123 ± 0.012"
    assert plus_minus(1.0, 0.097) == "1.00 ± 0.10"
    assert plus_minus(1.23e-7, 2e-9) == "(1.23 ± 0.02)e-7"
    assert plus_minus(3.0, None) == "3"
    assert plus_minus(None, None) == "undefined"
    assert "ncm" in repr(evaluation) and "%" in repr(evaluation)
    mean = statistics.estimate_mean([0.1, 0.2, 0.3, 0.4])
    assert "±" in repr(mean) and str(mean) in repr(mean)


def test_notebooks(clusters, evaluation):
    for result in (collapse.report(*clusters), evaluation, evaluation.heads[0].accuracy):
        page = ElementTree.fromstring(result._repr_html_())
        assert len(page.findall(".//{http://www.w3.org/2000/svg}svg")) == 1
        assert len(page.findall(".//tr")) >= 1


def test_tables(clusters, evaluation):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    report = collapse.report(*clusters)
    frame = report.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc[0, "cdnv"] == report.cdnv and frame.loc[0, "cdnv_quantiles.median"] == report.cdnv_quantiles.median
    table = evaluation.to_polars()
    assert isinstance(table, polars.DataFrame)
    assert table["head"].to_list() == ["ncm", "ridge:1"]
    assert table["accuracy.mean"][0] == evaluation.heads[0].accuracy.mean
    assert len(fewshot.to_table([report, report])) == 2


def test_merging_is_adding(clusters):
    features, labels = clusters
    whole, first, rest = (collapse.Moments(3, 6) for _ in range(3))
    whole.update(features, labels)
    first.update(features[:31], labels[:31])
    rest.update(features[31:], labels[31:])
    total = first + rest
    assert first.sample_count == 31 and total.sample_count == 90
    assert total.counts.tolist() == whole.counts.tolist()
    np.testing.assert_allclose(total.means, whole.means, rtol=1e-14)
    assert total.cdnv().mean == pytest.approx(whole.cdnv().mean, rel=1e-12)
    assert total.variance(0) == pytest.approx(whole.variance(0), rel=1e-12)
    first.merge(first)
    assert first.sample_count == 62


def test_task_lists(clusters, tmp_path):
    features, labels = clusters
    path = tmp_path / "tasks.jsonl"
    fewshot.write_task_list(path, labels, 30, way=3, shots=2, queries=4, seed=9)
    episodes = fewshot.read_task_list(path, labels)
    sampler = fewshot.Sampler(labels, 3, 2, 4, seed=9)
    assert episodes == [sampler.episode(index) for index in range(30)]
    settings = {"way": 3, "shots": 2, "queries": 4}
    by_file = fewshot.evaluate(features, labels, task_list=path, seed=9)
    assert by_file == fewshot.evaluate(features, labels, episodes=30, seed=9, **settings)
    difference = fewshot.compare(by_file, "ncm", by_file, "ridge:1")
    assert difference.difference.mean == pytest.approx(by_file.differences[0].difference.mean)
    assert fewshot.across_models([by_file, by_file]).models == 2


def test_progress(clusters, capsys):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    fewshot.evaluate(*clusters, way=3, queries=5, episodes=200, progress=True)
    assert "episodes" in capsys.readouterr().err


def test_the_import_loads_neither_numpy_nor_torch():
    modules = "collapse, fewshot, gc, heads, networks, statistics, training"
    shown = "print(sorted({'numpy', 'torch', 'pandas', 'tqdm'} & set(sys.modules)))"
    code = f"import sys; from geometric_collapse import {modules}; {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    # The first array loads NumPy.
    code = f"import sys; from geometric_collapse import statistics; statistics.estimate_mean([1.0, 2.0]); {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy']"


def test_the_stubs_name_everything_native():
    stubs = ast.parse((Path(_native.__file__).parent / "_native.pyi").read_text())
    named = {entry.name: entry for entry in stubs.body if isinstance(entry, (ast.FunctionDef, ast.ClassDef))}
    native = {name for name in dir(_native) if not name.startswith("_")}
    assert set(named) == native
    for name in ("Moments", "Sampler"):
        declared = {entry.name for entry in named[name].body if isinstance(entry, ast.FunctionDef)}
        declared |= {entry.target.id for entry in named[name].body if isinstance(entry, ast.AnnAssign)}
        assert declared - {"__new__"} == {entry for entry in dir(getattr(_native, name)) if not entry.startswith("_")}


def test_every_public_function_has_a_docstring():
    for module in (collapse, fewshot, gc, heads, networks, statistics):
        for name in module.__all__:
            assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name}"


def test_settings_of_gc_are_in_the_signatures():
    declared = list(inspect.signature(gc._settings).parameters)
    assert list(gc.Settings.__annotations__) == declared
    for function in (gc.measure, gc.measure_onnx, gc.measure_weights):
        shown = inspect.signature(function).parameters
        assert list(shown)[-len(declared) :] == declared
        assert shown["confidence"].default == 0.95 and "settings" not in shown
        with pytest.raises(TypeError, match="unexpected keyword argument 'prob'"):
            function(*[None] * (3 if function is gc.measure_weights else 2), prob=1)
