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
    """Whether `cargo xtask bench --only TEXT` asks for this work; without the option all work is wanted."""
    return os.environ.get("BENCH_ONLY", "") in work
