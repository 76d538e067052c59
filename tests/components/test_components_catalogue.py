"""Names of parts: what there is, how many weights, that nothing is left out or counted twice."""

from __future__ import annotations

import pytest
import torch
from attention_cases import (
    CASES,
    MORE_CASES,
    VOCABULARY,
    CausalSelfAttention,
    D,
    H,
    d,
    decoder,
    hugging_face,
    torch_encoder,
)
from torch import nn

from creode import components
from creode.components import Component

BUILDERS = [
    *(pytest.param(case.build, id=case.name) for case in CASES if case.name != "nanogpt"),
    *(pytest.param(c.build, id=c.name, marks=pytest.mark.slow) for c in MORE_CASES),
    pytest.param(
        hugging_face("MambaForCausalLM", "MambaConfig"), id="mamba", marks=pytest.mark.slow
    ),
    pytest.param(
        hugging_face("ViTForImageClassification", "ViTConfig", image_size=8, patch_size=4),
        id="vit",
        marks=pytest.mark.slow,
    ),
    pytest.param(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), id="mlp"),
    pytest.param(lambda: nn.Transformer(D, H, 2, 2, 24, batch_first=True), id="encoder-decoder"),
]


def names(model: nn.Module, **fields: object) -> list[str]:
    """Names of the components whose fields have these values."""
    listed = components.list(model)
    return [c.name for c in listed if all(getattr(c, k) == v for k, v in fields.items())]


def times_covered(model: nn.Module, parts: list[str]) -> dict[str, torch.Tensor]:
    """How many of `parts` each weight is in."""
    counts = {name: torch.zeros_like(p, dtype=torch.int) for name, p in model.named_parameters()}
    for part in parts:
        for name, mask in components.resolve(model, part).items():
            counts[name] += 1 if mask is None else mask.int()
    return counts


class Block(nn.Module):
    """Attention, MLP and norms side by side, projections in the block itself."""

    def __init__(self, **extra: nn.Module) -> None:
        super().__init__()
        self.num_heads = H
        self.ln = nn.LayerNorm(D)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(D, D))
        self.fc1 = nn.Linear(D, 3 * D)
        self.fc2 = nn.Linear(3 * D, D)
        self.scale = nn.Parameter(torch.ones(()))
        for name, module in extra.items():
            setattr(self, name, module)


class SelfAttention(nn.Module):
    """Linear modules under the given names, as an attention of this file's size."""

    def __init__(self, num_heads: int | None = H, **widths: int) -> None:
        super().__init__()
        if num_heads is not None:
            self.num_heads = num_heads
        for name, width in widths.items():
            setattr(self, name, nn.Linear(D, width))


SEPARATE = {"q_proj": D, "k_proj": D, "v_proj": D, "o_proj": D}


def one_layer(attention: nn.Module) -> nn.Module:
    """A network of one layer around `attention`."""
    layer = nn.ModuleDict({"self_attn": attention, "mlp": nn.Linear(D, D)})
    return nn.ModuleDict({"embed": nn.Embedding(5, D), "layers": nn.ModuleList([layer])})


def test_the_decoders_parts_have_the_sizes_of_their_formulas():
    model = decoder()
    linear = D * D + D
    head = 3 * (d * D + d) + D * d
    mlp = (D * 4 * D + 4 * D) + (4 * D * D + D)
    expected = [("embed", "embed", VOCABULARY * D, None, None), ("pos_embed", "embed", 8 * D)]
    for i in range(2):
        expected += [
            (f"l{i}", "layer", 4 * linear + mlp + 4 * D, i),
            (f"l{i} attn", "attention", 4 * linear, i),
            *((f"l{i}h{h}", "head", head, i, h) for h in range(H)),
            (f"l{i} attn shared", "shared", D, i),
            (f"l{i} mlp", "mlp", mlp, i),
            (f"l{i} norm", "norm", 4 * D, i),
        ]
    expected += [("norm", "norm", 2 * D), ("unembed", "unembed", D * VOCABULARY)]
    total = sum(p.numel() for p in model.parameters())
    assert list(components.list(model)) == [
        Component(
            **dict(zip(("name", "kind", "num_parameters", "layer", "head"), row, strict=False))
        )
        for row in [("full", "full", total), *expected]
    ]


