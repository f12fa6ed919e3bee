"""GC of torch modules against torch.func; penalty; monitor. Skipped, with a word, where PyTorch is missing."""

from types import SimpleNamespace

import numpy as np
import pytest
from geometric_collapse import collapse, gc, networks, training

torch = pytest.importorskip("torch", reason="PyTorch is not installed: GC of torch modules is not tested")
nn = torch.nn


def small(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 9, 7),
        nn.Tanh(),
        nn.Linear(7, 3),
    )
    with torch.no_grad():
        net(torch.randn(16, 2, 6, 6))
    return net.to(dtype).eval()


def images(count=40, dtype=torch.float64):
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def squared_norms(function, x):
    """‖J‖²_F of each sample by torch.func.jacrev."""

    def one(sample):
        return function(sample.unsqueeze(0)).flatten()

    jacobians = torch.func.vmap(torch.func.jacrev(one))(x)
    return jacobians.flatten(1).square().sum(1).detach()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_values_are_those_of_jacrev(dtype):
    net, x = small(dtype), images(dtype=dtype)
    expected = squared_norms(net[:-1], x).double()
    estimate = gc.measure(net, x, exact=True, per_sample=True, dataset_size=40)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(estimate.per_sample, expected.numpy(), rtol=tolerance)
    assert estimate.value == pytest.approx(expected.mean().item(), rel=tolerance)
    assert estimate.standard_error.total == 0
    assert estimate.layer == "input of 7" and estimate.is_guess
    assert (estimate.inputs, estimate.outputs, estimate.batch_norm) == (72, 7, "evaluation")
    assert estimate.largest_norm == pytest.approx(expected.max().sqrt().item(), rel=tolerance)


@pytest.mark.parametrize(
    ("layer", "function"), [("", lambda net: net), ("4", lambda net: net[:5]), ("0", lambda net: lambda x: net[0](x).flatten(1))]
)
def test_layers(layer, function):
    net, x = small(), images(33)
    expected = squared_norms(function(net), x).mean().item()
    assert gc.measure(net, x, layer=layer, exact=True).value == pytest.approx(expected, rel=1e-12)


def test_estimates_lie_within_their_errors():
    net, x = small(), images(600)
    expected = squared_norms(net[:-1], x).mean().item()
    planned = gc.measure(net, x, until_rel=0.02, dataset_size=600, seed=3)
    assert planned.stopped in ("relative_error", "data_exhausted")
    assert planned.relative_error <= 0.02
    assert abs(planned.value - expected) < 4 * planned.standard_error.total
    for probe in ("rademacher", "gaussian", "sphere", {"orthogonal": {"block": 4}}):
        quick = gc.measure(net, x, probes=4, probe=probe, dataset_size=600, seed=1)
        assert abs(quick.value - expected) < 4 * quick.standard_error.total
    assert gc.measure(net, x, probes=4, seed=1) == gc.measure(net, x, probes=4, seed=1)


def test_a_value_does_not_depend_on_the_batches():
    net, x = small(), images(50)
    labels = torch.arange(50) % 4
    whole = gc.measure(net, x, labels=labels, probes=2, per_class=True)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=7)
    parts = gc.measure(net, batches, probes=2, per_class=True)
    assert whole == parts
    assert [entry.label for entry in whole.per_class] == [0, 1, 2, 3]
    assert gc.measure(net, x.numpy(), probes=2).value == whole.value


@pytest.mark.parametrize("samples", [1, 3, 40])
def test_cotangents_of_several_backward_passes(samples):
    net, x = small(), images(samples)
    expected = squared_norms(net[:-1], x).numpy()
    # Blocks of 7 orthogonal probes of 7 features give ‖J‖² exactly, however they are divided among backward passes.
    for probes in (7, 49):
        given = gc.measure(net, x, probes=probes, probe={"orthogonal": {"block": 7}}, per_sample=True)
        np.testing.assert_allclose(given.per_sample, expected, rtol=1e-10)


def test_pixels():
    net, x = small(), images(33)
    scaled = lambda y: net[:-1](y / torch.tensor([0.5, 0.25], dtype=y.dtype).reshape(1, 2, 1, 1))
    expected = squared_norms(scaled, x * torch.tensor([0.5, 0.25], dtype=x.dtype).reshape(1, 2, 1, 1)).mean().item()
    assert gc.measure(net, x, exact=True, std=[0.5, 0.25]).value == pytest.approx(expected, rel=1e-12)


