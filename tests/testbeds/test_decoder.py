"""The decoder against a slow explicit one, and its invariances."""

import json
import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from creode.testbeds.decoder import Decoder, DecoderConfig, _places

SHAPE = {"vocab_size": 11, "d_model": 12, "num_layers": 2, "num_heads": 3, "context_length": 9}


def build(seed: int = 1, **options: object) -> Decoder:
    config = DecoderConfig(**(SHAPE | {"init_std": 0.4} | options))
    model = Decoder(config, seed=seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # biases and norms away from 0 and 1, so that they are seen
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model.eval()


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(11, (batch, length), generator=torch.Generator().manual_seed(seed))


def explicit_logits(w: dict[str, Tensor], ids: list[int], *, layers: int, heads: int) -> Tensor:
    """One sample, one query and one head at a time, from the equations."""

    def affine(x: Tensor, name: str) -> Tensor:
        y = w[f"{name}.weight"] @ x
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.weight" not in w:
            return x
        centred = x - x.mean()
        scaled = centred / torch.sqrt((centred**2).mean() + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    stream = [w["embed.weight"][i] + w["positions.weight"][t] for t, i in enumerate(ids)]
    size = len(stream[0]) // heads
    for layer in range(layers):
        at = f"blocks.{layer}"
        normed = [norm(x, f"{at}.attn_norm") for x in stream]
        q, k, v = ([affine(x, f"{at}.attn.{n}_proj") for x in normed] for n in "qkv")
        for t in range(len(ids)):
            mixed = []
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                scores = [q[t][part] @ k[s][part] / math.sqrt(size) for s in range(t + 1)]
                total = sum(s.exp() for s in scores)
                mixed.append(
                    sum(s.exp() / total * v[i][part] for i, s in enumerate(scores))  # type: ignore[misc]
                )
            stream[t] = stream[t] + affine(torch.cat(mixed), f"{at}.attn.o_proj")
        if f"{at}.mlp.up.weight" in w:
            for t, x in enumerate(stream):
                u = affine(norm(x, f"{at}.mlp_norm"), f"{at}.mlp.up")
                gelu = u * (1 + torch.erf(u / math.sqrt(2))) / 2
                stream[t] = x + affine(gelu, f"{at}.mlp.down")
    unembed = w.get("unembed.weight", w["embed.weight"])
    return torch.stack([unembed @ norm(x, "norm") for x in stream])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mlp_ratio": 0},
        {"mlp_ratio": 1.5, "bias": False},
        {"layer_norm": False},
        {"tied_embeddings": True},
    ],
)
def test_logits_are_those_of_an_explicit_decoder(options: dict[str, object]) -> None:
    model = build(**options)
    ids = tokens(3, 7)
    expected = torch.stack(
        [
            explicit_logits(dict(model.named_parameters()), row, layers=2, heads=3)
            for row in ids.tolist()
        ]
    )
    torch.testing.assert_close(model(ids), expected, rtol=1e-10, atol=1e-10)


def test_a_token_changes_no_logit_before_it() -> None:
    model, ids = build(), tokens(2, 8)
    changed = ids.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    difference = (model(ids) - model(changed)).abs().amax((0, 2))
    assert difference[:5].max() == 0
    assert difference[5:].min() > 1e-6


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_nothing(side: str) -> None:
    model, ids = build(), tokens(2, 5)
    pad = torch.zeros(2, 3, dtype=torch.long)
    parts = [pad, ids] if side == "left" else [ids, pad]
    marks = [pad, torch.ones_like(ids)] if side == "left" else [torch.ones_like(ids), pad]
    padded = model(torch.cat(parts, 1), attention_mask=torch.cat(marks, 1))
    real = padded[:, 3:] if side == "left" else padded[:, :5]
    torch.testing.assert_close(real, model(ids), rtol=1e-10, atol=1e-10)
    assert torch.isfinite(padded).all()
    _, visible = _places(torch.cat(parts, 1), torch.cat(marks, 1))
    assert visible is not None
    assert visible.any(-1).all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_vmapped_weights_are_those_of_a_loop(tied: bool, masked: bool) -> None:
    models = [build(seed, tied_embeddings=tied) for seed in (1, 2, 3)]
    ids = tokens(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0], [1] * 6]) if masked else None

    def loss(weights: dict[str, Tensor], model: Decoder) -> Tensor:
        logits = functional_call(model, weights, (ids, mask))
        return logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None]).mean()

    stacked, _ = stack_module_state(models)
    if tied:
        stacked.pop("unembed.weight", None)
    together = vmap(grad(loss), in_dims=(0, None))(stacked, models[0])
    for c, model in enumerate(models):
        alone = grad(loss)(dict(model.named_parameters()), model)
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name][c], value, rtol=1e-9, atol=1e-12)


