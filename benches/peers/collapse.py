#!/usr/bin/env python3
"""The peers of benches/collapse: a full collapse report by rhubarbwu/neural-collapse (torch) and by plain NumPy.

Run:  python collapse.py 1000000 512 100 [--peer PATH] [--threads 2]
PATH is a checkout of https://github.com/rhubarbwu/neural-collapse; without it only NumPy runs.
Data as in crates/collapse/examples/full_report.rs: normal noise of deviation 2 around normal class means, in f32.
Prints one JSON line for each peer: seconds of each repetition, peak memory above the input, a few measures.
`torch` is the peer's own list of measures (it has no VCI, RankMe, directional CDNV or standard errors); `numpy` computes
what our report does except directional CDNV and standard errors."""
import argparse, json, os, resource, sys, time

args = argparse.ArgumentParser()
args.add_argument("samples", type=int)
args.add_argument("features", type=int)
args.add_argument("classes", type=int)
args.add_argument("--peer")
args.add_argument("--threads", type=int, default=2)
args.add_argument("--repetitions", type=int, default=2)
args.add_argument("--only", choices=["torch", "numpy"])
args = args.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(args.threads)
import numpy as np  # noqa: E402  (after the thread counts)

N, P, K = args.samples, args.features, args.classes
rng = np.random.default_rng(1)
means = rng.standard_normal((K, P), dtype=np.float32)
labels = (np.arange(N) * 7919 % K).astype(np.int64)
table = 2 * rng.standard_normal(1 << 20, dtype=np.float32)
data = np.empty((N, P), np.float32)
for row in range(N):
    shift = (row * 40503) % ((1 << 20) - P)
    np.add(means[labels[row]], table[shift:shift + P], out=data[row])
weight = means + 0.25 * table[:K * P].reshape(K, P) if K * P <= 1 << 20 else means + 0.5 * rng.standard_normal((K, P), dtype=np.float32)
bias = rng.standard_normal(K, dtype=np.float32)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


def timed(name, work):
    # The peak is the process's own: run one peer at a time (--only) to compare memory.
    before, seconds = resident(), []
    for _ in range(args.repetitions):
        start = time.perf_counter()
        found = work()
        seconds.append(round(time.perf_counter() - start, 3))
    print(json.dumps(dict(peer=name, samples=N, features=P, classes=K, seconds=seconds, mib_beyond_input=peak() - before, **found)), flush=True)


def by_torch(batch):
    import torch
    from neural_collapse.accumulate import CovarAccumulator, DecAccumulator, MeanAccumulator, VarNormAccumulator
    from neural_collapse.kernels import kernel_stats, log_kernel
    from neural_collapse.measure import (clf_ncc_agreement, covariance_ratio, distance_norms, mean_norms, self_duality_error,
                                         similarities, simplex_etf_error, variability_cdnv)
    x, y, w = torch.from_numpy(data), torch.from_numpy(labels), torch.from_numpy(weight)
    pieces = [(x[at:at + batch], y[at:at + batch]) for at in range(0, N, batch)]
    mean = MeanAccumulator(K, P)
    for a, b in pieces:
        mean.accumulate(a, b)
    m, centre = mean.compute()
    variance, covariance, decisions = VarNormAccumulator(K, P, M=m), CovarAccumulator(K, P, M=m), DecAccumulator(K, P, M=m, W=w)
    for a, b in pieces:
        variance.accumulate(a, b, m)
        covariance.accumulate(a, b, m)
        decisions.accumulate(a, b, w, m)
    v, _ = variance.compute()
    within = covariance.compute()
    norms = mean_norms(m, centre)
    return dict(nc1=covariance_ratio(within, m, centre), trace_ratio=covariance_ratio(within, m, centre, "quotient"),
                cdnv=variability_cdnv(v, m, tile_size=64), equinorm=(norms.std() / norms.mean()).item(),
                etf_error=simplex_etf_error(m, centre), duality_etf_error=self_duality_error(w, m, centre),
                alignment=similarities(w, m, centre, cos=True).mean().item(), distance=distance_norms(w, m, centre).mean().item(),
                distance_stats=kernel_stats(m, centre, tile_size=64), log_energy=kernel_stats(m, centre, kernel=log_kernel, tile_size=64)[0],
                agreement=clf_ncc_agreement(decisions))


def by_numpy(batch=1 << 14):
    counts = np.bincount(labels, minlength=K)
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    m = np.stack([data[order[starts[c]:starts[c + 1]]].mean(0, dtype=np.float64) for c in range(K)])
    scatter, squares, agree, right = np.zeros((P, P)), np.zeros(K), 0, 0
    m32, lengths = m.astype(np.float32), (m ** 2).sum(1).astype(np.float32)
    for at in range(0, N, batch):
        x, y = data[at:at + batch], labels[at:at + batch]
        d = x - m32[y]
        scatter += d.T @ d
        squares += np.bincount(y, (d * d).sum(1), minlength=K)
        near = (lengths - 2 * (x @ m32.T)).argmin(1)
        agree += int((near == (x @ weight.T + bias).argmax(1)).sum())
        right += int((near == y).sum())
    var = squares / counts
    g = m.mean(0)
    c = m - g
    gram = m @ m.T
    d2 = np.maximum(np.diag(gram)[:, None] + np.diag(gram) - 2 * gram, 0)
    upper = np.triu_indices(K, 1)
    within, between = scatter / N, c.T @ c / K
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-10, hermitian=True)) / K
    norms = np.linalg.norm(c, axis=1)
    cosines = ((c / norms[:, None]) @ (c / norms[:, None]).T)[upper]
    cc, wc, etf = c @ c.T, weight @ c.T, (np.eye(K) - 1 / K) / np.sqrt(K - 1)
    total = within + between
    vci = 1 - np.trace(np.linalg.pinv(total, rcond=1e-10, hermitian=True) @ between) / min(P, K - 1)
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(scatter + (m * counts[:, None]).T @ m), 0))
    share = sigma / sigma.sum() + 1e-7
    cdnv = ((var[:, None] + var)[upper] / (2 * d2[upper]))
    return dict(cdnv=cdnv.mean(), cdnv_max=cdnv.max(), cdnv_median=float(np.median(cdnv)), nc1=nc1, trace_ratio=np.trace(within) / np.trace(between),
                equinorm=norms.std() / norms.mean(), equiangularity=np.abs(cosines + 1 / (K - 1)).mean(),
                etf_error=np.linalg.norm(cc / np.linalg.norm(cc) - etf), duality_etf_error=np.linalg.norm(wc / np.linalg.norm(wc) - etf),
                self_duality=np.linalg.norm(weight / np.linalg.norm(weight) - c / np.linalg.norm(c)), log_energy=-0.5 * np.log(2 - 2 * cosines).mean(),
                bias_collapse=np.linalg.norm(weight @ g + bias), nc0=np.linalg.norm(weight.sum(0).astype(np.float64)),
                vci=vci, rank_me=float(np.exp(-(share * np.log(share)).sum())), agreement=agree / N, nearest_mean_accuracy=right / N)


if args.peer and args.only != "numpy":
    sys.path.insert(0, args.peer)
    import torch
    torch.set_num_threads(args.threads)
    for batch in (4096, 65536):
        timed(f"torch, batches of {batch}", lambda: {k: v for k, v in by_torch(batch).items()})
if args.only != "torch":
    timed("numpy", lambda: {k: float(v) for k, v in by_numpy().items()})