@pytest.mark.parametrize("build", BUILDERS)
def test_sizes_are_those_of_the_slices(build):
    model = build()
    parameters = dict(model.named_parameters())
    for component in components.list(model):
        selection = components.resolve(model, component.name)
        size = sum(
            parameters[name].numel() if mask is None else int(mask.sum())
            for name, mask in selection.items()
        )
        assert component.num_parameters == size > 0, component


@pytest.mark.parametrize("build", BUILDERS)
def test_layers_embeddings_and_the_rest_are_the_network_each_weight_once(build):
    model = build()
    listed = components.list(model)
    inside = {"full", "head", "kv", "shared"}
    parts = [c.name for c in listed if c.kind == "layer"]
    parts += [c.name for c in listed if c.layer is None and c.kind not in inside]
    for name, count in times_covered(model, parts).items():
        assert count.eq(1).all(), name


@pytest.mark.parametrize("build", BUILDERS)
def test_the_parts_of_a_layer_are_the_layer_each_weight_once(build):
    model = build()
    listed = components.list(model)
    kinds = {"attention", "mlp", "norm", "module"}
    for layer in names(model, kind="layer"):
        parts = [c.name for c in listed if c.name.startswith(f"{layer} ") and c.kind in kinds]
        inside = components.resolve(model, layer) if parts else {}
        for name, count in times_covered(model, parts).items():
            assert count.eq(int(name in inside)).all(), (layer, name)


def test_tied_embeddings_are_embed_and_unembed_says_so():
    model = hugging_face("GPT2LMHeadModel", "GPT2Config")()
    assert components.resolve(model, "embed") == {"transformer.wte.weight": None}
    assert "unembed" not in names(model)
    for name in ("unembed", "lm_head", "lm_head.weight", "lm_head.*"):
        with pytest.raises(ValueError, match=r"'lm_head.weight' is the same tensor as 'transf"):
            components.resolve(model, name)


def test_an_embedding_tied_to_an_earlier_unembedding_is_still_embed():
    model = nn.ModuleDict({"unembed": nn.Linear(D, 5), "embed": nn.Embedding(5, D)})
    model["embed"].weight = model["unembed"].weight
    assert components.resolve(model, "embed") == {"unembed.weight": None}
    with pytest.raises(ValueError, match=r"use 'embed'.*of its own: unembed.bias"):
        components.resolve(model, "unembed")
    assert components.resolve(model, "unembed.bias") == {"unembed.bias": None}
    assert names(model) == ["full", "embed", "unembed.bias"]


def test_untied_embeddings_are_two_components():
    model = decoder()
    assert components.resolve(model, "embed") == {"embed.weight": None}
    assert components.resolve(model, "unembed") == {"unembed.weight": None}


def test_a_layer_whose_weights_are_another_layers_is_refused():
    model = torch_encoder()
    model.layers[1].load_state_dict(model.layers[0].state_dict())
    for path, parameter in list(model.layers[0].named_parameters()):
        parent, _, last = path.rpartition(".")
        setattr(model.layers[1].get_submodule(parent), last, parameter)
    assert not names(model, layer=1)
    with pytest.raises(ValueError, match=r"component 'l1h2': .*same tensor as 'layers.0.self_attn"):
        components.resolve(model, "l1h2")


def test_layers_of_two_stacks_are_told_apart_by_their_paths():
    model = nn.Transformer(D, H, 1, 2, 24, batch_first=True)
    assert names(model, kind="layer") == ["encoder l0", "decoder l0", "decoder l1"]
    assert names(model, kind="attention", layer=1) == [
        "decoder l1 self_attn",
        "decoder l1 multihead_attn",
    ]
    head = components.resolve(model, "decoder l1 multihead_attn h3")
    assert set(head) == {
        f"decoder.layers.1.multihead_attn.{name}"
        for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight")
    }
    rows = head["decoder.layers.1.multihead_attn.in_proj_weight"][:, 0].nonzero().flatten()
    assert rows.tolist() == [*range(12, 16), *range(28, 32), *range(44, 48)]


