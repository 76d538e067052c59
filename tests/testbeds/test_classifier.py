import math

import pytest
import torch

from creode.tasks import Classification
from creode.testbeds import Classifier, classifier, rescaled


@pytest.fixture(scope="module")
def trained() -> Classifier:
    return classifier(hidden=(8, 6), num_samples=200, steps=600, seed=1)


def everything(testbed: Classifier) -> dict[str, torch.Tensor]:
    return testbed.data.batch(torch.arange(len(testbed.data)))


def test_training_comes_as_close_as_the_best_rule_there_is(trained):
    """The clusters' own densities give the lowest expected loss; training reaches it."""
    inputs, labels = (trained.data.columns[name] for name in ("inputs", "targets"))
    corners = torch.tensor(
        [[math.cos(2 * math.pi * c / 3), math.sin(2 * math.pi * c / 3)] for c in range(3)]
    )
    logits = -(inputs[:, None] - 1.5 * corners).square().sum(2) / 2
    best = torch.nn.functional.cross_entropy(logits, labels)
    assert trained.init_loss < best < math.log(3)
    right = (logits.argmax(1) == labels).float().mean()
    assert trained.accuracy > right - 0.02


def test_reported_numbers_are_those_of_the_weights(trained):
    logits = trained.model(trained.data.columns["inputs"])
    loss = torch.nn.functional.cross_entropy(logits, trained.data.columns["targets"])
    assert trained.init_loss == pytest.approx(float(loss.detach()), rel=1e-6)
    gradients = torch.autograd.grad(loss, list(trained.model.parameters()))
    squares = sum(float(g.square().sum()) for g in gradients)
    assert trained.gradient_norm == pytest.approx(squares**0.5, rel=1e-4)
    hits = (logits.argmax(1) == trained.data.columns["targets"]).double().mean()
    assert trained.accuracy == pytest.approx(float(hits))


def test_same_seed_same_weights_and_another_seed_others():
    one, twin, other = (classifier(num_samples=60, steps=20, seed=seed) for seed in (1, 1, 2))
    for p, q, r in zip(*(t.model.parameters() for t in (one, twin, other)), strict=True):
        assert torch.equal(p, q)
        assert not torch.equal(p, r)


def test_rescaling_hidden_units_changes_the_weights_and_no_loss(trained):
    factors = torch.linspace(0.2, 5.0, 6)
    twin = rescaled(trained.model, 1, factors)
    task, batch = Classification(), everything(trained)
    torch.testing.assert_close(
        task(twin, batch).values, task(trained.model, batch).values, rtol=1e-4, atol=1e-5
    )
    changed = [
        name
        for (name, p), q in zip(trained.model.named_parameters(), twin.parameters(), strict=True)
        if not torch.equal(p, q)
    ]
    assert changed == ["layers.1.weight", "layers.1.bias", "layers.2.weight"]


@pytest.mark.slow
def test_spirals_need_the_hidden_layers():
    linear = classifier("spirals", hidden=(), num_samples=300, steps=400)
    deep = classifier("spirals", hidden=(16, 16), num_samples=300, steps=400)
    assert linear.accuracy < 0.75
    assert deep.accuracy > 0.85
    assert deep.init_loss < linear.init_loss / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": "moons"}, "got 'moons'"),
        ({"num_classes": 1}, "num_classes ≥ 2"),
        ({"num_samples": 2}, "num_samples ≥ num_classes"),
        ({"hidden": (4, 0)}, r"got 3, 600, 1500 and \(4, 0\)"),
    ],
)
def test_refuses_what_cannot_be_trained(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier(**arguments)


def test_rescaling_refuses_the_output_layer_and_odd_factors(trained):
    with pytest.raises(ValueError, match=r"choose one of 0\.\.1"):
        rescaled(trained.model, 2, torch.ones(3))
    with pytest.raises(ValueError, match="each of the 6 units"):
        rescaled(trained.model, 1, torch.ones(5))
    with pytest.raises(ValueError, match="must be positive"):
        rescaled(trained.model, 1, -torch.ones(6))