def test_a_seed_fixes_the_weights_and_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    first, same, other = (Decoder(DecoderConfig(**SHAPE), seed=s) for s in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.embed.weight, other.embed.weight)


def test_initial_weights_have_the_scale_of_gpt2() -> None:
    config = DecoderConfig(
        vocab_size=300, d_model=128, num_layers=2, num_heads=4, context_length=100
    )
    weights = dict(Decoder(config, seed=0).named_parameters())
    for name, w in weights.items():
        if name.endswith("bias"):
            assert not w.any(), name
        elif "norm" in name:
            assert (w == 1).all(), name
        else:
            writes = "o_proj" in name or "down" in name
            std = 0.02 / math.sqrt(4) if writes else 0.02  # two maps a layer write to the stream
            assert abs(w.std().item() / std - 1) < 5 / math.sqrt(2 * w.numel()), name


def test_number_of_parameters_is_the_closed_form() -> None:
    v, d, t, layers, hidden = 5000, 256, 128, 2, 1024
    attention = 4 * (d * d + d) + 2 * d
    mlp = 2 * d * hidden + hidden + d + 2 * d
    outside = 2 * v * d + t * d + 2 * d
    for ratio, expected in (
        (0.0, outside + layers * attention),
        (4.0, outside + layers * (attention + mlp)),
    ):
        config = DecoderConfig(
            vocab_size=v, d_model=d, num_layers=layers, num_heads=8, context_length=t,
            mlp_ratio=ratio,
        )  # fmt: skip
        assert sum(p.numel() for p in Decoder(config).parameters()) == expected


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_saved_loads_as_it_was(tmp_path, tied: bool) -> None:
    model = build(tied_embeddings=tied)
    model.save(tmp_path / "model")
    loaded = Decoder.load(tmp_path / "model")
    assert loaded.config == model.config
    assert not loaded.training
    assert (loaded.unembed.weight is loaded.embed.weight) == tied
    for (name, a), (_, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert a.dtype == b.dtype == torch.float64, name
        assert torch.equal(a, b), name
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}


def test_loading_says_what_is_wrong(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json, so not a saved decoder"):
        Decoder.load(tmp_path)
    build().save(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    record = json.loads(config.read_text())
    config.write_text(json.dumps(record | {"num_layers": 3}))
    with pytest.raises(ValueError, match="weights do not fit the shape"):
        Decoder.load(tmp_path)
    config.write_text(json.dumps(record | {"colour": 1}))
    with pytest.raises(ValueError, match=r"unknown fields \['colour'\]"):
        Decoder.load(tmp_path)
    config.write_text(json.dumps(record | {"model_type": "llama"}))
    with pytest.raises(ValueError, match="model_type is 'llama'"):
        Decoder.load(tmp_path)
    config.write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        Decoder.load(tmp_path)
    config.write_text(json.dumps(record))
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match="damaged or cut short"):
        Decoder.load(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        Decoder.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "d_model 12 is not divisible by num_heads 5"),
        ({"num_layers": 0}, "num_layers must be a whole number ≥ 1, got 0"),
        ({"vocab_size": 2.5}, "vocab_size must be a whole number ≥ 1, got 2.5"),
        ({"mlp_ratio": -1}, "mlp_ratio must be a finite number ≥ 0, got -1"),
        ({"mlp_ratio": math.inf}, "mlp_ratio must be a finite number ≥ 0, got inf"),
        ({"mlp_ratio": 0.01}, "leaves no hidden unit"),
        ({"init_std": math.nan}, "init_std must be a finite number"),
    ],
)
def test_a_config_refuses_what_cannot_be_built(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**(SHAPE | options))


def test_more_positions_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input has 10 positions.*context_length is 9"):
        build()(tokens(1, 10))