def test_layers_in_a_sequential_are_what_attends():
    model = nn.Sequential(nn.Embedding(5, D), Block(), Block(), nn.Linear(D, 5))
    assert names(model, kind="layer") == ["l1", "l2"]
    assert names(model, layer=None) == ["full", "embed", "unembed"]


def test_projections_in_the_block_itself_are_its_attention():
    model = nn.ModuleDict({"layers": nn.ModuleList([Block()])})
    sizes = {c.name: c.num_parameters for c in components.list(model)}
    assert sizes["l0 attn"] == 4 * (D * D + D)
    assert sizes["l0 mlp"] == 2 * 3 * D * D + 4 * D
    assert sizes["l0 norm"] == 2 * D
    assert sizes["l0 scale"] == 1
    assert sizes["l0h0"] == 3 * (d * D + d) + D * d


def test_a_second_attention_inside_a_block_is_told_from_the_blocks_own():
    model = nn.ModuleDict({"layers": nn.ModuleList([Block(cross=nn.MultiheadAttention(D, H))])})
    sizes = {c.name: c.num_parameters for c in components.list(model)}
    assert sizes["l0 attn"] == sizes["l0 cross"] == 4 * (D * D + D)
    assert set(components.resolve(model, "l0 cross h0")) == {
        f"layers.0.cross.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight")
    }
    assert "layers.0.q_proj.weight" in components.resolve(model, "l0 attn h0")


def test_an_attention_in_no_layer_goes_by_its_path():
    model = nn.ModuleDict({"mix": nn.MultiheadAttention(D, H), "out": nn.Linear(D, 1)})
    assert names(model) == [
        "full",
        "mix",
        *(f"mix h{head}" for head in range(H)),
        "mix shared",
        "out",
    ]
    assert set(components.resolve(model, "mix")) == {
        "mix.in_proj_weight",
        "mix.in_proj_bias",
        "mix.out_proj.weight",
        "mix.out_proj.bias",
    }


def test_a_network_without_attention_has_its_modules_as_layers():
    model = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
    )
    assert [(c.name, c.kind, c.layer) for c in components.list(model)] == [
        ("full", "full", None),
        ("0", "layer", 0),
        ("2.0", "norm", None),
        ("2.1", "layer", 2),
    ]


def test_parameters_held_by_the_root_are_components():
    model = nn.ParameterDict({"W": torch.ones(2, 3), "b": torch.ones(2)})
    assert [(c.name, c.num_parameters) for c in components.list(model)] == [
        ("full", 8),
        ("W", 6),
        ("b", 2),
    ]


class Wrapper(nn.Module):
    """Holds the module it stands for, as torch.compile and bridges of TransformerLens do."""

    def __init__(self, key: str, module: nn.Module) -> None:
        super().__init__()
        setattr(self, key, module)


def test_wrappers_are_looked_through():
    plain = one_layer(SelfAttention(**SEPARATE))
    wrapped = one_layer(SelfAttention(**SEPARATE))
    attention = wrapped["layers"][0]["self_attn"]
    for name in SEPARATE:
        setattr(attention, name, Wrapper("_original_component", getattr(attention, name)))
    wrapped = Wrapper("_orig_mod", wrapped)
    assert components.list(wrapped) == components.list(plain)
    inside = "_orig_mod.layers.0.self_attn"
    assert list(components.resolve(wrapped, "l0h0")) == [
        f"{inside}.{path}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
        for path in (f"{name}._original_component.weight", f"{name}._original_component.bias")
        if path != "o_proj._original_component.bias"
    ]


