"""In turn or side by side: the faster of the two as timed, and only where both can run."""

import pytest

from creode.sampling import SGLD, Execution, Schedule, choice
from creode.sampling.choice import choose_mode
from sampling_cases import noisy_quadratic, posterior


def choose(monkeypatch, seconds, schedule=None, execution=None):
    monkeypatch.setattr(choice, "_seconds_per_chain", lambda *arguments: seconds(arguments[-1]))
    schedule = schedule or Schedule(batch_size=8)
    target = posterior(noisy_quadratic())
    return choose_mode(target, SGLD(step_size=1e-3), schedule, execution or Execution())


@pytest.mark.parametrize(
    ("in_turn", "side_by_side", "chosen"),
    [(1e-3, 0.5e-3, "vectorised"), (1e-3, 0.95e-3, "sequential"), (1.0, 0.1, "sequential")],
)
def test_the_timing_decides(monkeypatch, in_turn, side_by_side, chosen):
    seconds = {"sequential": in_turn, "vectorised": side_by_side}
    assert choose(monkeypatch, seconds.__getitem__) == chosen


def test_a_model_that_does_not_run_vectorised_runs_in_turn(monkeypatch):
    def seconds(mode):
        if mode == "vectorised":
            raise RuntimeError("no batching rule")
        return 1e-3

    assert choose(monkeypatch, seconds) == "sequential"


@pytest.mark.parametrize(
    ("schedule", "execution"),
    [
        (Schedule(chains=1, batch_size=8), Execution()),
        (Schedule(batch_size=8), Execution(microbatch=2)),
        (Schedule(batch_size=8), Execution(mode="sequential")),
    ],
)
def test_some_runs_are_in_turn_without_timing(monkeypatch, schedule, execution):
    def seconds(mode):
        raise AssertionError("timed")

    assert choose(monkeypatch, seconds, schedule, execution) == "sequential"


@pytest.mark.parametrize("mode", ["sequential", "vectorised"])
def test_timing_leaves_the_model_as_it_was_and_gives_seconds(mode):
    target = posterior(noisy_quadratic())
    before = [p.clone() for p in target.model.parameters()]
    seconds = choice._seconds_per_chain(
        target, SGLD(step_size=1e-3), Schedule(batch_size=8), Execution(), mode
    )
    assert 0 < seconds < 60
    assert all((p == q).all() for p, q in zip(target.model.parameters(), before, strict=True))
