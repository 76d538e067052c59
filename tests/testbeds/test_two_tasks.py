import pytest
import torch

from creode.testbeds import two_tasks


@pytest.fixture(scope="module")
def net():
    return two_tasks(seed=3)


def loss_without(net, unit, samples):
    """Mean loss on samples with one hidden unit silent."""
    weights = [p.detach() for p in net.model.parameters()]
    into, bias, out, last = weights
    hidden = (samples.columns["inputs"] @ into.T + bias).relu()
    if unit is not None:
        hidden[:, unit] = 0
    logits = hidden @ out.T + last
    return float(torch.nn.functional.cross_entropy(logits, samples.columns["targets"]))


def test_every_unit_is_needed_for_its_task_and_not_for_the_other(net):
    """Judged by silencing it: what was planted is what training kept."""
    parts = list(net.asking().values())
    for unit, task in enumerate(net.serves.tolist()):
        own, other = (
            loss_without(net, unit, parts[t]) - loss_without(net, None, parts[t])
            for t in (task, 1 - task)
        )
        assert own > 0.001
        assert own > 5 * abs(other)


def test_answers_are_the_parities_of_the_task_asked_for(net):
    inputs, targets = (net.data.columns[name] for name in ("inputs", "targets"))
    for row, target, task in zip(inputs, targets, net.asks.tolist(), strict=True):
        assert int(row[3 * task] == row[3 * task + 1]) == int(target)
        assert row[6:].tolist() == ([2, 0] if task == 0 else [0, 2])
    assert net.accuracy == 1
    assert net.init_loss == pytest.approx(loss_without(net, None, net.data), rel=1e-4)


def test_units_see_only_their_tasks_bits(net):
    into = net.model.get_parameter("layers.0.weight")
    for unit, task in enumerate(net.serves.tolist()):
        assert not into[unit, 3 * (1 - task) : 3 * (1 - task) + 3].any()
        assert into[unit, 3 * task : 3 * task + 2].all()


def test_masks_of_all_units_are_all_weights_but_the_last_bias(net):
    masks = [net.unit(index) for index in range(len(net.serves))]
    for name, parameter in net.model.named_parameters():
        covered = sum((m[name].int() for m in masks if name in m), torch.zeros_like(parameter))
        assert (covered == (name != "layers.1.bias")).all()
    with pytest.raises(ValueError, match=r"unit 16 is not in 0\.\.15"):
        net.unit(16)


def test_the_same_seed_gives_the_same_network():
    one, two, other = (two_tasks(copies=1, seed=seed) for seed in (1, 1, 2))
    for name, parameter in one.model.named_parameters():
        assert torch.equal(parameter, two.model.get_parameter(name))
    assert not torch.equal(one.data.columns["inputs"], other.data.columns["inputs"])
    with pytest.raises(ValueError, match="copies ≥ 1"):
        two_tasks(copies=0)
