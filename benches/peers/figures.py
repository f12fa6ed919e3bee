"""The line by which a peer's script hands a figure to `cargo xtask bench`; everything else it prints is for people."""
import json
import os


def figure(work, side, values, unit="s", elements=None, device="cpu"):
    """Prints what `side` needed for `work`, named as our side names it (group/function/parameter).

    `values` are the costs of the repetitions; `elements` says how many samples, images or episodes each worked on, where the
    two sides take different numbers of them; `device` ends the name of the work, as on our side (None: it is no work of a device)."""
    about = dict(work=work if device is None else f"{work}, {device}", side=side, unit=unit, values=[float(value) for value in values])
    if elements is not None:
        about["elements"] = float(elements)
    print("figure " + json.dumps(about), flush=True)


def wanted(work):
    """Whether `cargo xtask bench` asks for this work: with `--only` or `--summary` each line of BENCH_ONLY is a text that the
    name may contain; without them all work is wanted."""
    return any(text in work for text in os.environ.get("BENCH_ONLY", "").split("\n"))
