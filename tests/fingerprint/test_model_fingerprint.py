from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import losses_under_test as cases
import pytest
import torch
from torch import nn

from creode.fingerprint import model_fingerprint


class Doubled(cases.Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def changed(name: str) -> nn.Module:
    """The network of the cases with one thing changed."""
    model: Any = cases.net(width=4) if name == "width" else cases.net()
    with torch.no_grad():
        if name == "one bit of a weight":
            model.first.weight.view(torch.int32)[0, 0] ^= 1
        elif name == "a buffer":
            model.norm.running_mean[0] = 1
        elif name == "a new buffer":
            model.register_buffer("extra", torch.zeros(1), persistent=False)
        elif name == "dtype":
            model.to(torch.bfloat16)
        elif name == "swapped weights":
            model.first.weight.copy_(model.first.weight.flip(0))
        elif name == "a setting":
            model.norm.eps = 1e-3
        elif name == "an activation":
            model.activation = nn.functional.relu
        elif name == "an own forward":
            model.forward = lambda x: x
        elif name == "a class":
            model.__class__ = Doubled
        elif name == "a hook":
            model.first.register_forward_hook(lambda module, inputs, output: -output)
        elif name == "a hook before":
            model.first.register_forward_pre_hook(lambda module, inputs: inputs)
        elif name == "tied":
            model.last = nn.Linear(3, 2)
            model.last.weight.copy_(cases.net().last.weight)
            model.last.bias = model.norm.bias
        elif name == "equal but not tied":
            model.last.bias.copy_(model.norm.bias)
    return model


CHANGES = [
    *("nothing", "one bit of a weight", "a buffer", "a new buffer", "dtype", "swapped weights"),
    *("a setting", "an activation", "an own forward", "a class", "a hook", "a hook before"),
    *("tied", "equal but not tied", "width"),
]


def test_every_change_of_a_model_changes_its_fingerprint():
    prints = {name: model_fingerprint(changed(name)) for name in CHANGES}
    for (one, first), (other, second) in combinations(prints.items(), 2):
        assert first != second, f"{one} and {other} share a fingerprint"


def in_use(model: nn.Module) -> None:
    model.eval()(torch.ones(2, 4)).sum().backward()


@pytest.mark.parametrize(
    "use",
    [
        in_use,
        nn.Module.eval,
        nn.Module.train,
        lambda model: model.requires_grad_(False),
        lambda model: model.zero_grad(),
        lambda model: model.share_memory(),
    ],
)
def test_use_and_mode_keep_the_fingerprint(use: Callable[[nn.Module], object]):
    model = cases.net()
    before = model_fingerprint(model)
    use(model)
    assert model_fingerprint(model) == before == model_fingerprint(copy.deepcopy(model))


def test_weights_in_another_memory_layout_keep_the_fingerprint():
    model = cases.net()
    before = model_fingerprint(model)
    model.first.weight = nn.Parameter(model.first.weight.detach().T.contiguous().T)
    assert not model.first.weight.is_contiguous()
    assert model_fingerprint(model) == before


def test_what_is_not_in_names_or_tensors_is_noticed_in_torchs_own_modules():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    before = model_fingerprint(layer)
    layer.norm_first = True
    assert model_fingerprint(layer) != before
    layer.norm_first = False
    assert model_fingerprint(layer) == before
    layer.self_attn.num_heads = 1
    assert model_fingerprint(layer) != before


def test_a_module_that_appears_twice_is_told_from_two_equal_ones():
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    shared = nn.Sequential(layer, layer)
    apart = nn.Sequential(layer, copy.deepcopy(layer))
    assert model_fingerprint(shared) != model_fingerprint(apart)


def test_an_object_that_cannot_be_read_enters_a_model_by_its_class():
    model, other = cases.net(), cases.net()
    model.lock, other.lock = threading.Lock(), threading.Lock()
    assert model_fingerprint(model) == model_fingerprint(other) != model_fingerprint(cases.net())


def test_pickling_an_object_of_a_class_does_not_change_the_class():
    @dataclass(frozen=True)
    class Shape:
        width: int = 3

    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * Shape().width

    before = model_fingerprint(Scaled())
    Shape().__reduce_ex__(4)
    assert "__slotnames__" in vars(Shape)
    assert model_fingerprint(Scaled()) == before


def test_what_is_no_model_or_has_no_values_is_refused():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got function"):
        model_fingerprint(cases.helper)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(2, 4\) is on the meta device and has no values"):
        model_fingerprint(nn.Linear(4, 2, device="meta"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_a_hugging_face_model_is_the_same_after_use_and_after_a_round_trip(
    tmp_path: Path, kind: str
):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.AutoConfig.for_model(
        kind, **sizes, vocab_size=50, intermediate_size=32, max_position_embeddings=32
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    before = model_fingerprint(model)
    model(torch.zeros(1, 5, dtype=torch.long))
    assert model_fingerprint(model) == before
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model_fingerprint(again) == before
    again.config.attention_dropout = again.config.attn_pdrop = 0.5
    assert model_fingerprint(again) != before
