"""Modular addition: what the network is shown, how it is trained, and that it groks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creode.testbeds.modular_addition import AdditionConfig, modular_addition

SMALL = AdditionConfig(modulus=7, hidden=8)


@pytest.fixture(scope="module")
def runs():
    return modular_addition([3, 4], [0, 5, 20], SMALL)


def pairs(samples):
    """a, b and the answer of each sample."""
    a, b = samples.columns["inputs"].view(-1, 2, 7).argmax(2).unbind(1)
    return list(zip(a.tolist(), b.tolist(), samples.columns["targets"].argmax(1), strict=True))


def test_every_pair_is_on_one_side_with_its_sum(runs):
    for run in runs:
        train, held_out = pairs(run.train), pairs(run.held_out)
        assert len(train) == SMALL.num_train == 24
        assert sorted((a, b) for a, b, _ in train + held_out) == [
            (a, b) for a in range(7) for b in range(7)
        ]
        assert all(int(c) == (a + b) % 7 for a, b, c in train + held_out)
    assert pairs(runs[0].train) != pairs(runs[1].train)


def test_swapped_pairs_are_those_of_training_the_other_way_round_and_not_trained_on(runs):
    for run in runs:
        train = {(a, b) for a, b, _ in pairs(run.train)}
        swapped = pairs(run.swapped)
        expected = {(b, a) for a, b in train} - train
        assert {(a, b) for a, b, _ in swapped} == expected
        assert len(swapped) == len(expected) > 0
        assert all(int(c) == (a + b) % 7 for a, b, c in swapped)


def test_runs_side_by_side_train_as_one_alone_with_the_plain_loop(runs):
    for run in runs:
        model = run.model(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.003)
        inputs, targets = run.train.columns["inputs"], run.train.columns["targets"]
        for step in range(21):
            loss = (model(inputs) - targets).square().sum(1).mean() / 2
            if step in run.steps:
                now = run.steps.index(step)
                assert run.train_loss[now] == pytest.approx(float(loss.detach()), rel=1e-4)
                for ours, kept in zip(model.parameters(), run.weights[now], strict=True):
                    torch.testing.assert_close(ours.detach(), kept, rtol=1e-3, atol=1e-5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_curves_are_those_of_the_kept_networks(runs):
    for run in runs:
        for now, step in enumerate(run.steps):
            with torch.no_grad():
                outputs = run.model(step)(run.held_out.columns["inputs"])
                losses = run.task(run.model(step), run.held_out.columns).values
                own = run.task(run.model(step), run.train.columns).values
            right = outputs.argmax(1) == run.held_out.columns["targets"].argmax(1)
            assert run.test_accuracy[now] == pytest.approx(float(right.double().mean()))
            assert run.test_loss[now] == pytest.approx(float(losses.mean()), rel=1e-4)
            assert run.train_loss[now] == pytest.approx(float(own.mean()), rel=1e-4)
        most = float(run.test_accuracy.max())
        assert run.grokked(most) is None  # it has to be passed
        assert run.grokked(most - 1e-6) == run.steps[int(run.test_accuracy.argmax())]


def test_the_same_seeds_give_the_same_weights(runs):
    again = modular_addition([3, 4], [20], SMALL)
    for one, other in zip(runs, again, strict=True):
        for a, b in zip(one.weights[-1], other.weights[-1], strict=True):
            assert torch.equal(a, b)


def test_it_groks_with_weight_decay_and_enough_data_only():
    steps = range(0, 2001, 100)
    config = AdditionConfig(weight_decay=0.006, modulus=13, hidden=48, train_fraction=0.6)
    (run,) = modular_addition([100], steps, config)
    right = run.grokked()
    learnt = run.steps[int(np.flatnonzero(run.train_loss < 0.1)[0])]
    assert right is not None
    assert right >= 3 * learnt > 0
    assert run.grokked(1.0) is None
    for without in (replace(config, weight_decay=0.0), replace(config, train_fraction=0.2)):
        (other,) = modular_addition([100], steps, without)
        assert other.grokked() is None
        assert other.train_loss[-1] < 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modulus": 1}, "modulus ≥ 2 and hidden ≥ 1; got 1 and 96"),
        ({"train_fraction": 1.0}, "must leave pairs on both sides, got 1.0 of 289 pairs"),
        ({"train_fraction": 0.001}, "must leave pairs on both sides"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\); got 0.003, 0.1 and 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        AdditionConfig(**wrong)


def test_no_seeds_and_no_such_checkpoint_are_told(runs):
    with pytest.raises(ValueError, match=r"at least one seed and one step, steps ≥ 0; got \[\]"):
        modular_addition([], [1])
    with pytest.raises(ValueError, match="step 6 is no checkpoint; there are 3 from 0 to 20"):
        runs[0].model(6)
