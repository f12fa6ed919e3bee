#!/usr/bin/env python3
"""The peers of benches/collapse: a full collapse report by rhubarbwu/neural-collapse (torch) and by plain NumPy.

Run:  cargo bench -p benches --bench collapse -- nothing          # writes a small case with our measures of it
      python collapse.py 1000000 512 100 [--peer PATH] [--threads 2] [--target target]
PATH is a checkout of https://github.com/rhubarbwu/neural-collapse; without it only NumPy runs.
Before anything is timed, each peer measures the small case, and the script stops unless its numbers are ours to 1e-4.
Data as in crates/collapse/examples/full_report.rs: normal noise of deviation 2 around normal class means, in f32.
Prints one JSON line for each peer: seconds and processor seconds of each repetition, peak memory above the input, measures.
`neural-collapse` is the peer's own list of measures (it has no VCI, RankMe, directional CDNV or standard errors), in batches
of 4,096 and of 65,536, of which the better counts; `numpy` computes what our report does except directional CDNV and
standard errors. Peak memory is a process's own: one peer at a time (--only) to compare it."""
import argparse, json, os, pathlib, resource, sys, time

args = argparse.ArgumentParser()
args.add_argument("samples", type=int)
args.add_argument("features", type=int)
args.add_argument("classes", type=int)
args.add_argument("--peer")
args.add_argument("--threads", type=int, default=2)
args.add_argument("--repetitions", type=int, default=2)
args.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
args.add_argument("--only", choices=["torch", "numpy"])
args = args.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(args.threads)
import numpy as np  # noqa: E402  (after the thread counts)

from figures import figure, wanted  # noqa: E402


def draw():
    n, p, k = args.samples, args.features, args.classes
    rng = np.random.default_rng(1)
    means = rng.standard_normal((k, p), dtype=np.float32)
    labels = (np.arange(n) * 7919 % k).astype(np.int64)
    table = 2 * rng.standard_normal(1 << 20, dtype=np.float32)
    data = np.empty((n, p), np.float32)
    for row in range(n):
        shift = (row * 40503) % ((1 << 20) - p)
        np.add(means[labels[row]], table[shift:shift + p], out=data[row])
    return data, labels, means + 0.5 * rng.standard_normal((k, p), dtype=np.float32), rng.standard_normal(k, dtype=np.float32)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


def timed(name, work, case):
    before, seconds, processor = resident(), [], []
    for _ in range(args.repetitions):
        start, busy = time.perf_counter(), time.process_time()
        found = work(case)
        seconds.append(round(time.perf_counter() - start, 3))
        processor.append(round(time.process_time() - busy, 3))
    beyond = peak() - before
    n, p = case[0].shape
    print(json.dumps(dict(peer=name, samples=n, features=p, classes=len(case[2]), seconds=seconds, processor_seconds=processor,
                          mib_beyond_input=beyond, **found)), flush=True)
    return seconds, beyond


def check(name, work):
    """The peer's measures of the case that our side wrote, against ours."""
    from safetensors.numpy import load_file
    path = pathlib.Path(args.target) / "tmp" / "collapse.safetensors"
    if not path.exists():
        sys.exit(f"{path} is missing: run the Rust side first, or name its target directory with --target")
    file = load_file(path)
    found = work((file["features"], file["labels"].astype(np.int64), file["weight"], file["bias"]))
    ours = {key.removeprefix("report/"): value[0] for key, value in file.items() if key.startswith("report/")}
    # The peer divides norms' deviation by K - 1, and its agreement leaves the head's bias out.
    shared = [key for key in found if key in ours and not (name == "neural-collapse" and key in ("equinorm", "agreement"))]
    for key in shared:
        if not abs(found[key] - ours[key]) <= 1e-4 * abs(ours[key]):
            sys.exit(f"{name}: {key} is {found[key]}, ours is {ours[key]}: nothing is timed")
    print(f"{name} and we compute the same {len(shared)} measures: {', '.join(shared)}", flush=True)


def by_torch(case, batch):
    data, labels, weight, _ = case
    (n, p), k = data.shape, len(weight)
    import torch
    from neural_collapse.accumulate import CovarAccumulator, DecAccumulator, MeanAccumulator, VarNormAccumulator
    from neural_collapse.kernels import kernel_stats, log_kernel
    from neural_collapse.measure import (clf_ncc_agreement, covariance_ratio, distance_norms, mean_norms, self_duality_error,
                                         similarities, simplex_etf_error, variability_cdnv)
    x, y, w = torch.from_numpy(data), torch.from_numpy(labels), torch.from_numpy(weight)
    pieces = [(x[at:at + batch], y[at:at + batch]) for at in range(0, n, batch)]
    mean = MeanAccumulator(k, p)
    for a, b in pieces:
        mean.accumulate(a, b)
    m, centre = mean.compute()
    variance, covariance, decisions = VarNormAccumulator(k, p, M=m), CovarAccumulator(k, p, M=m), DecAccumulator(k, p, M=m, W=w)
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


def by_numpy(case, batch=1 << 14):
    data, labels, weight, bias = case
    (N, P), K = data.shape, len(weight)
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
                bias_collapse=np.linalg.norm(weight @ g + bias), alignment=float(((weight * c).sum(1) / (np.linalg.norm(weight, axis=1) * norms)).mean()), nc0=np.linalg.norm(weight.sum(0).astype(np.float64)),
                vci=vci, rank_me=float(np.exp(-(share * np.log(share)).sum())), agreement=agree / N, nearest_mean_accuracy=right / N)


work = f"collapse/full-report/{args.samples}x{args.features}-{args.classes}-classes-f32"
light = f"collapse/measures without scatter/{args.samples}x{args.features}-{args.classes}-classes-f32"
memory = f"collapse/memory beyond the input/{args.samples}x{args.features}-{args.classes}-classes-f32"
if not any(wanted(name) for name in (f"{work}, cpu", f"{light}, cpu", memory)):
    sys.exit(0)
peers = {}
if args.peer and args.only != "numpy":
    sys.path.insert(0, args.peer)
    import torch
    torch.set_num_threads(args.threads)
    peers["neural-collapse"] = [lambda case, batch=batch: by_torch(case, batch) for batch in (4096, 65536)]
if args.only != "torch":
    peers["NumPy"] = [lambda case: {key: float(value) for key, value in by_numpy(case).items()}]
for name, ways in peers.items():
    check(name, ways[0])
case = draw()
for name, ways in peers.items():
    # The better of its ways, in time and in memory each.
    outcomes = [timed(name if len(ways) == 1 else f"{name}, way {at + 1}", way, case) for at, way in enumerate(ways)]
    seconds = min((seconds for seconds, _ in outcomes), key=np.median)
    figure(work, name, seconds)
    if name == "neural-collapse":
        # Its measures are those of our report without a scatter matrix.
        figure(light, name, seconds)
    figure(memory, name, [outcomes[0][1]], unit="MiB", device=None)
