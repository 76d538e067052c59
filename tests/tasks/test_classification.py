"""Classification against the definition of cross-entropy and transformers' own loss."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from creode.data import Samples, as_samples
from creode.tasks import Classification, validate

B, D, K = 5, 4, 3
NOISE = torch.Generator().manual_seed(0)
X = torch.randn(B, D, generator=NOISE)
Y = torch.tensor([0, 2, 1, 1, 0])


def linear():
    torch.manual_seed(0)
    return nn.Linear(D, K)


def test_losses_are_minus_log_of_the_softmax():
    model = linear()
    losses = Classification()(model, {"inputs": X, "targets": Y})
    for b in range(B):
        odds = (X[b] @ model.weight.T + model.bias).double().exp()
        assert abs(losses.values[b] + (odds[Y[b]] / odds.sum()).log()) < 1e-6
    assert losses.values.shape == (B,)
    assert losses.mask.all()


def test_mean_is_the_loss_of_a_hugging_face_classifier():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=K, initializer_range=0.5,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    ids = torch.randint(1, 11, (B, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "labels": Y}
    losses = Classification()(model, batch)
    assert torch.allclose(losses.values.mean(), model(**batch).loss, atol=1e-6)
    validate(Classification(), model, Samples(columns=batch))
    without_mask = Classification()(model, {"input_ids": ids, "labels": Y})
    assert not torch.allclose(losses.values[1], without_mask.values[1], atol=1e-3)


def test_vmap_over_weights_equals_a_loop():
    model = linear()
    weights = {k: torch.stack([p.detach(), 2 * p.detach()]) for k, p in model.named_parameters()}

    def losses(params):
        def call(x):
            return functional_call(model, params, (x,))

        class Called(nn.Module):
            def forward(self, x):
                return call(x)

        return Classification()(Called(), {"inputs": X, "targets": Y}).values

    together = vmap(losses)(weights)
    for c in range(2):
        assert torch.allclose(together[c], losses({k: w[c] for k, w in weights.items()}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"x": X, "targets": Y},
            r"one of the columns inputs, input_ids, pixel_values; got \['targ",
        ),
        ({"inputs": X}, r"one of the columns targets, labels; got \['inputs'\]"),
        (
            {"inputs": X, "targets": Y.float()},
            r"'targets' has shape \(5,\) and dtype torch.float32",
        ),
        ({"inputs": X, "targets": Y[:, None]}, r"shape \(5, 1\)"),
        ({"inputs": X, "targets": Y + 1}, r"label of sample 1 is 3, .* classes 0..2"),
        ({"inputs": X, "targets": Y - 1}, r"label of sample 0 is -1, .* classes 0..2"),
    ],
)
def test_samples_that_cannot_be_scored_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        validate(Classification(), linear(), Samples(columns=columns))


def test_logits_per_token_are_refused():
    with pytest.raises(ValueError, match=r"logits of shape \(1, 2, 3\) for 1 samples"):
        validate(Classification(), linear(), as_samples((X[:, None].expand(B, 2, D), Y)))
