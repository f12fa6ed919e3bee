"""The command line: ``geometric-collapse`` and ``python -m geometric_collapse``.

``geometric-collapse measure`` measures networks in files, ``reproduce`` runs the experiments of the paper; ``--help`` lists all.
"""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the command in ``sys.argv`` and returns its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    from ._native import run_command_line

    # Python only notes Ctrl-C and waits for its own code to go on; the command ends, or stops cleanly where it says so.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command_line([sys.executable, "-m", "geometric_collapse"], sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
