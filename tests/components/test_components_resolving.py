"""From a name, a glob or masks to a slice, and what is said where there is none."""

from __future__ import annotations

import pytest
import torch
from attention_cases import D, H, StackedModel, d, decoder, torch_encoder
from torch import nn

from creode import components


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return decoder()


def test_full_is_every_parameter_once_frozen_ones_too_and_no_buffer():
    model = nn.Sequential(nn.Embedding(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 5))
    model[2].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    assert components.resolve(model, "full") == dict.fromkeys(
        ["0.weight", "1.weight", "1.bias", "2.bias"]
    )
    assert list(components.resolve(model, "full")) == [n for n, _ in model.named_parameters()]


def test_a_head_is_its_rows_of_qkv_and_its_columns_of_o(model):
    selection = components.resolve(model, "l1h2")
    rows = torch.zeros(D, D, dtype=torch.bool)
    rows[2 * d : 3 * d] = True
    for name in ("q_proj", "k_proj", "v_proj"):
        assert torch.equal(selection.pop(f"blocks.1.attn.{name}.weight"), rows)
        assert torch.equal(selection.pop(f"blocks.1.attn.{name}.bias"), rows[:, 0])
    assert torch.equal(selection.pop("blocks.1.attn.o_proj.weight"), rows.T)
    assert not selection


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.1.mlp.up", ["blocks.1.mlp.up.weight", "blocks.1.mlp.up.bias"]),
        ("blocks.0.mlp.down.bias", ["blocks.0.mlp.down.bias"]),
        ("*.mlp.up.*", [f"blocks.{i}.mlp.up.{p}" for i in range(2) for p in ("weight", "bias")]),
        (
            "blocks.?.attn.[qk]_proj.bias",
            [f"blocks.{i}.attn.{p}_proj.bias" for i in range(2) for p in "qk"],
        ),
        (
            "unembed, *.up.bias,embed",
            ["embed.weight", "blocks.0.mlp.up.bias", "blocks.1.mlp.up.bias", "unembed.weight"],
        ),
        (
            "  l0   norm ",
            [f"blocks.0.{n}_norm.{p}" for n in ("attn", "mlp") for p in ("weight", "bias")],
        ),
    ],
)
def test_paths_globs_and_unions(model, name, expected):
    assert list(components.resolve(model, name).items()) == [
        (n, None) for n in sorted(expected, key=[n for n, _ in model.named_parameters()].index)
    ]


def test_a_union_of_heads_is_their_masks_together_and_of_all_whole_tensors(model):
    one, two = (components.resolve(model, f"l0h{head}") for head in (0, 3))
    both = components.resolve(model, "l0h0,l0h3")
    assert all(torch.equal(both[name], one[name] | two[name]) for name in both)
    heads = components.resolve(model, ",".join(f"l0h{head}" for head in range(H)))
    whole = components.resolve(model, "l0 attn")
    assert heads == {name: mask for name, mask in whole.items() if "o_proj.bias" not in name}
    assert components.resolve(model, "l0h1,l0") == components.resolve(model, "l0")


def test_a_selection_resolves_to_itself(model):
    for name in ("l0h1", "embed", "l1"):
        first = components.resolve(model, name)
        again = components.resolve(model, first)
        assert first.keys() == again.keys()
        for mask, other in zip(first.values(), again.values(), strict=True):
            assert (mask is None and other is None) or torch.equal(mask, other)


def test_masks_come_in_the_models_order_full_ones_as_none_empty_ones_not_at_all(model):
    masks = {
        "unembed.weight": torch.ones(11, D, dtype=torch.bool),
        "embed.weight": torch.arange(11)[:, None].expand(11, D) < 3,
        "norm.weight": torch.zeros(D, dtype=torch.bool),
    }
    selection = components.resolve(model, masks)
    assert list(selection) == ["embed.weight", "unembed.weight"]
    assert selection["unembed.weight"] is None
    assert selection["embed.weight"].sum() == 3 * D


