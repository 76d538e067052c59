"""Tiny networks of many architectures, and what each attention head of theirs adds to its output.

The truth here is the forward pass: a hook reads what enters the output projection, and the weights
of that projection say what each head makes of it. Nothing of creode is used.
Dimensions: B samples, T positions, D model width, H heads, d head dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

B, T, D, H, d = 2, 5, 16, 4, 4
VOCABULARY = 11
TOKENS = torch.randint(0, VOCABULARY, (B, T), generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True, eq=False)
class Case:
    """A network and the place of one of its attentions."""

    name: str
    build: Callable[[], nn.Module]
    output: str  # path of the output projection of the first layer
    layer: str = "l0"
    num_kv_heads: int = H
    run: Callable[[nn.Module], Any] = field(default=lambda model: model(TOKENS))
    contributions: Callable[[Case, nn.Module], Tensor] | None = None

    def __str__(self) -> str:
        return self.name

    def model(self) -> nn.Module:
        """In float64, every weight away from 0 and 1, no dropout."""
        torch.manual_seed(0)
        model = self.build().double().eval()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(0.5 * noise + (1.0 if parameter.ndim == 1 else 0.0))
        return model


def head_outputs(case: Case, model: nn.Module) -> Tensor:
    """What each head of the first layer writes, (H, B, T, D)."""
    with torch.no_grad():
        return (case.contributions or from_output_projection)(case, model)


def from_output_projection(case: Case, model: nn.Module) -> Tensor:
    """Head h writes z_h W_h, W_h being the columns of the output projection that read z_h."""
    seen: list[Tensor] = []
    projection = model.get_submodule(case.output)
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    case.run(model)
    handle.remove()
    z = seen[0].reshape(*seen[0].shape[:-1], H, -1)
    is_conv1d = type(projection).__name__ == "Conv1D"
    weight = projection.weight if is_conv1d else projection.weight.T  # (H d, D)
    return torch.einsum("...hd,hdm->h...m", z, weight.reshape(H, -1, weight.shape[-1]))


def from_torch_attention(case: Case, model: nn.Module) -> Tensor:
    """nn.MultiheadAttention calls no output module: zero the columns of all heads but one."""
    seen: list[tuple[Any, Any]] = []
    attention = model.get_submodule(case.output)
    handle = attention.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    case.run(model)
    handle.remove()
    args, kwargs = seen[0]
    width = attention.out_proj.weight.shape[1] // H
    outputs = []
    for head in range(H):
        weight = torch.zeros_like(attention.out_proj.weight)
        columns = slice(head * width, (head + 1) * width)
        weight[:, columns] = attention.out_proj.weight[:, columns]
        changed = {"out_proj.weight": weight, "out_proj.bias": torch.zeros(D, dtype=weight.dtype)}
        outputs.append(functional_call(attention, changed, args, kwargs)[0])
    return torch.stack(outputs)


def from_stacked_weights(case: Case, model: nn.Module) -> Tensor:
    """Head h writes z_h W_O[h], with z the output of the hook point `hook_z`, (B, T, H, d)."""
    seen: list[Tensor] = []
    attention = model.get_submodule(case.output)
    handle = attention.hook_z.register_forward_hook(lambda _, args, out: seen.append(out))
    case.run(model)
    handle.remove()
    return torch.einsum("bthd,hdm->hbtm", seen[0], attention.W_O)


class StackedAttention(nn.Module):
    """The parameter layout of TransformerLens: weights stacked by head."""

    def __init__(self, num_kv_heads: int) -> None:
        super().__init__()
        shared = num_kv_heads < H
        self.cfg = type("Config", (), {"n_heads": H, "d_head": d, "n_key_value_heads": None})()
        if shared:
            self.cfg.n_key_value_heads = num_kv_heads
        mark = "_" if shared else ""
        self.keys_and_values = [f"{mark}{name}" for name in ("W_K", "b_K", "W_V", "b_V")]
        self.W_Q = nn.Parameter(torch.empty(H, D, d))
        self.b_Q = nn.Parameter(torch.empty(H, d))
        self.W_O = nn.Parameter(torch.empty(H, d, D))
        self.b_O = nn.Parameter(torch.empty(D))
        for name in self.keys_and_values:
            size = (num_kv_heads, D, d) if "W" in name else (num_kv_heads, d)
            setattr(self, name, nn.Parameter(torch.empty(size)))
        self.hook_z = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        W_K, b_K, W_V, b_V = (
            getattr(self, name).repeat_interleave(H // len(getattr(self, name)), dim=0)
            for name in self.keys_and_values
        )
        q = torch.einsum("btm,hmd->bhtd", x, self.W_Q) + self.b_Q[:, None]
        k = torch.einsum("btm,hmd->bhtd", x, W_K) + b_K[:, None]
        v = torch.einsum("btm,hmd->bhtd", x, W_V) + b_V[:, None]
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        z = self.hook_z(z.transpose(1, 2))
        return torch.einsum("bthd,hdm->btm", z, self.W_O) + self.b_O


class StackedModel(nn.Module):
    def __init__(self, num_kv_heads: int = H) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, D)
        self.blocks = nn.ModuleList([StackedBlock(num_kv_heads) for _ in range(2)])
        self.unembed = nn.Linear(D, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + block.attn(block.ln1(x))
        return self.unembed(x)


class StackedBlock(nn.Module):
    def __init__(self, num_kv_heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(D)
        self.attn = StackedAttention(num_kv_heads)


class CausalSelfAttention(nn.Module):
    """The layout of nanoGPT: a fused linear module, queries, keys and values in blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.n_head = H
        self.c_attn = nn.Linear(D, 3 * D)
        self.c_proj = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        split = (x.shape[0], x.shape[1], H, d)
        q, k, v = (part.view(split).transpose(1, 2) for part in self.c_attn(x).split(D, dim=2))
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(z.transpose(1, 2).reshape(x.shape))


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(D, H, 24, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def run_torch_encoder(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    model.train()  # the fused path of eval mode calls no submodule; dropout is 0
    return model(torch.randn(B, T, D, dtype=torch.float64, generator=generator))


def cross_attention() -> nn.Module:
    """Keys and values of other widths than the queries, which torch then projects apart."""
    return nn.MultiheadAttention(D, H, kdim=6, vdim=7, add_bias_kv=True, batch_first=True)


def run_cross_attention(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shapes = ((B, T, D), (B, T, 6), (B, T, 7))
    return model(*(torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes))


def decoder() -> nn.Module:
    from creode.testbeds.decoder import Decoder, DecoderConfig

    return Decoder(
        DecoderConfig(vocab_size=VOCABULARY, d_model=D, num_layers=2, num_heads=H, context_length=8)
    )


def hugging_face(name: str, config: str, **shape: Any) -> Callable[[], nn.Module]:
    """A causal language model built from a config of these tests' size, nothing downloaded."""

    def build() -> nn.Module:
        import transformers

        sizes = {
            "num_hidden_layers": 2,
            "num_attention_heads": H,
            "hidden_size": D,
            "intermediate_size": 24,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 16,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }
        cls = getattr(transformers, config)
        return getattr(transformers, name)(cls(**{**sizes, **shape}))

    return build


LLAMA_OUTPUT = "model.layers.0.self_attn.o_proj"

CASES = [
    Case("decoder", decoder, "blocks.0.attn.o_proj"),
    Case(
        "torch-encoder",
        torch_encoder,
        "layers.0.self_attn",
        run=run_torch_encoder,
        contributions=from_torch_attention,
    ),
    Case(
        "torch-cross-attention",
        cross_attention,
        "",
        layer="attn ",
        run=run_cross_attention,
        contributions=from_torch_attention,
    ),
    Case("stacked", StackedModel, "blocks.0.attn", contributions=from_stacked_weights),
    Case(
        "stacked-grouped",
        lambda: StackedModel(2),
        "blocks.0.attn",
        num_kv_heads=2,
        contributions=from_stacked_weights,
    ),
    Case(
        "nanogpt",
        lambda: nn.Sequential(
            nn.Embedding(VOCABULARY, D), CausalSelfAttention(), CausalSelfAttention()
        ),
        "1.c_proj",
        layer="l1",
    ),
    Case("gpt2", hugging_face("GPT2LMHeadModel", "GPT2Config"), "transformer.h.0.attn.c_proj"),
    Case(
        "gpt-neox",
        hugging_face("GPTNeoXForCausalLM", "GPTNeoXConfig"),
        "gpt_neox.layers.0.attention.dense",
    ),
    Case(
        "llama-grouped",
        hugging_face("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2, attention_bias=True),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
]

MORE_CASES = [
    Case(
        "qwen3",
        hugging_face("Qwen3ForCausalLM", "Qwen3Config", num_key_value_heads=2, head_dim=6),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "qwen2-one-group",
        hugging_face("Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=1),
        LLAMA_OUTPUT,
        num_kv_heads=1,
    ),
    Case(
        "gemma3",
        hugging_face("Gemma3ForCausalLM", "Gemma3TextConfig", num_key_value_heads=2, head_dim=8),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "mistral",
        hugging_face("MistralForCausalLM", "MistralConfig", num_key_value_heads=2),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "phi3",
        hugging_face("Phi3ForCausalLM", "Phi3Config", num_key_value_heads=2),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "bloom",
        hugging_face("BloomForCausalLM", "BloomConfig", n_layer=2, n_head=H),
        "transformer.h.0.self_attention.dense",
    ),
    Case(
        "falcon-one-group",
        hugging_face("FalconForCausalLM", "FalconConfig", multi_query=True),
        "transformer.h.0.self_attention.dense",
        num_kv_heads=1,
    ),
    Case(
        "falcon-grouped",
        hugging_face(
            "FalconForCausalLM", "FalconConfig", new_decoder_architecture=True, num_kv_heads=2
        ),
        "transformer.h.0.self_attention.dense",
        num_kv_heads=2,
    ),
    Case(
        "falcon-by-head",
        hugging_face("FalconForCausalLM", "FalconConfig", multi_query=False, bias=True),
        "transformer.h.0.self_attention.dense",
    ),
    Case(
        "gpt-bigcode",
        hugging_face("GPTBigCodeForCausalLM", "GPTBigCodeConfig", multi_query=True),
        "transformer.h.0.attn.c_proj",
        num_kv_heads=1,
    ),
    Case(
        "gpt-bigcode-by-head",
        hugging_face("GPTBigCodeForCausalLM", "GPTBigCodeConfig", multi_query=False),
        "transformer.h.0.attn.c_proj",
    ),
    Case(
        "mpt",
        hugging_face("MptForCausalLM", "MptConfig", d_model=D, n_heads=H, n_layers=2),
        "transformer.blocks.0.attn.out_proj",
    ),
    Case(
        "persimmon",
        hugging_face("PersimmonForCausalLM", "PersimmonConfig"),
        "model.layers.0.self_attn.dense",
    ),
    Case(
        "opt",
        hugging_face("OPTForCausalLM", "OPTConfig", ffn_dim=24, word_embed_proj_dim=D),
        "model.decoder.layers.0.self_attn.out_proj",
    ),
    Case(
        "gpt-neo",
        hugging_face(
            "GPTNeoForCausalLM", "GPTNeoConfig", attention_types=[[["global", "local"], 1]]
        ),
        "transformer.h.0.attn.attention.out_proj",
    ),
    Case(
        "gpt-j",
        hugging_face("GPTJForCausalLM", "GPTJConfig", rotary_dim=4),
        "transformer.h.0.attn.out_proj",
    ),
    Case(
        "phi",
        hugging_face("PhiForCausalLM", "PhiConfig"),
        "model.layers.0.self_attn.dense",
    ),
    Case(
        "gemma2",
        hugging_face("Gemma2ForCausalLM", "Gemma2Config", num_key_value_heads=2, head_dim=8),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "smollm3",
        hugging_face("SmolLM3ForCausalLM", "SmolLM3Config", num_key_value_heads=2),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "gpt-oss",
        hugging_face(
            "GptOssForCausalLM",
            "GptOssConfig",
            num_key_value_heads=2,
            head_dim=4,
            num_local_experts=2,
            num_experts_per_tok=1,
            experts_implementation="eager",
        ),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "qwen3-next",
        hugging_face(
            "Qwen3NextForCausalLM",
            "Qwen3NextConfig",
            num_key_value_heads=2,
            head_dim=8,
            layer_types=["full_attention", "full_attention"],
            mlp_only_layers=[0, 1],
        ),
        LLAMA_OUTPUT,
        num_kv_heads=2,
    ),
    Case(
        "bert",
        hugging_face("BertForMaskedLM", "BertConfig"),
        "bert.encoder.layer.0.attention.output.dense",
    ),
    Case(
        "distilbert",
        hugging_face(
            "DistilBertForMaskedLM", "DistilBertConfig", dim=D, hidden_dim=24, n_heads=H, n_layers=2
        ),
        "distilbert.transformer.layer.0.attention.out_lin",
    ),
    Case(
        "modernbert",
        hugging_face("ModernBertForMaskedLM", "ModernBertConfig"),
        "model.layers.0.attn.Wo",
    ),
    Case(
        "t5",
        hugging_face(
            "T5ForConditionalGeneration", "T5Config", d_model=D, d_kv=d, d_ff=24, num_heads=H
        ),
        "encoder.block.0.layer.0.SelfAttention.o",
        layer="encoder l0",
        run=lambda model: model(input_ids=TOKENS, decoder_input_ids=TOKENS),
    ),
]