def test_the_module_is_left_as_it_was():
    net, x = small(), images(33)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    grads = [weight.requires_grad for weight in net.parameters()]
    original = x.clone()
    inplace = nn.Sequential(nn.ReLU(inplace=True), *net).eval()
    gc.measure(inplace, x, probes=1)
    assert torch.equal(x, original)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert grads == [weight.requires_grad for weight in net.parameters()]
    assert all(weight.grad is None for weight in net.parameters())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in net.modules())
    with torch.no_grad():
        assert gc.measure(net, x, probes=1) == gc.measure(net, x, probes=1)
    with torch.inference_mode():
        gc.measure(net, images(33), probes=1)


def test_functions_and_maps_of_other_frameworks():
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    x = torch.randn(40, 2, dtype=torch.float64)
    assert gc.measure(lambda y: y @ matrix.T, x, exact=True).value == pytest.approx(91.0, rel=1e-12)

    class Linear:
        batch_norm = "absent"

        def features(self, x):
            return x @ matrix.numpy().T

        def linearize(self, x):
            return self.features(x), lambda v: v @ matrix.numpy(), (x.nbytes, x.nbytes)

    estimate = gc.measure(Linear(), x.numpy(), exact=True)
    assert estimate.value == pytest.approx(91.0, rel=1e-12) and estimate.batch_norm == "absent"


def test_a_small_memory_budget_gives_the_same_value():
    net, x = small(), images(80)
    whole = gc.measure(net, x, probes=2)
    little = gc.measure(net, x, probes=2, chunk_bytes=60_000)
    assert little.chunk.samples < whole.chunk.samples
    assert little.value == pytest.approx(whole.value, rel=1e-12)
    with pytest.raises(ValueError, match="chunk_bytes: one sample needs about"):
        gc.measure(net, x, probes=2, chunk_bytes=10)


def test_bad_maps():
    net, x = small(), images(40)
    with pytest.raises(ValueError, match=r"it is in training mode; call module.eval\(\)"):
        gc.measure(small().train(), x)
    part = small()
    part[1].train()
    with pytest.raises(ValueError, match="its layer '1' is in training mode"):
        gc.measure(part, x)
    mixing = nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(), nn.Linear(72, 3)).double().eval()
    with pytest.raises(
        ValueError, match="features of a sample change with the other samples|derivative with respect to the inputs of another"
    ):
        gc.measure(mixing, x)
    with pytest.raises(ValueError, match="two passes on the same inputs differ"):
        gc.measure(lambda y: nn.functional.dropout(y.flatten(1), 0.5, training=True), x)
    with pytest.raises(ValueError, match="not connected to the inputs"):
        gc.measure(lambda y: y.detach().flatten(1), x)
    with pytest.raises(ValueError, match="the module has no layer 'layer9'; it has 0, 1, 2"):
        gc.measure(net, x, layer="layer9")
    with pytest.raises(ValueError, match="a function has no layer"):
        gc.measure(lambda y: y.flatten(1), x, layer="0")
    with pytest.raises(TypeError, match="expected a torch module or a function"):
        gc.measure(3, x)
    with pytest.raises(TypeError, match="expected features of a floating-point dtype"):
        gc.measure(lambda y: y.flatten(1).long(), x)
    with pytest.raises(TypeError, match="expected a tensor, got tuple"):
        gc.measure(lambda y: (y, y), x)
    with pytest.raises(ValueError, match=r"expected features of shape \[1, p\]"):
        gc.measure(lambda y: y.sum().reshape(1), x)


def test_bad_images():
    net, x = small(), images(40)
    broken = x.clone()
    broken[5, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="inputs of sample 5 are not finite"):
        gc.measure(net, broken, probes=1)
    with pytest.raises(TypeError, match="images: expected float16"):
        gc.measure(net, x.to(torch.uint8))
    with pytest.raises(ValueError, match="the data are empty"):
        gc.measure(net, x[:0])
    with pytest.raises(ValueError, match="got 39 labels for 40 samples"):
        gc.measure(net, x, labels=np.zeros(39, int))
    with pytest.raises(ValueError, match="row 0 has label -1"):
        gc.measure(net, x, labels=np.full(40, -1), per_class=True)
    with pytest.raises(ValueError, match="values per class need labels"):
        gc.measure(net, x, per_class=True)
    with pytest.raises(ValueError, match="expected 30 samples"):
        gc.measure(net, x, dataset_size=30)
    with pytest.raises(ValueError, match="one standard deviation for each of the 2 channels"):
        gc.measure(net, x, std=[1.0])
    with pytest.raises(ValueError, match="labels: batches of an iterable carry"):
        gc.measure(net, iter([x]), labels=[0] * 40)
    with pytest.raises(RuntimeError, match="channels|size"):
        gc.measure(net, torch.zeros(4, 3, 6, 6))


