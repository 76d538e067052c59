"""A decoder read at the last token is the decoder itself there."""

import pytest
import torch

from creode.components import resolve
from creode.tasks import Classification
from creode.testbeds import Decoder, DecoderConfig, LastTokenDecoder, parentheses


def config(**changes):
    given = {"vocab_size": 2, "d_model": 12, "num_layers": 1, "num_heads": 3}
    return DecoderConfig(**given | {"context_length": 40, "init_std": 0.3} | changes)


def both(**changes):
    short, whole = (kind(config(**changes), seed=4) for kind in (LastTokenDecoder, Decoder))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for (name, one), (other, two) in zip(
            short.named_parameters(), whole.named_parameters(), strict=True
        ):
            assert name == other
            two.add_(0.2 * torch.randn(two.shape, generator=generator))  # biases and norms too
            one.copy_(two)
    return short, whole


@pytest.mark.parametrize(
    "changes", [{}, {"mlp_ratio": 0}, {"layer_norm": False}, {"tied_embeddings": True}]
)
def test_logits_and_gradients_are_those_of_the_decoder_at_the_last_token(changes):
    short, whole = both(**changes)
    batch = parentheses(80, seed=1).columns
    ids, mask = batch["input_ids"], batch["attention_mask"]
    at = mask.sum(1) - 1
    expected = whole(ids, mask)[torch.arange(len(ids)), at]
    found = short(ids, mask)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert float(expected.detach().std(0).min()) > 0.05
    for logits in (found, expected):
        logits.square().sum().backward()
    for one, two in zip(short.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=2e-3, rtol=1e-3)


def test_without_a_mask_every_token_counts():
    short, whole = both()
    ids = torch.randint(0, 2, (9, 14), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(short(ids), whole(ids)[:, -1], atol=2e-5, rtol=1e-4)


def test_padding_is_not_read():
    short, _ = both()
    batch = dict(parentheses(40, seed=1).columns)
    other = torch.where(batch["attention_mask"].bool(), batch["input_ids"], 1)
    mask = batch["attention_mask"]
    torch.testing.assert_close(short(batch["input_ids"], mask), short(other, mask))


def test_it_is_a_classifier_with_the_decoders_parts():
    short, _ = both()
    data = parentheses(40, seed=1)
    losses = Classification()(short, data.columns)
    assert losses.values.shape == (40,)
    part, same = (resolve(model, "l0h2") for model in both())
    assert {n: m.sum() for n, m in part.items()} == {n: m.sum() for n, m in same.items()}


def test_several_layers_are_refused():
    with pytest.raises(ValueError, match="has one layer, got 2"):
        LastTokenDecoder(config(num_layers=2))
