"""The chapter on ViTs and language models runs from top to bottom, and prints what it shows; so does the README's command."""

import shutil

import pages
import pytest
from conftest import CRATES

ROOT = CRATES.parent
NEEDED = ["torch", "timm", "transformers", "onnxscript", "safetensors", "sklearn"]


def test_the_chapter_and_the_command_of_the_readme(tmp_path, monkeypatch):
    for module in NEEDED:
        pytest.importorskip(module, reason=f"{module} is not installed: the chapter is not run")
    shutil.copy(ROOT / "LICENSE-APACHE", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert pages.run((ROOT / "docs" / "src" / "transformers.md").read_text()) == 8
    # The README shows the command on the same files.
    readme = pages.blocks((ROOT / "README.md").read_text())
    (code, shown), *others = [(code, shown) for _, code, shown in readme if "vit.toml" in code]
    assert not others
    command = code[code.index("geometric-collapse measure") :]
    assert pages.agrees(shown, pages.shell(command))


def test_outputs_are_compared_line_by_line():
    assert pages.agrees("a\n…\nd\n", "a\nb\nc\nd\n")
    assert pages.agrees("a\n  …\n", "a\n")
    assert not pages.agrees("a\n…\nd\n", "a\nb\nd\ne\n")
    assert not pages.agrees("a\nb\n", "a\n")
    page = "```toml\n# f.toml\nx = 1\n```\n<!-- not run -->\n```sh\nfalse\n```\n```sh\necho 1\n```\n\n```text\n1\n```\n"
    assert [block[0] for block in pages.blocks(page)] == ["toml", "sh"]