def test_an_exception_of_the_loader_is_raised():
    def batches():
        yield images(32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gc.measure(small(), batches(), exact=True)


def test_a_module_measured_by_our_own_kernels():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    x = torch.randn(40, 6, dtype=torch.float64)
    toml = 'family = "mlp"\ninputs = 6\nhidden = [8, 5]\nactivation = "tanh"\nclasses = 3\n'
    ours = gc.measure_weights(net.state_dict(), x, toml, exact=True)
    assert ours.value == pytest.approx(gc.measure(net, x, exact=True).value, rel=1e-12)
    # The same probes, whichever program computes the vector–Jacobian products.
    ours, theirs = gc.measure_weights(net.state_dict(), x, toml, probes=3), gc.measure(net, x, probes=3)
    assert ours.value == pytest.approx(theirs.value, rel=1e-12)


def test_the_penalty_and_its_gradient():
    net, x = small(), images(8)
    exact = gc.penalty(net, x, probes=None)
    assert exact.item() == pytest.approx(squared_norms(net[:-1], x).mean().item(), rel=1e-12)
    weight = net[5].weight
    (gradient,) = torch.autograd.grad(gc.penalty(net, x, probes=2, seed=1, step=4), weight)
    step = torch.zeros_like(weight)
    step[1, 2] = 1e-6
    with torch.no_grad():
        weight += step
        up = gc.penalty(net, x, probes=2, seed=1, step=4)
        weight -= 2 * step
        down = gc.penalty(net, x, probes=2, seed=1, step=4)
        weight += step
    assert gradient[1, 2].item() == pytest.approx((up - down).item() / 2e-6, rel=1e-5)
    assert gc.penalty(net, x, step=0).item() != gc.penalty(net, x, step=1).item()
    pixels = gc.penalty(net, x, probes=None, std=[0.5, 0.5])
    assert pixels.item() == pytest.approx(4 * exact.item(), rel=1e-12)
    means = [gc.penalty(net, x, step=step).item() for step in range(400)]
    assert abs(np.mean(means) - exact.item()) < 5 * np.std(means) / 20


def test_bad_penalties():
    net, x = small(), images(8)
    with pytest.raises(ValueError, match="batch norm is in training mode"):
        gc.penalty(small().train(), x, probes=None)
    assert gc.penalty(small().train(), x).item() > 0
    with pytest.raises(TypeError, match="expected a floating-point tensor"):
        gc.penalty(net, x.long())
    with pytest.raises(ValueError, match="n at least 1"):
        gc.penalty(net, x[:0])
    with pytest.raises(ValueError, match="probes: expected at least 1"):
        gc.penalty(net, x, probes=0)
    with pytest.raises(ValueError, match="not connected to the inputs"):
        gc.penalty(lambda y: y.detach().flatten(1), x)
    with pytest.raises(ValueError, match="std: expected 2 positive"):
        gc.penalty(net, x, std=[1.0])


def test_the_monitor_logs_and_restores_the_mode():
    net = small(torch.float32).train()
    net[1].eval()
    x = images(60, torch.float32)
    labels = torch.arange(60) % 3
    logged = []
    monitor = training.Monitor(x, labels, probes=2, log=lambda *entry: logged.append(entry))
    row = monitor.record(10, net)
    assert net.training and not net[1].training and net[0].training
    net.eval()
    features = net[:-1](x).detach()
    report = collapse.report(features, labels, net[7], gc=row["gc"])
    assert row["cdnv"] == pytest.approx(report.cdnv, rel=1e-5)
    assert row["self_duality"] == pytest.approx(report.self_duality, rel=1e-5)
    assert row["gc"] == gc.measure(net, x, probes=2).value
    assert {name for name, _, _ in logged} == set(row) - {"step"}
    monitor.record(20, net)
    assert [entry["step"] for entry in monitor.history] == [10, 20]

    class Writer:
        def __init__(self):
            self.seen = []

        def add_scalar(self, name, value, step):
            self.seen.append((name, value, step))

    writer = Writer()
    training.log_to(writer)("gc", 1.0, 3)
    assert writer.seen == [("geometry/gc", 1.0, 3)]
    run = SimpleNamespace(log=lambda values, step: logged.append((values, step)))
    training.log_to(run)("gc", 1.0, 3)
    assert logged[-1] == ({"geometry/gc": 1.0}, 3)
    with pytest.raises(TypeError):
        training.log_to(3)


def test_features_and_head():
    net, x = small(torch.float32), images(40, torch.float32)
    labels = torch.arange(40) % 3
    out = networks.features_of_module(net, x, labels)
    with torch.no_grad():
        expected = net[:-1](x).numpy()
    np.testing.assert_allclose(out.features, expected, rtol=1e-6, atol=1e-6)
    assert out.labels.tolist() == labels.tolist() and out.layer == "input of 7" and out.is_guess
    assert np.array_equal(out.head[0], net[7].weight.detach().numpy())
    assert collapse.report(out.features, out.labels, out.head).ncc_agreement is not None
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=9)
    parts = networks.features_of_module(net, loader)
    np.testing.assert_allclose(parts.features, out.features, rtol=1e-5, atol=1e-6)
    assert parts.labels.tolist() == labels.tolist()
    named = networks.features_of_module(net, x, layer="4")
    assert named.features.shape == (40, 36) and named.head is None and named.labels is None and not named.is_guess
    with pytest.raises(ValueError, match="there are no samples"):
        networks.features_of_module(net, x[:0])
    with pytest.raises(ValueError, match="training mode"):
        networks.features_of_module(small().train(), x)


