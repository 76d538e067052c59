"""The slice of a head is what that head's output depends on, and nothing more."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from attention_cases import (
    CASES,
    LLAMA_OUTPUT,
    MORE_CASES,
    Case,
    H,
    from_stacked_weights,
    head_outputs,
    hugging_face,
)
from torch import nn

from creode import components
from creode.components import Selection

ALL_CASES = [
    *(pytest.param(case, id=case.name) for case in CASES),
    *(pytest.param(case, id=case.name, marks=pytest.mark.slow) for case in MORE_CASES),
]


def randomised(model: nn.Module, selection: Selection) -> nn.Module:
    """A copy of `model` with exactly the selected weights drawn anew."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in selection:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                mask = selection[name]
                parameter.copy_(noise if mask is None else torch.where(mask, noise, parameter))
    return model


def changed_heads(case: Case, model: nn.Module, selection: Selection) -> list[int]:
    """Heads whose output moves when the selected weights do; it moves well or not at all."""
    before = head_outputs(case, model)
    after = head_outputs(case, randomised(model, selection))
    moved = (after - before).abs().amax(dim=tuple(range(1, before.ndim)))
    assert not ((moved > 1e-12) & (moved < 1e-4)).any(), moved
    return [head for head in range(H) if moved[head] > 1e-4]


def minus(model: nn.Module, whole: Selection, *parts: Selection) -> Selection:
    """The weights of `whole` that are in none of `parts`."""
    out: Selection = {}
    for name, mask in whole.items():
        size = model.get_parameter(name).shape
        left = torch.ones(size, dtype=torch.bool) if mask is None else mask.clone()
        for part in parts:
            if name in part:
                taken = part[name]
                left &= torch.zeros(size, dtype=torch.bool) if taken is None else ~taken
        out[name] = left
    return out


def attention_name(case: Case) -> str:
    return case.layer.strip() if case.layer.endswith(" ") else f"{case.layer} attn"


def shared_parts(case: Case, model: nn.Module) -> list[Selection]:
    """What several heads use: groups of keys and values, biases of the output, norms."""
    names = [component.name for component in components.list(model)]
    groups = [f"{case.layer}kv{group}" for group in range(H)]
    shared = [*groups, f"{attention_name(case)} shared"]
    return [components.resolve(model, name) for name in shared if name in names]


def check_own_slices(case: Case, model: nn.Module) -> None:
    """Each head's slice moves that head and no other."""
    for head in range(H):
        selection = components.resolve(model, f"{case.layer}h{head}")
        assert changed_heads(case, model, selection) == [head]


def check_complements(case: Case, model: nn.Module) -> None:
    """What is outside a head's slice, and not shared, moves the other heads and not this one."""
    attention = components.resolve(model, attention_name(case))
    for head in range(H):
        own = components.resolve(model, f"{case.layer}h{head}")
        rest = minus(model, attention, own, *shared_parts(case, model))
        assert changed_heads(case, model, rest) == [other for other in range(H) if other != head]


@pytest.mark.parametrize("case", ALL_CASES)
def test_a_heads_slice_moves_that_head_and_no_other(case: Case):
    check_own_slices(case, case.model())


@pytest.mark.parametrize("case", ALL_CASES)
def test_nothing_of_the_attention_outside_a_heads_slice_moves_it(case: Case):
    check_complements(case, case.model())


@pytest.mark.parametrize("case", ALL_CASES)
def test_every_tensor_in_a_heads_slice_moves_the_head(case: Case):
    model = case.model()
    for name, mask in components.resolve(model, f"{case.layer}h1").items():
        # A key's bias adds the same number to all scores of a query: softmax does not see it.
        if not re.search(r"(k|key|k_proj|k_lin)\.bias$|b_K$", name):
            assert changed_heads(case, model, {name: mask}) == [1], name


@pytest.mark.parametrize("case", ALL_CASES)
def test_shared_keys_and_values_move_their_group_of_heads(case: Case):
    model = case.model()
    names = [c.name for c in components.list(model) if c.name.startswith(f"{case.layer}kv")]
    if case.num_kv_heads == H:
        assert names == []
        return
    assert names == [f"{case.layer}kv{group}" for group in range(case.num_kv_heads)]
    size = H // case.num_kv_heads
    for group, name in enumerate(names):
        selection = components.resolve(model, name)
        assert changed_heads(case, model, selection) == [*range(group * size, (group + 1) * size)]


