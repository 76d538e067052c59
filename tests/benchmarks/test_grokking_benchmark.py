"""How the benchmark of grokking counts rings."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

from creode.development import Alarm, AlarmConfig, Reading
from creode.testbeds.modular_addition import AdditionConfig, modular_addition

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
spec = importlib.util.spec_from_file_location("grokking_benchmark", BENCHMARKS / "grokking.py")
assert spec is not None
assert spec.loader is not None
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)


@pytest.fixture(scope="module")
def run():
    return modular_addition([1], range(26), AdditionConfig(modulus=7, hidden=8))[0]


@pytest.fixture(scope="module")
def event():
    """An alarm that rings on a jump at step 15."""
    alarm = Alarm(AlarmConfig(reference=4, drift=0, wander=(0.0,)))
    for step in range(1, 26):
        value = 10.0 + 0.3 * math.sin(9.0 * step) - 5.0 * (step >= 15)
        alarm.update(step, {"loss": 0.1, "swapped": Reading(value, 0.3)})
    return alarm.events[0]


def test_a_ring_is_in_time_only_before_half_are_right(run, event):
    assert 15 < event.step < 20
    early = benchmark.summary(run, event, 25)
    assert early["rang"]
    assert early["lead"] == 25 - event.step
    assert early["lead_log_step"] == pytest.approx(math.log(25 / event.step))
    assert early["accuracy_then"] == run.test_accuracy[event.step]
    assert not benchmark.summary(run, event, event.step)["rang"]
    assert not benchmark.summary(run, None, 25)["rang"]


def test_without_grokking_any_ring_counts(run, event):
    told = benchmark.summary(run, event, None)
    assert told["rang"]
    assert "lead" not in told
    assert not benchmark.summary(run, None, None)["rang"]


def test_every_checkpoint_up_to_the_last_is_watched_by_both_alarms(run, event, monkeypatch):
    asked = []

    def readings(of, step):
        asked.append(step)
        value = 10.0 + 0.3 * math.sin(9.0 * step) - 5.0 * (step >= 15)
        still = 10.0 + 0.3 * math.sin(7.0 * step)
        return {"loss": Reading(0.1), "llc": Reading(still, 0.3), "swapped": Reading(value, 0.3)}

    monkeypatch.setitem(benchmark.EXAMPLE, "readings", readings)
    seen = benchmark.watched(run, 22)
    assert asked == list(range(23))
    assert seen["curve"][3] == (
        3,
        tuple(readings(run, 3)["llc"]),
        tuple(readings(run, 3)["swapped"]),
    )
    assert seen["first"]["both"].reading == "swapped"
    assert seen["first"]["both"].step > 15
    assert seen["first"]["announced"].step <= seen["first"]["both"].step  # one reading, not two
    assert seen["first"]["announced"].change < 0
    assert seen["first"]["swapped"].reading == "swapped"
    assert seen["first"]["llc"] is None


@pytest.mark.parametrize(("moving", "sign"), [("swapped", 1), ("llc", -1)])
def test_only_a_fall_on_swapped_pairs_announces_grokking(run, monkeypatch, moving, sign):
    def readings(of, step):
        at = {name: 10.0 + 0.3 * math.sin(k * step) for name, k in (("llc", 7.0), ("swapped", 9.0))}
        at[moving] += sign * 5.0 * (step >= 15)
        return {"loss": Reading(0.1)} | {name: Reading(value, 0.3) for name, value in at.items()}

    monkeypatch.setitem(benchmark.EXAMPLE, "readings", readings)
    seen = benchmark.watched(run, 22)["first"]
    assert seen["both"].reading == moving
    assert seen["announced"] is None


def gaussian_excess(run, samples, nbeta, gamma):
    """E[L] − L(w*) of samples, if the posterior of the training data were the Gaussian at w*."""
    model = run.model(run.steps[-1])
    names = [name for name, _ in model.named_parameters()]
    w_star = torch.cat([p.detach().flatten() for p in model.parameters()]).double()

    def loss(w, of):
        parts = w.split([p.numel() for p in model.parameters()])
        weights = {
            n: v.view_as(p) for n, v, p in zip(names, parts, model.parameters(), strict=True)
        }
        inputs, targets = (of.columns[name].double() for name in ("inputs", "targets"))
        outputs = torch.func.functional_call(model, weights, (inputs,))
        return (outputs - targets).square().sum(1).mean() / 2

    (g, H), (g_of, H_of) = (
        (torch.func.grad(loss)(w_star, of), torch.func.hessian(loss)(w_star, of))
        for of in (run.train, samples)
    )
    covariance = torch.linalg.inv(nbeta * H + gamma * torch.eye(len(w_star)))
    shift = -nbeta * covariance @ g
    second = covariance + shift.outer(shift)
    return float(g_of @ shift + (H_of * second).sum() / 2)


def test_readings_are_those_of_the_gaussian_posterior_where_that_is_close():
    config = AdditionConfig(modulus=7, hidden=8, learning_rate=0.05)
    (trained,) = modular_addition([2], [0, 2000], config)
    now = benchmark.EXAMPLE["readings"](trained, 2000)
    nbeta, gamma = (benchmark.EXAMPLE[name] for name in ("NBETA", "LOCALIZATION"))
    assert now["loss"].value == trained.train_loss[-1]
    exact = nbeta * gaussian_excess(trained, trained.train, nbeta, gamma)
    assert abs(now["llc"].value - exact) < 4 * now["llc"].se + 0.05 * exact  # anharmonic: 5 %
    with torch.no_grad():
        own = float(trained.task(trained.model(2000), trained.swapped.columns).values.mean())
    far = gaussian_excess(trained, trained.swapped, nbeta, gamma)
    assert abs(now["swapped"].value - own - far) < 4 * now["swapped"].se + 0.05 * far
    assert now["llc"].se < 0.05 * exact
    assert now["swapped"].se < 0.05 * now["swapped"].value
