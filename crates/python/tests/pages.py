"""Runs the code of a page of the book: Python, shell commands and files. Their output is what the page shows."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(
    r"(?P<skip><!-- not run[^>]*-->\n)?```(?P<language>python|sh|toml)\n(?P<code>.*?)```\n(?:\n*```text\n(?P<shown>.*?)```\n)?",
    re.DOTALL,
)


def blocks(page: str):
    """Language, code and shown output (or None) of each block that is run."""
    for block in BLOCK.finditer(page):
        if not block["skip"]:
            yield block["language"], block["code"], block["shown"]


def run(page: str) -> int:
    """Runs a page in the working directory, and returns the number of outputs that were compared.

    Python blocks share their names. A block `toml` is the file that its first line names. Standard output is compared, if the page
    shows any; a line `…` in it stands for any lines.
    """
    names: dict = {"__name__": "page"}
    compared = 0
    for language, code, shown in blocks(page):
        if language == "toml":
            Path(code.split("\n", 1)[0].removeprefix("# ")).write_text(code)
            continue
        printed = python(code, names) if language == "python" else shell(code)
        if shown is not None:
            assert agrees(shown, printed), f"{code}\nprints\n{printed}\nand the page shows\n{shown}"
            compared += 1
    return compared


def python(code: str, names: dict) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), names)
    return printed.getvalue()


def shell(code: str) -> str:
    """The output of commands, for which `geometric-collapse` is that of the package."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", code], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


def agrees(shown: str, printed: str) -> bool:
    """Whether an output is the shown one, in which a line `…` stands for any lines."""
    parts = [re.escape(part) for part in re.split(r"^ *…\n", shown, flags=re.MULTILINE)]
    return re.fullmatch("(?:.*\n)*?".join(parts), printed) is not None