UNCLEAR = {
    "fused": (
        SelfAttention(qkv=3 * D, proj=D),
        r"a fused projection 'qkv' of SelfAttention, whose order .* is not known",
    ),
    "gated": (
        SelfAttention(**SEPARATE, gate_proj=D),
        r"projections q=q_proj, k=k_proj, v=v_proj, o=o_proj, and beside them gate_proj.weight",
    ),
    "two outputs": (SelfAttention(**SEPARATE, out_proj=D), r"several projections of one role"),
    "no output": (
        SelfAttention(q_proj=D, k_proj=D, v_proj=D),
        r"projections q=q_proj, k=k_proj, v=v_proj but no output projection",
    ),
    "fused and separate": (SelfAttention(**SEPARATE, qkv=3 * D), r"both a fused and separate"),
    "latent": (
        SelfAttention(q_a_proj=D, kv_a_proj=D, o_proj=D),
        r"no query, key and value projections recognised among q_a_proj \(Linear\)",
    ),
    "no number": (SelfAttention(None, **SEPARATE), r"no number of heads on the module or its"),
    "indivisible": (SelfAttention(5, **SEPARATE), r"5 heads do not divide the output projection"),
    "wide queries": (
        SelfAttention(H, **{**SEPARATE, "q_proj": 2 * D}),
        r"4 heads do not fit the projections' sizes \(q_proj=32, k_proj=16",
    ),
    "unequal groups": (
        SelfAttention(H, **{**SEPARATE, "k_proj": 3 * d, "v_proj": 3 * d}),
        r"4 heads do not fit the projections' sizes",
    ),
}


@pytest.mark.parametrize(("attention", "reason"), UNCLEAR.values(), ids=UNCLEAR.keys())
def test_heads_that_cannot_be_told_are_refused_and_the_rest_works(attention, reason):
    model = one_layer(attention)
    for name in ("l0h0", "l0kv0"):
        with pytest.raises(ValueError, match=rf"component '{name}': the heads of .*{reason}.*mask"):
            components.resolve(model, name)
    inside = {f"layers.0.self_attn.{name}" for name, _ in attention.named_parameters()}
    assert set(components.resolve(model, "l0 attn")) == inside
    assert set(components.resolve(model, "l0 mlp")) == {
        "layers.0.mlp.weight",
        "layers.0.mlp.bias",
    }
    assert names(model, kind="head") == []


@pytest.mark.parametrize("attribute", ["num_key_value_heads", "head_dim"])
def test_a_config_at_odds_with_the_shapes_is_refused(attribute):
    attention = SelfAttention(**SEPARATE)
    setattr(attention, attribute, 2)
    with pytest.raises(ValueError, match=r"give 4 .* but the module or its config says 2"):
        components.resolve(one_layer(attention), "l0h0")


def test_the_number_of_heads_is_read_from_parents_and_configs():
    attention = SelfAttention(None, **SEPARATE)
    model = one_layer(attention)
    model.config = type("Config", (), {"n_head": 2})()
    assert names(model, kind="head") == ["l0h0", "l0h1"]
    attention.head_dim = 8
    model.config = None
    assert names(model, kind="head") == ["l0h0", "l0h1"]


def test_a_computed_weight_has_no_heads():
    model = torch_encoder()
    nn.utils.parametrizations.weight_norm(model.layers[0].self_attn.out_proj)
    with pytest.raises(ValueError, match=r"out_proj.weight' is computed and no parameter itself"):
        components.resolve(model, "l0h0")
    assert "l1h0" in names(model)


def test_a_model_that_renames_its_parameters_is_refused():
    class Renaming(nn.Linear):
        def named_parameters(self, *args, **kwargs):
            for name, parameter in super().named_parameters(*args, **kwargs):
                yield f"inner.{name}", parameter

    with pytest.raises(ValueError, match=r"Renaming names a parameter 'inner.weight'"):
        components.list(Renaming(2, 2))


def test_the_catalogue_prints_as_a_table():
    lines = str(components.list(nn.Sequential(nn.Linear(30, 40)))).splitlines()
    assert lines == [
        "name  kind       parameters",
        "full  full            1,240",
        "0     layer           1,240",
    ]


def test_nanogpt_blocks_without_a_list():
    model = nn.ModuleDict({"attn": CausalSelfAttention(), "head": nn.Linear(D, 3)})
    assert names(model, kind="head") == [f"attn h{head}" for head in range(H)]
