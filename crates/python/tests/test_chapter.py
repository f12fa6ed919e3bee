"""The code of the book's chapter on Python runs, and prints what the chapter shows; the notebooks run."""

import contextlib
import importlib.util
import io
import json
import re

import pytest
from conftest import CRATES

CHAPTER = CRATES.parent / "docs" / "src" / "python.md"
BLOCK = re.compile(r"(<!-- needs torch -->\n)?```python\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)


@pytest.fixture(autouse=True)
def at_the_root_of_the_repository(monkeypatch):
    """The paths in the chapter begin there."""
    monkeypatch.chdir(CRATES.parent)


def run(with_torch: bool) -> int:
    namespace: dict = {}
    ran = 0
    for needs_torch, code, shown in BLOCK.findall(CHAPTER.read_text()):
        if needs_torch and not with_torch:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(CHAPTER), "exec"), namespace)
        assert printed.getvalue() == shown, code
        ran += 1
    return ran


def test_the_code_without_torch():
    assert run(with_torch=False) == 5


def test_all_code():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: three blocks of the chapter are not run")
    assert run(with_torch=True) == 8


def test_the_lines_of_the_readme():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: the lines of the README are not run")
    readme = (CRATES.parent / "README.md").read_text()
    (_, code, shown), *_ = BLOCK.findall(readme)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == shown


@pytest.mark.parametrize(
    ("name", "needed"), [("own_features", ["sklearn", "pandas"]), ("timm_vit", ["torch", "timm", "sklearn", "pandas"])]
)
def test_notebooks(name, needed):
    for module in needed:
        pytest.importorskip(module, reason=f"{module} is not installed")
    notebook = json.loads((CRATES / "python" / "examples" / f"{name}.ipynb").read_text())
    namespace: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), namespace)
