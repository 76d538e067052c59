"""In-context linear regression: the law of its sequences, and what the transformer may see."""

import pytest
import torch

import creode
from creode.development import ridge_in_context
from creode.testbeds.context_regression import (
    EXAMPLES,
    INPUTS,
    NOISE_VARIANCE,
    ContextTransformer,
    context_regression,
    examples,
)
from creode.training import TrainingConfig, train

TASKS = 6


@pytest.fixture(scope="module")
def net():
    return context_regression(TASKS, num_samples=4000, num_judging=8, seed=5)


def test_targets_are_a_task_applied_to_the_inputs_with_noise(net):
    x, y = examples(net.data)
    residual = y[:, None] - torch.einsum("nkd,md->nmk", x, net.tasks)
    least, own = residual.square().mean(-1).min(1)
    assert torch.bincount(own).min() > 0.8 * len(own) / TASKS
    assert float(least.mean()) == pytest.approx(NOISE_VARIANCE, rel=0.05)
    assert float(x.var()) == pytest.approx(1, rel=0.05)


def test_new_tasks_are_normal_and_the_same_whatever_the_training_tasks(net):
    other = context_regression(None, num_samples=4000, num_judging=8, seed=5)
    assert other.tasks is None
    for name, column in net.new.columns.items():
        assert torch.equal(column, other.new.columns[name])
    x, y = examples(other.data)
    found = torch.linalg.lstsq(x, y[..., None]).solution[..., 0]
    expected = 1 + NOISE_VARIANCE / (EXAMPLES - INPUTS - 1)  # Var of the estimate, inverse Wishart
    assert float(found.square().mean()) == pytest.approx(expected, rel=0.1)


def test_tasks_have_the_moments_of_new_ones_and_their_own_directions(net):
    torch.testing.assert_close(net.tasks.mean(0), torch.zeros(INPUTS), atol=1e-6, rtol=0)
    torch.testing.assert_close(net.tasks.mT @ net.tasks / TASKS, torch.eye(INPUTS))
    drawn = torch.randn(
        TASKS, INPUTS, generator=torch.Generator().manual_seed(3 * 5 + 2), dtype=torch.float64
    )
    assert float(torch.cosine_similarity(net.tasks, drawn - drawn.mean(0)).min()) > 0.5


def test_weights_depend_on_the_seed_alone(net):
    more = context_regression(9, num_samples=1, num_judging=1, seed=5)
    other = context_regression(TASKS, num_samples=1, num_judging=1, seed=6)
    for name, parameter in more.model.named_parameters():
        assert torch.equal(parameter, net.model.get_parameter(name))
    assert not torch.isclose(other.tasks, net.tasks).any()
    assert not torch.equal(other.model.embed.weight, net.model.embed.weight)


def test_held_out_sequences_are_not_trained_on(net):
    trained = {row.tobytes() for row in examples(net.data)[0].numpy()}
    for samples in (net.held_out, net.new):
        assert not trained & {row.tobytes() for row in examples(samples)[0].numpy()}


def test_tokens_alternate_between_inputs_and_targets(net):
    for row, y in zip(net.new.columns["inputs"], net.new.columns["targets"], strict=True):
        assert row[::2, 0].tolist() == [0] * EXAMPLES
        assert row[1::2].tolist() == [[float(value), *[0] * INPUTS] for value in y]


@pytest.mark.parametrize("changed", range(2 * EXAMPLES))
def test_predictions_see_the_tokens_before_them_and_their_own_inputs(net, changed):
    """Token 2k is x_k and token 2k + 1 its y, which ŷ_k must not see."""
    model, tokens = net.model, net.new.columns["inputs"].clone()
    before = model(tokens)
    tokens[:, changed] += 1
    moved = (model(tokens) - before).abs().amax(0)
    first = (changed + 1) // 2
    assert (moved[:first] == 0).all()
    assert (moved[first:] > 1e-7).all()


def test_every_parameter_is_used():
    model = ContextTransformer(seed=1)
    model(torch.ones(1, 2 * EXAMPLES, 1 + INPUTS)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_short_training_comes_nearer_to_ridge_than_silence():
    """Without a context nothing better can be said than 0."""
    net = context_regression(None, num_samples=1 << 14, seed=100)
    config = TrainingConfig(
        steps=300,
        batch_size=64,
        learning_rate=7e-3,
        warmup_steps=20,
        optimizer_options={"betas": (0.9, 0.98)},
    )
    trained = train(net.model, net.task, net.data, config).model
    x, y = (column.double().numpy() for column in examples(net.new))
    ridge = ridge_in_context(x, y, noise_variance=NOISE_VARIANCE).values
    with torch.no_grad():
        found = trained(net.new.columns["inputs"]).double().numpy()
    gap = (ridge**2 - (found - ridge) ** 2).mean(1)  # over sequences
    assert gap.mean() > 5 * gap.std() / len(gap) ** 0.5


def test_the_loss_is_the_negative_log_likelihood_of_a_sequence(net):
    _, y = examples(net.new)
    values = net.task(net.model, net.new.columns).values
    gaussian = torch.distributions.Normal(net.model(net.new.columns["inputs"]), NOISE_VARIANCE**0.5)
    constant = torch.distributions.Normal(0.0, NOISE_VARIANCE**0.5).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(values, (constant - gaussian.log_prob(y)).sum(1))


def test_parts_have_names():
    names = {component.name for component in creode.components.list(ContextTransformer())}
    assert {"embed", "pos_embed", "l0h0", "l1h3", "l1 mlp", "unembed"} <= names


def test_counts_are_checked():
    with pytest.raises(ValueError, match="num_tasks must be > 4, the number of inputs, got 4"):
        context_regression(4)
    with pytest.raises(ValueError, match="num_samples must be ≥ 1, got 0"):
        context_regression(None, num_samples=0)
