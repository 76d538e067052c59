"""A head on a decoder: its directory, and its parts by name."""

import pytest
import torch
from safetensors.torch import save_file

from chats import llama, tokenizer
from creode import ScalarHead, components
from creode.models import load_model, load_weights, save_model
from creode.testbeds import Decoder, DecoderConfig

IDS = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def head():
    config = DecoderConfig(
        vocab_size=7, d_model=8, num_layers=1, num_heads=2, context_length=6, init_std=0.3
    )
    return ScalarHead.of(Decoder(config), seed=2)


def test_a_directory_gives_the_same_head_back(tmp_path):
    one = head()
    save_model(one, tmp_path / "head")
    again = load_model(tmp_path / "head")
    assert isinstance(again, ScalarHead)
    assert not again.training
    assert torch.equal(one(IDS, MASK), again(IDS, MASK))
    half = load_model(tmp_path / "head", dtype=torch.float64)
    assert half.score.weight.dtype == torch.float64


def test_other_weights_and_other_directories_are_refused(tmp_path):
    one = head()
    save_model(one, tmp_path / "head")
    save_file({"score.weight": one.score.weight}, tmp_path / "head" / "model.safetensors")
    with pytest.raises(ValueError, match="the weights do not fit ScalarHead: missing"):
        load_model(tmp_path / "head")
    save_model(one.backbone.__class__(one.backbone.config), tmp_path / "decoder")
    with pytest.raises(ValueError, match="is no directory of a head"):
        ScalarHead.load(tmp_path / "decoder")


def test_a_head_on_transformers_is_saved_as_weights(tmp_path):
    one = ScalarHead.of(llama(len(tokenizer())))
    with pytest.raises(TypeError, match="AutoModelForSequenceClassification"):
        one.save(tmp_path / "head")
    save_model(one, tmp_path / "head")
    other = ScalarHead.of(llama(len(tokenizer()), seed=1), seed=5)
    load_weights(other, tmp_path / "head")
    assert torch.equal(one(IDS, MASK), other(IDS, MASK))


def test_parts_of_a_head_are_those_of_its_backbone():
    names = {component.name for component in components.list(head())}
    assert {"full", "embed", "l0h0", "l0h1", "l0 mlp", "score"} <= names
