"""The one call: the model leaves as it came, a run resumes to the bit, nothing wrong is silent."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import creode
from creode.data import Samples
from creode.sampling import BADODAB, BAOAB, SGLD, RMSPropSGLD
from creode.store import Store
from creode.tasks import Classification
from creode.testbeds import classifier, quadratic
from sampling_cases import assert_same, draw, noisy_quadratic

KERNELS = [
    SGLD(step_size=4e-3),
    RMSPropSGLD(step_size=1e-3),
    BAOAB(step_size=0.05, friction=4.0),
    BADODAB(step_size=0.05, friction=4.0, stiffness=200.0),
]


class WithBuffer(nn.Module):
    """A classifier with a buffer, dropout, a frozen layer and a mode of its own."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.hidden = nn.Linear(2, 4)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(4, 3)
        self.out.requires_grad_(False)

    def forward(self, inputs):
        return self.out(self.drop(torch.tanh(self.hidden(self.norm(inputs)))))


@pytest.mark.parametrize("mode", ["sequential", "vectorised", "auto"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_leaves_as_it_came(mode, fails):
    torch.manual_seed(0)
    model = WithBuffer()
    model.train()
    model.drop.eval()
    model.hidden.weight.grad = torch.ones(4, 2)
    storage = {name: (p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    data = (torch.randn(20, 2), torch.randint(0, 3, (20,)))
    target = creode.LocalPosterior(model, Classification(), data, nbeta=10.0, localization=1.0)

    def on_progress(done, total):
        if fails and done > 3:
            raise RuntimeError("stop")

    options = {"chains": 2, "draws": 3, "burnin": 2, "batch_size": 5}
    with pytest.raises(RuntimeError, match="stop") if fails else nullcontext():
        creode.sample(
            target, sampler=SGLD(step_size=1e-3), execution=creode.Execution(mode=mode),
            on_progress=on_progress, **options,
        )  # fmt: skip
    assert model.training
    assert not model.drop.training
    assert model.norm.training
    assert not model.out.weight.requires_grad
    assert model.hidden.weight.requires_grad
    assert torch.equal(model.hidden.weight.grad, torch.ones(4, 2))
    assert model.hidden.bias.grad is None
    for name, parameter in model.named_parameters():
        assert (parameter.data_ptr(), True) == (
            storage[name][0],
            torch.equal(parameter, storage[name][1]),
        )
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_an_interrupted_run_ends_with_the_same_bytes(kernel, mode, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "snapshot_due", lambda self: True)
    testbed = noisy_quadratic()
    probes = {"some": testbed.data.select(torch.arange(5))}

    def run(out, stop_at=None):
        calls = 0

        def on_progress(done, total):
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise RuntimeError("stop")

        return draw(
            testbed, sampler=kernel, mode=mode, probes=probes, traces=("some",), out=out,
            observables={"far": distance, "some": "some"}, on_progress=on_progress,
        )  # fmt: skip

    whole = run(tmp_path / "whole")
    for stop_at in (3, 11, 7):
        with pytest.raises(RuntimeError, match="stop"):
            run(tmp_path / "broken", stop_at)
    resumed = run(tmp_path / "broken")
    assert_same(whole, resumed)
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
    assert_same(whole, creode.open_draws(tmp_path / "broken"))
    assert_same(whole, run(None))  # in memory: the same draws


def distance(model):
    return model.displacement().square().sum()


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "schedule.seed"),
        ({"draws": 11}, "schedule.draws"),
        ({"sampler": SGLD(step_size=1e-3)}, "sampler.step_size"),
        ({"sampler": BAOAB(step_size=4e-3, friction=1.0)}, "sampler.name"),
        ({"nbeta": 51.0}, "posterior.nbeta"),
        ({"localization": 11.0}, "posterior.localization"),
        ({"component": "first"}, "posterior.component"),
        ({"batch_size": 4}, "schedule.batch_size"),
    ],
)
def test_another_config_in_the_directory_is_refused(change, field, tmp_path):
    draw(noisy_quadratic(), out=tmp_path)
    with pytest.raises(ValueError, match=rf"another config .*{field}"):
        draw(noisy_quadratic(), out=tmp_path, **change)


def test_another_model_data_or_loss_in_the_directory_is_refused(tmp_path):
    testbed = noisy_quadratic()
    draw(testbed, out=tmp_path)
    changed = noisy_quadratic()
    with torch.no_grad():
        next(changed.model.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(ValueError, match=r"posterior\.model"):
        draw(changed, out=tmp_path)
    fewer_samples = testbed.data.select(torch.arange(23))
    fewer = creode.LocalPosterior(
        testbed.model, testbed.task, fewer_samples, nbeta=50, localization=10
    )
    options = {"chains": 2, "draws": 10, "burnin": 5, "steps_per_draw": 2, "batch_size": 8}
    execution = creode.Execution(mode="sequential")
    with pytest.raises(ValueError, match=r"posterior\.data"):
        creode.sample(fewer, sampler=KERNELS[0], out=tmp_path, execution=execution, **options)
    factor = 2.0
    other = creode.LocalPosterior(
        testbed.model,
        lambda model, batch: factor * testbed.task(model, batch),
        testbed.data,
        nbeta=50,
        localization=10,
    )
    with pytest.raises(ValueError, match=r"posterior\.task"):
        creode.sample(other, sampler=KERNELS[0], out=tmp_path, execution=execution, **options)


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_a_chain_that_fails_is_never_averaged_in(mode):
    testbed = quadratic([1.0, 2.0], num_samples=4)
    tree = draw(testbed, sampler=SGLD(step_size=100.0), batch_size=4, mode=mode, burnin=900)
    assert (tree["failed_at"] > 0).all()
    assert tree["loss"].isnull().all()
    reading = creode.llc(tree)
    assert math.isnan(float(reading.llc))
    assert not bool(reading.ok)
    assert "became non-finite" in str(reading.reasons.values)


@pytest.fixture(scope="module")
def trained():
    return classifier(hidden=(24, 24), num_samples=300, steps=800, seed=1)


def test_a_step_size_far_too_large_on_a_trained_classifier_is_called_so(trained):
    settings = {"nbeta": 300.0, "localization": 10.0, "chains": 4, "draws": 100, "burnin": 300}
    settings |= {"batch_size": 300, "mode": "vectorised", "steps_per_draw": 3}
    good = creode.llc(draw(trained, sampler=SGLD(step_size=2e-5), **settings))
    for factor in (100, 1000, 10000):
        bad = creode.llc(draw(trained, sampler=SGLD(step_size=2e-5 * factor), **settings))
        assert not bool(bad.ok)
        assert any(
            word in str(bad.reasons.values) for word in ("non-finite", "step size", "basin")
        ), bad.reasons.values
    assert "heats" not in str(good.reasons.values)


def test_a_learning_coefficient_below_zero_is_called_so(trained):
    fresh = classifier(hidden=(24, 24), num_samples=300, steps=1, seed=2)
    reading = creode.llc(
        draw(
            fresh,
            sampler=SGLD(step_size=1e-4),
            nbeta=300.0,
            localization=10.0,
            chains=4,
            draws=100,
            burnin=200,
            batch_size=300,
            mode="vectorised",
        )
    )
    assert float(reading.llc) < 0
    assert not bool(reading.ok)
    assert "not a local minimum" in str(reading.reasons.values)


def test_one_chain_gives_a_number_and_no_trust():
    reading = creode.llc(draw(noisy_quadratic(), chains=1, draws=300))
    assert math.isfinite(float(reading.llc))
    assert not bool(reading.ok)
    assert "one chain" in str(reading.reasons.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws must be a whole number ≥ 1, got 0"),
        ({"draws": 1}, "draws must be at least 2"),
        ({"chains": 0}, "chains must be a whole number ≥ 1, got 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"draws": 2.5}, "draws must be a whole number"),
        ({"burnin": -1}, "burnin must be a whole number ≥ 0"),
        ({"traces": ("nothing",)}, r"traces names \['nothing'\]; the probes are \[\]"),
        ({"component": "l0h3"}, "l0h3"),
        ({"probes": {"data": {"x": torch.zeros(2)}}}, "a probe cannot be named 'data'"),
        ({"execution": creode.Execution(mode="vectorised", microbatch=2)}, "drop microbatch"),
        ({"execution": creode.Execution(device="cuda")}, "sees no CUDA device"),
    ],
)
def test_bad_settings_are_refused_before_the_first_step(options, message):
    if "cuda" in message.lower() and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ValueError, match=message):
        draw(noisy_quadratic(), **options)


def test_weights_and_losses_that_are_not_finite_are_refused():
    testbed = noisy_quadratic()
    with torch.no_grad():
        testbed.model.get_parameter("second")[1] = math.nan
    with pytest.raises(ValueError, match=r"1 of 3 weights of 'second' are NaN or infinite"):
        draw(testbed)
    testbed = noisy_quadratic()
    columns = dict(testbed.data.columns)
    columns["offsets"] = columns["offsets"].clone()
    columns["offsets"][20] = math.inf
    data = Samples(columns=columns)
    target = creode.LocalPosterior(testbed.model, testbed.task, data, nbeta=1.0, localization=1.0)
    with pytest.raises(ValueError, match=r"not finite on 1 of 24 samples"):
        creode.sample(target, sampler=KERNELS[0], draws=200)


def test_a_probe_larger_than_memory_is_refused_by_name(monkeypatch):
    from creode.sampling import memory

    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    testbed = noisy_quadratic()
    with pytest.raises(ValueError, match=r"probe 'big' needs about .* GB"):
        draw(testbed, probes={"big": testbed.data})


def test_a_low_precision_model_is_refused_with_the_way_out():
    testbed = noisy_quadratic(dtype=torch.float32)
    testbed.model.bfloat16()
    task = lambda model, batch: testbed.task(model, batch).float()  # noqa: E731
    data = {name: column.bfloat16() for name, column in testbed.data.columns.items()}
    target = creode.LocalPosterior(testbed.model, task, data, nbeta=1.0, localization=1.0)
    with pytest.raises(ValueError, match="ask for forward_dtype='bfloat16'"):
        creode.sample(target, sampler=KERNELS[0], draws=2)


def test_a_forward_pass_in_bfloat16_keeps_the_state_in_float32(trained):
    settings = {"nbeta": 300.0, "localization": 100.0, "chains": 2, "draws": 50, "burnin": 50}
    settings |= {"batch_size": 300, "sampler": SGLD(step_size=2e-5)}
    trees = [
        draw(trained, execution=creode.Execution(mode=mode, forward_dtype=dtype), **settings)
        for mode in ("sequential", "vectorised")
        for dtype in (None, "bfloat16")
    ]
    exact, low, _, low_side_by_side = (tree["loss"].values for tree in trees)
    assert 0 < np.abs(exact - low).max() < 0.05 * exact.mean()
    assert np.abs(low_side_by_side - low).max() < 0.05 * exact.mean()


def test_the_subset_probe_of_large_data_carries_its_own_error():
    testbed = quadratic([1.0] * 6, num_samples=4000, gradient_scale=1.0, seed=5)
    tree = draw(testbed, chains=2, draws=60, batch_size=40, steps_per_draw=1)
    assert tree.attrs["loss_from"] == "probe"
    assert tree["probes/data"].attrs["population"] == 4000
    reading = creode.llc(tree)
    assert float(reading.llc_se) > 0
    assert float(abs(tree["loss"] - tree["probes/data/loss"]).max()) == 0


def test_progress_counts_every_chain_step():
    seen = []
    draw(noisy_quadratic(), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 50) for done in range(1, 51)]