def test_the_model_is_not_changed():
    model = decoder()
    before = {name: (p, p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    components.resolve(model, "l0h0,l1 mlp")
    components.list(model)
    for name, parameter in model.named_parameters():
        same, value, grad = before[name]
        assert parameter is same
        assert torch.equal(parameter, value)
        assert parameter.requires_grad == grad


UNKNOWN = {
    "l0h9": r"component 'l0h9': head 9 is not in 0\.\.3 \(4 heads\)\. Known: 'full', 'embed'.*"
    r"'l0h0'\.\.'l1h3'.*Close: 'l0h",
    "l7h0": r"component 'l7h0': layer 7 is not in 0\.\.1 \(model has 2 layers\)",
    "l2": r"component 'l2': layer 2 is not in 0\.\.1",
    "l5 mlp": r"component 'l5 mlp': layer 5 is not in 0\.\.1",
    "l0kv0": r"component 'l0kv0': no keys and values are shared; they belong to the heads, as l0h0",
    "l0 mpl": r"component 'l0 mpl': the model has no such part\. Known: .*Close: 'l0 mlp'",
    "blocks.0.mlp.upp": r"the model has no such part.*Close: 'blocks.0.mlp.up'",
    "": r"component '': the model has no such part",
    "l0,,l1": r"component '': the model has no such part",
    "*.nothing": r"component '\*.nothing': the pattern matches no parameter name; names look like "
    r"'embed.weight', 'positions.weight'",
}


@pytest.mark.parametrize(("name", "message"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_unknown_names_say_what_is_wrong_and_what_there_is(model, name, message):
    with pytest.raises(ValueError, match=message):
        components.resolve(model, name)


def test_heads_out_of_range_in_groups_and_where_there_is_no_attention():
    with pytest.raises(
        ValueError, match=r"key/value head 2 is not in 0\.\.1 \(2 key/value heads\)"
    ):
        components.resolve(StackedModel(2), "l0kv2")
    layer = nn.ModuleDict({"mlp": nn.Linear(2, 2)})
    model = nn.ModuleDict({"layers": nn.ModuleList([layer])})
    with pytest.raises(ValueError, match=r"component 'l0h0': l0 has no attention heads"):
        components.resolve(model, "l0h0")


def test_a_module_without_parameters_is_no_component():
    with pytest.raises(ValueError, match=r"component 'layers.0.dropout': this module holds no par"):
        components.resolve(torch_encoder(), "layers.0.dropout")


def test_a_name_that_means_two_things_is_refused():
    blocks = nn.ModuleList([nn.TransformerEncoderLayer(D, H, 24)])
    model = nn.ModuleDict({"blocks": blocks, "l0": nn.Linear(D, 2)})
    with pytest.raises(
        ValueError, match=r"component 'l0': this is both a part .* glob such as 'l0"
    ):
        components.resolve(model, "l0")
    assert list(components.resolve(model, "l0.*")) == ["l0.weight", "l0.bias"]


MASKS = {
    "unknown": ({"foo": torch.ones(2, dtype=torch.bool)}, r"mask 'foo': the model has no such"),
    "shape": (
        {"0.weight": torch.ones(2, 3, dtype=torch.bool)},
        r"mask '0.weight': expected the parameter's shape \(3, 2\), got \(2, 3\)",
    ),
    "dtype": ({"0.weight": torch.ones(3, 2)}, r"mask '0.weight': expected dtype torch.bool, got "),
    "nothing": (
        {"0.weight": torch.zeros(3, 2, dtype=torch.bool)},
        r"masks over '0.weight' select no weight",
    ),
    "empty": ({}, r"masks over no parameters select no weight"),
    "tied": (
        {"1.weight": torch.ones(3, 2, dtype=torch.bool)},
        r"mask '1.weight': this is the same tensor as '0.weight' \(tied weights\); give",
    ),
}


@pytest.mark.parametrize(("masks", "message"), MASKS.values(), ids=MASKS.keys())
def test_masks_that_do_not_fit_are_refused(masks, message):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=message):
        components.resolve(model, masks)


def test_other_types_are_refused():
    model = nn.Linear(2, 3)
    with pytest.raises(TypeError, match=r"mask 'weight': expected a bool tensor or None, got list"):
        components.resolve(model, {"weight": [True]})
    with pytest.raises(TypeError, match=r"a component is a name, a glob or a mapping .* got int"):
        components.resolve(model, 3)


def test_parameters_that_are_no_floats_are_refused_where_selected():
    model = nn.Sequential(nn.Linear(2, 3), nn.Module())
    model[1].codes = nn.Parameter(torch.ones(4, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match=r"parameter '1.codes' has dtype torch.int8, which cannot"):
        components.resolve(model, "full")
    assert set(components.resolve(model, "0")) == {"0.weight", "0.bias"}


def test_a_model_without_parameters_has_no_components():
    with pytest.raises(ValueError, match=r"component 'full': the model has no parameters"):
        components.resolve(nn.ReLU(), "full")
    assert components.list(nn.ReLU()) == ()