def test_lightning_logs_along_a_training(tmp_path):
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    from geometric_collapse.lightning import GeometryCallback
    from lightning.pytorch.loggers import CSVLogger

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = small(torch.float32)

        def training_step(self, batch, _index):
            x, y = batch
            return nn.functional.cross_entropy(self.net(x), y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05)

    x, y = images(60, torch.float32), torch.arange(60) % 3
    callback = GeometryCallback(x, y, attribute="net", every_n_epochs=2, probes=1)
    logger = CSVLogger(tmp_path)
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=logger,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    model = Classifier()
    trainer.fit(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20))
    # Three steps an epoch, measured after the second and the fourth.
    assert [row["step"] for row in callback.monitor.history] == [6, 12]
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"geometry/gc", "geometry/cdnv", "step"} <= set(header)


def test_the_lightning_callback(monkeypatch):
    import importlib
    import sys
    from types import ModuleType

    if importlib.util.find_spec("lightning") is None and importlib.util.find_spec("pytorch_lightning") is None:
        with pytest.raises(ImportError, match="pip install lightning"):
            importlib.import_module("geometric_collapse.lightning")
        # Without Lightning the callback is tested with a stand-in for its base class.
        stand_in = ModuleType("lightning.pytorch.callbacks")
        stand_in.Callback = object
        for name in ("lightning", "lightning.pytorch"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks", stand_in)
    lightning = importlib.import_module("geometric_collapse.lightning")
    logged = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append((values, step)))
    trainer = SimpleNamespace(current_epoch=1, global_step=50, is_global_zero=True, loggers=[logger])
    callback = lightning.GeometryCallback(
        images(30, torch.float32), torch.arange(30) % 3, attribute="net", every_n_epochs=2, probes=1
    )
    callback.on_train_epoch_end(trainer, SimpleNamespace(net=small(torch.float32)))
    assert logged[0][1] == 50 and "geometry/gc" in logged[0][0]
    trainer.current_epoch = 2
    callback.on_train_epoch_end(trainer, SimpleNamespace(net=small(torch.float32)))
    assert len(logged) == 1
    sys.modules.pop("geometric_collapse.lightning")


def test_a_network_of_torchvision():
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    x = torch.randn(1, 3, 32, 32)
    early = nn.Sequential(*list(net.children())[:5])

    def some_of_the_first_stage(y):
        return early(y).flatten(1).narrow(1, 0, 64)

    expected = squared_norms(some_of_the_first_stage, x).mean().item()
    assert gc.measure(some_of_the_first_stage, x, exact=True).value == pytest.approx(expected, rel=1e-4)
    # The same probes by torch's products and by our own kernels.
    theirs, ours = gc.measure(net, x, probes=8), gc.measure_weights(net.state_dict(), x, "resnet18", probes=8)
    assert theirs.outputs == ours.outputs == 512
    assert ours.value == pytest.approx(theirs.value, rel=1e-3)


def test_a_vision_transformer():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5, depth=3).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = squared_norms(lambda y: net.forward_head(net.forward_features(y), pre_logits=True), x).mean().item()
    exact = gc.measure(net, x, exact=True)
    assert exact.layer == "input of head"
    assert exact.value == pytest.approx(expected, rel=1e-4)
    quick = gc.measure(net, x, probes=32, dataset_size=2)
    assert abs(quick.value - expected) < 4 * quick.standard_error.total
