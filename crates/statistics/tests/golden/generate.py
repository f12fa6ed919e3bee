"""Writes the golden values of this folder.

Run with: python generate.py   (SciPy 1.17.1, mpmath for the check of the extreme ones)
"""
import json
import pathlib

import mpmath
import numpy as np
import scipy
from scipy import stats

HERE = pathlib.Path(__file__).parent
mpmath.mp.dps = 40


def exact_survival(t, nu):
    """P(T > t) in 40 digits."""
    if np.isinf(nu):
        return mpmath.erfc(mpmath.mpf(t) / mpmath.sqrt(2)) / 2
    nu, t = mpmath.mpf(nu), mpmath.mpf(t)
    return mpmath.betainc(nu / 2, mpmath.mpf(1) / 2, 0, nu / (nu + t * t), regularized=True) / 2


def polished(t, nu, p):
    """The upper quantile by Newton in 40 digits, from SciPy's."""
    t = mpmath.mpf(t)
    for _ in range(6):
        if np.isinf(nu):
            density = mpmath.npdf(t)
        else:
            n = mpmath.mpf(nu)
            density = mpmath.gamma((n + 1) / 2) / mpmath.gamma(n / 2) / mpmath.sqrt(n * mpmath.pi)
            density *= (1 + t * t / n) ** (-(n + 1) / 2)
        t += (exact_survival(t, nu) - mpmath.mpf(p)) / density
    return t


def student():
    degrees = [1, 1.5, 2, 2.5, 3, 4, 5, 7.25, 10, 17, 30, 99.5, 100, 1e3, 1000.5, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, np.inf]
    tails = [0.4999, 0.45, 0.3, 0.25, 0.2, 0.1, 0.05, 0.025, 0.005, 1e-3, 1e-5, 1e-12, 1e-30, 1e-100]
    points = [1e-3, 0.5, 1.0, 1.4142, 1.4143, 2.0, 3.5, 8.0, 30.0]
    quantiles, survivals, worst = [], [], 0.0
    for nu in degrees:
        for tail in tails:
            t = float(stats.t.isf(tail, nu)) if np.isfinite(nu) else float(stats.norm.isf(tail))
            better = polished(t, nu, tail)
            worst = max(worst, abs(float(t / better - 1)))
            quantiles.append([None if np.isinf(nu) else nu, tail, float(better)])
        for t in points:
            p = float(stats.t.sf(t, nu)) if np.isfinite(nu) else float(stats.norm.sf(t))
            if p < 1e-290:
                continue
            better = exact_survival(t, nu)
            worst = max(worst, abs(float(p / better - 1)))
            survivals.append([None if np.isinf(nu) else nu, t, float(better)])
    print("largest relative difference of SciPy from 40 digits:", worst)
    return {
        "provenance": f"scipy.stats.t.isf and .sf, scipy.stats.norm for null (infinite) degrees of freedom, SciPy {scipy.__version__}; "
        f"polished with mpmath {mpmath.__version__} in 40 digits, as SciPy's differ from these by up to {worst:.1e} (relative)",
        "quantiles": quantiles,
        "survivals": survivals,
    }


def proportions():
    """Successes, trials, level, Wilson's ends, Clopper and Pearson's ends."""
    cases = [(0, 10), (1, 10), (8, 10), (10, 10), (1, 1), (0, 1), (3, 75), (61, 67), (45, 67), (500, 1000), (999, 1000),
             (123_456, 1_000_000)]
    rows = []
    for successes, trials in cases:
        for level in (0.9, 0.95, 0.99):
            test = stats.binomtest(successes, trials)
            ends = [float(end) for method in ("wilson", "exact") for end in test.proportion_ci(level, method=method)]
            rows.append([successes, trials, level, ends])
    return {
        "provenance": f"scipy.stats.binomtest(successes, trials).proportion_ci(level, method='wilson' and 'exact'), SciPy {scipy.__version__}",
        "intervals": rows,
    }


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=None, separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    write("student_t.json", student())
    write("proportions.json", proportions())
