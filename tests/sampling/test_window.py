"""Pairs of losses between two draws: unbiased over minibatches, and the same in any grouping."""

from itertools import combinations

import numpy as np
import pytest
import torch

from creode.sampling import window as window_module
from creode.sampling.block import BatchLosses
from creode.sampling.probes import Baseline
from creode.sampling.window import Window


def baseline_of(total, count=None):
    return Baseline(total, torch.ones_like(total) if count is None else count)


def test_the_square_of_the_excess_is_unbiased_over_minibatches():
    """Averaged over all minibatches of m of n it is the square of the full data's excess."""
    rng = np.random.default_rng(1)
    init, now = (torch.tensor(rng.normal(size=7)) for _ in range(2))
    truth = float((now - init).mean()) ** 2
    biased, squares = [], []
    for chosen in combinations(range(7), 3):
        index = torch.tensor([chosen])
        window = Window(baseline_of(init))
        window.add(BatchLosses(now[index], torch.ones(1, 3, dtype=torch.float64)), index)
        means = window.close()
        squares.append(float(means["excess_sq"]))
        biased.append(float(means["loss"] - means["init_loss"]) ** 2)
    assert abs(np.mean(squares) - truth) < 1e-12
    assert np.mean(biased) > truth + 0.05


def test_the_square_of_the_excess_needs_two_samples_of_many():
    window = Window(baseline_of(torch.zeros(7)))
    window.add(BatchLosses(torch.ones(1, 1), torch.ones(1, 1)), torch.tensor([[2]]))
    means = window.close()
    assert means["excess_sq"].isnan().all()
    assert float(means["loss"]) == 1.0


def test_losses_of_token_tasks_weigh_every_counted_token_alike():
    total = torch.tensor([[6.0, 2.0]], dtype=torch.float64)
    count = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    window = Window(baseline_of(total[0] / 2, count[0]))
    window.add(BatchLosses(total, count), None)
    means = window.close()
    assert float(means["loss"]) == 2.0
    assert float(means["init_loss"]) == 1.0


def test_a_draw_holds_the_means_of_its_own_window():
    window = Window(baseline_of(torch.zeros(1, dtype=torch.float64)))
    one = torch.ones(1, 1, dtype=torch.float64)
    found = []
    for value in (1.0, 3.0, 10.0, 20.0):
        window.add(BatchLosses(value * one, one), None)
        if value in (3.0, 20.0):
            found.append(window.close())
    assert [float(means["loss"]) for means in found] == [2.0, 15.0]
    assert [float(means["excess_sq"]) for means in found] == [5.0, 250.0]


@pytest.mark.parametrize("aside", [1, 3])
def test_putting_steps_aside_changes_nothing_but_rounding(aside, monkeypatch):
    rng = np.random.default_rng(2)
    base = torch.tensor(rng.normal(size=20))
    steps = []
    for _ in range(7):
        index = torch.tensor(np.stack([rng.choice(20, 5, replace=False) for _ in range(2)]))
        steps.append((BatchLosses(torch.tensor(rng.normal(size=(2, 5))), base[index] ** 2), index))

    def means():
        window = Window(baseline_of(base))
        for number, step in enumerate(steps):
            window.add(*step)
            if number == 4:  # an interruption on the way
                state, window = window.state(), Window(baseline_of(base))
                window.restore(state)
        return window.close()

    whole = means()
    monkeypatch.setattr(window_module, "MOST_ASIDE", aside)
    for name, values in means().items():
        assert torch.allclose(values, whole[name], rtol=1e-12)
