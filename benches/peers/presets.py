#!/usr/bin/env python3
"""What public codebases print for the golden feature sets of the crate `collapse`: the values its presets are tested against.

Run:  python presets.py CHECKOUTS > crates/collapse/tests/golden/peers.json
CHECKOUTS holds a checkout of each: `neural-collapse` (github.com/rhubarbwu), `neuralcollapse` (github.com/neuralcollapse, the
notebook of Papyan, Han and Donoho), `Neural-Collapse` (github.com/tding1), `nc-toolbox` (github.com/felixsh), and `site`, where
`pip install --target site kowalski einops jaxtyping` went. Their own code runs, unmodified, in f64 on the CPU; what it needs
around it (a model that hands the features through, a loader, numbers of samples) is here."""
import contextlib, io, json, os, subprocess, sys, types
from collections import defaultdict

import numpy as np
import torch

SETS = ["balanced", "imbalanced", "imbalanced_long_tail"]
root = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)
torch.Tensor.cuda = lambda self, *_: self  # tding1's functions move constants to a GPU
sys.path[:0] = [os.path.join(root, "site"), os.path.join(root, "neural-collapse"), os.path.join(root, "nc-toolbox")]
dask = types.ModuleType("dask")  # nc-toolbox imports dask for functions that are not used here
dask.array = types.ModuleType("dask.array")
sys.modules.update({"dask": dask, "dask.array": dask.array})


def golden(name):
    from safetensors.numpy import load_file
    file = load_file(os.path.join(here, "../../crates/collapse/tests/golden/metrics.safetensors"))
    return [file[f"{name}.{part}"] for part in ("features", "labels", "W", "b")]


def rhubarbwu(x, y, w, b):
    from neural_collapse import kernels, measure
    from neural_collapse.accumulate import CovarAccumulator, MeanAccumulator, VarNormAccumulator
    k, p = w.shape
    x, y, w = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)
    mean = MeanAccumulator(k, p, dtype=torch.float64)
    mean.accumulate(x, y)
    m, centre = mean.compute()
    variance, covariance = (kind(k, p, dtype=torch.float64, M=m) for kind in (VarNormAccumulator, CovarAccumulator))
    variance.accumulate(x, y, m)
    covariance.accumulate(x, y, m)
    within = covariance.compute()
    return dict(nc1=measure.covariance_ratio(within, m, centre), trace_ratio=measure.covariance_ratio(within, m, centre, "quotient"),
                cdnv=measure.variability_cdnv(variance.compute()[0], m), etf_error=measure.simplex_etf_error(m, centre),
                log_energy=kernels.kernel_stats(m, centre, kernel=kernels.log_kernel)[0],
                duality_etf_error=measure.self_duality_error(w, m, centre))


def papyan(x, y, w, b):
    import torch.nn.functional as functional
    from scipy.sparse.linalg import svds
    with open(os.path.join(root, "neuralcollapse", "neuralcollapse.ipynb")) as file:
        cells = ["".join(cell["source"]) for cell in json.load(file)["cells"]]
    classifier = torch.nn.Linear(w.shape[1], w.shape[0])
    classifier.weight.data, classifier.bias.data = torch.from_numpy(w), torch.from_numpy(b)
    features, graphs = types.SimpleNamespace(), defaultdict(list)

    class Graphs:
        def __getattr__(self, name):
            return graphs[name]

    class Model(torch.nn.Module):
        def forward(self, data):
            features.value = data.clone()
            return classifier(data)

    class Bar:
        def update(self, _): pass
        def set_description(self, _): pass
        def close(self): pass

    around = dict(torch=torch, np=np, F=functional, svds=svds, tqdm=lambda **_: Bar(), C=w.shape[0], device="cpu", debug=False, epoch=1,
                  loss_name="CrossEntropyLoss", weight_decay=5e-4, features=features, classifier=classifier)
    exec(next(cell for cell in cells if cell.startswith("def analysis")), around)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=64)
    with torch.no_grad():
        around["analysis"](Graphs(), Model(), torch.nn.CrossEntropyLoss(reduction="sum"), "cpu", w.shape[0], batches)
    read = lambda name: float(graphs[name][0])
    return dict(nc1=read("Sw_invSb"), equinorm=read("norm_M_CoV"), equinorm_of_head=read("norm_W_CoV"), equiangularity=read("cos_M"),
                equiangularity_of_head=read("cos_W"), self_duality=read("W_M_dist"))