@pytest.mark.parametrize("case", ALL_CASES)
def test_no_head_has_a_share_of_what_is_shared_to_itself(case: Case):
    model = case.model()
    name = f"{attention_name(case)} shared"
    if name not in [component.name for component in components.list(model)]:
        return
    for tensor in components.resolve(model, name):
        size = model.get_parameter(tensor).shape
        for dim in range(len(size)):
            mask = torch.zeros(size, dtype=torch.bool)
            mask.narrow(dim, 0, -(-size[dim] // H)).fill_(True)
            moved = changed_heads(case, model, {tensor: mask})
            # A column of T5's table of relative positions is a head's, in all layers at once.
            assert len(moved) != 1 or "relative_attention_bias" in tensor, tensor


@pytest.mark.parametrize("case", ALL_CASES)
def test_heads_and_shared_parts_are_the_attention_each_weight_once(case: Case):
    model = case.model()
    whole = components.resolve(model, attention_name(case))
    parts = [components.resolve(model, f"{case.layer}h{head}") for head in range(H)]
    parts += shared_parts(case, model)
    counts = {name: torch.zeros_like(p, dtype=torch.int) for name, p in model.named_parameters()}
    for part in parts:
        for name, mask in part.items():
            counts[name] += 1 if mask is None else mask.int()
    for name, count in counts.items():
        assert count.unique().tolist() == [1 if name in whole else 0], name


@pytest.mark.slow
def test_a_norm_over_all_heads_at_once_couples_them():
    """OLMo 2 divides all queries by one norm: the documented exception to the rule above."""
    case = Case("olmo2", hugging_face("Olmo2ForCausalLM", "Olmo2Config"), LLAMA_OUTPUT)
    model = case.model()
    selection = components.resolve(model, "l0h1")
    assert changed_heads(case, model, selection) == [0, 1, 2, 3]
    unnormed = {name: mask for name, mask in selection.items() if re.search("[vo]_proj", name)}
    assert changed_heads(case, model, unnormed) == [1]


def lens_config(num_kv_heads: int | None) -> dict[str, object]:
    shape = {"n_layers": 2, "d_model": 16, "d_head": 4, "n_heads": H, "d_mlp": 24}
    return {
        **shape,
        "n_ctx": 8,
        "d_vocab": 11,
        "act_fn": "relu",
        "seed": 0,
        "n_key_value_heads": num_kv_heads,
    }


@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_heads_of_a_hooked_transformer(num_kv_heads: int | None):
    """TransformerLens before 4: weights stacked by head."""
    lens = pytest.importorskip("transformer_lens")
    hooked = pytest.importorskip(
        "transformer_lens.HookedTransformer", reason="gone from TransformerLens with 4.0"
    )

    def build() -> nn.Module:
        config = lens.HookedTransformerConfig(**lens_config(num_kv_heads), dtype=torch.float64)
        return hooked.HookedTransformer(config)

    case = Case("hooked", build, "blocks.0.attn", contributions=from_stacked_weights)
    model = case.model()
    check_own_slices(case, model)
    check_complements(case, model)
    groups = [c.name for c in components.list(model) if c.kind == "kv" and c.layer == 0]
    assert groups == [f"l0kv{group}" for group in range(num_kv_heads or 0)]


def test_heads_of_a_transformer_bridge():
    """TransformerLens from 4: linear modules inside wrappers."""
    native = pytest.importorskip("transformer_lens.model_bridge.sources.native")
    if not hasattr(native, "boot"):
        pytest.skip("came to TransformerLens with 4.0")
    wrapped = "._original_component"
    case = Case(
        "bridge",
        lambda: native.boot(lens_config(None)).original_model,
        f"layers.0{wrapped}.attn{wrapped}.o{wrapped}",
    )
    model = case.model()
    check_own_slices(case, model)
    check_complements(case, model)
    with pytest.raises(ValueError, match=r"names a parameter .* give that one, such as"):
        components.list(native.boot(lens_config(None)))