def tding1(x, y, w, b):
    from scipy import linalg
    sys.path.insert(0, os.path.join(root, "Neural-Collapse"))
    with contextlib.redirect_stdout(io.StringIO()):
        import validate_NC as nc
    nc.CIFAR10_TRAIN_SAMPLES = tuple(np.bincount(y).tolist())
    nc.compute_accuracy = lambda *_, **__: (torch.zeros(1), torch.zeros(1))  # top-5 accuracy needs five classes

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(w.shape[1], w.shape[0])
            self.fc.weight.data, self.fc.bias.data = torch.from_numpy(w), torch.from_numpy(b)

        def forward(self, data):
            return (self.fc(data.clone()),)

    model, hook, options = Model(), nc.FCFeatures(), types.SimpleNamespace(device="cpu", dataset="cifar10")
    model.fc.register_forward_pre_hook(hook)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=64)
    centre, means, _, _ = nc.compute_info(options, model, hook, batches)
    with torch.no_grad():
        within = nc.compute_Sigma_W(options, model, hook, means, batches)
        between = nc.compute_Sigma_B(means, centre)
        weight = model.fc.weight
        return dict(nc1=float(np.trace(within @ linalg.pinv(between)) / len(means)), etf_error_of_head=nc.compute_ETF(weight),
                    duality_etf_error=nc.compute_W_H_relation(weight, means, centre)[0],
                    bias_collapse=nc.compute_Wh_b_relation(weight, centre, model.fc.bias))


def nc_toolbox(x, y, w, b):
    import nc_toolbox as nc
    means, centre = nc.class_embedding_means(x, y), nc.global_embedding_mean(x)
    variances = nc.class_embedding_variances(x, y, means)
    return dict(nc1=nc.nc1_strong(x, y, means, centre), within_share=nc.nc1_weak(x, y, means, centre)[1], cdnv=nc.nc1_cdnv(means, variances),
                log_energy=nc.gnc2_hypershperical_uniformity(means, centre), self_duality=nc.nc3_self_duality(w, means, centre))


def kowalski(x, y, w, b):
    from kowalski import neural_collapse as nc, to_per_class_list
    lists, w, b = to_per_class_list(torch.from_numpy(x), torch.from_numpy(y)), torch.from_numpy(w), torch.from_numpy(b)
    return dict(cdnv=nc.class_distance_normalized_variance(lists).item(), etf_error_of_head=nc.classifier_etf_convergence(w).item(),
                duality_etf_error=nc.self_duality(lists, w).item(), bias_collapse=nc.bias_collapse(torch.cat(lists), w, b).item())


def commit(folder):
    return subprocess.run(["git", "-C", os.path.join(root, folder), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


sources = {"rhubarb_wu": "neural-collapse", "papyan": "neuralcollapse", "tding1": "Neural-Collapse", "nc_toolbox": "nc-toolbox"}
from importlib.metadata import distributions
versions = [d.version for d in distributions(path=[os.path.join(root, "site")]) if d.metadata["Name"] == "kowalski"]
codebases = dict(rhubarb_wu=rhubarbwu, papyan=papyan, tding1=tding1, nc_toolbox=nc_toolbox, kowalski=kowalski)
print(json.dumps(dict(
    made_by="benches/peers/presets.py", torch=torch.__version__, numpy=np.__version__,
    revisions={**{name: commit(folder) for name, folder in sources.items()}, "kowalski": versions[0]},
    sets={name: {peer: measure(*[part.copy() for part in golden(name)]) for peer, measure in codebases.items()} for name in SETS}), indent=1))
