"""A small decoder transformer whose every part has a name.

x = E[token] + P[position];  x ← x + Attn(LN(x));  x ← x + MLP(LN(x)) in each block;
logits = U LN(x).

Here: the architecture, its seeded initialisation, its two files on disk.
Not here: tasks it is trained on, the trainer (training.py), other architectures (models.py).
Dimensions: B samples, T positions, D model width, H heads, V vocabulary.
Source: arXiv:1706.03762 for attention, pre-norm blocks and initialisation as in GPT-2: N(0, σ²),
with the maps that write to the residual stream scaled by 1/√(number of such maps).
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODEL_TYPE = "creode-decoder"  # in config.json, so that a reader knows what the directory holds


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Shape of a `Decoder`; `mlp_ratio=0` makes it attention-only."""

    vocab_size: int
    d_model: int
    num_layers: int
    num_heads: int
    context_length: int
    mlp_ratio: float = 4.0  # hidden units of an MLP over d_model; 0: no MLP
    layer_norm: bool = True  # False: every norm is the identity
    bias: bool = True  # of the linear maps in blocks; the unembedding has none
    tied_embeddings: bool = False  # unembed.weight is embed.weight
    init_std: float = 0.02  # σ of the initial weights

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "num_layers", "num_heads", "context_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number ≥ 1, got {value!r}.")
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}; "
                "each head takes an equal share of the width."
            )
        for name in ("mlp_ratio", "init_std"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number ≥ 0, got {value!r}.")
        if self.mlp_ratio and not self.hidden_size:
            raise ValueError(
                f"mlp_ratio {self.mlp_ratio} of d_model {self.d_model} leaves no hidden unit; "
                "raise it, or give 0 for an attention-only decoder."
            )

    @property
    def hidden_size(self) -> int:
        """Hidden units of each MLP; 0 for an attention-only decoder."""
        return round(self.mlp_ratio * self.d_model)


class Attention(nn.Module):
    """Causal multi-head self-attention with separate query, key, value and output maps."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        width, bias = config.d_model, config.bias
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, width, bias=bias)
        self.v_proj = nn.Linear(width, width, bias=bias)
        self.o_proj = nn.Linear(width, width, bias=bias)

    def forward(self, x_BTD: Tensor, visible: Tensor | None) -> Tensor:
        """Attend causally; `visible` (B, 1, T, T): which keys a query sees, None: all up to it."""
        split = (*x_BTD.shape[:-1], self.num_heads, -1)
        q, k, v = (
            proj(x_BTD).view(split).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, is_causal=visible is None
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(x_BTD.shape))
        return out


class MLP(nn.Module):
    """down(gelu(up(x)))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.hidden_size, bias=config.bias)
        self.down = nn.Linear(config.hidden_size, config.d_model, bias=config.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Apply to each position by itself."""
        out: Tensor = self.down(F.gelu(self.up(x_BTD)))
        return out


def _norm(config: DecoderConfig) -> nn.Module:
    return nn.LayerNorm(config.d_model) if config.layer_norm else nn.Identity()


class Block(nn.Module):
    """x ← x + Attn(LN(x)), then x ← x + MLP(LN(x)) where there is an MLP."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attn_norm = _norm(config)
        self.attn = Attention(config)
        if config.hidden_size:
            self.mlp_norm = _norm(config)
            self.mlp: MLP | None = MLP(config)
        else:
            self.mlp = None

    def forward(self, x_BTD: Tensor, visible: Tensor | None) -> Tensor:
        """Add to the residual stream what this block writes."""
        x_BTD = x_BTD + self.attn(self.attn_norm(x_BTD), visible)
        if self.mlp is not None:
            x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return x_BTD


class Decoder(nn.Module):
    """A decoder transformer: `embed`, `positions`, `blocks.{i}.attn|mlp`, `norm`, `unembed`."""

    def __init__(self, config: DecoderConfig, *, seed: int = 0) -> None:
        """Build with weights drawn from `seed`; the global random state is not used."""
        super().__init__()
        self.config = config
        with torch.device("meta"):  # torch's own initialisation would draw globally
            self.embed = nn.Embedding(config.vocab_size, config.d_model)
            self.positions = nn.Embedding(config.context_length, config.d_model)
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
            self.norm = _norm(config)
            self.unembed = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.to_empty(device="cpu")
        if config.tied_embeddings:
            self.unembed.weight = self.embed.weight
        initialise(self, config, seed=seed)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each position.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 at tokens and 0 at padding, on either side. Tokens neither
                see padding nor count it in their position; logits at padding mean nothing.
        Raises:
            ValueError: more positions than the context length.
        """
        length = input_ids.shape[-1]
        if length > self.config.context_length:
            raise ValueError(
                f"input has {length} positions, the decoder's context_length is "
                f"{self.config.context_length}; cut the samples or build a longer decoder."
            )
        position, visible = _places(input_ids, attention_mask)
        x_BTD = self.embed(input_ids) + self.positions(position)
        for block in self.blocks:
            x_BTD = block(x_BTD, visible)
        logits: Tensor = self.unembed(self.norm(x_BTD))
        return logits

    def save(self, directory: str | Path) -> None:
        """Write config.json and model.safetensors, each whole or not at all."""
        from safetensors.torch import save_file

        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"model_type": MODEL_TYPE, **asdict(self.config)}
        partial = folder / "model.safetensors.partial"
        save_file({k: p.detach().contiguous() for k, p in self.named_parameters()}, partial)
        partial.replace(folder / "model.safetensors")
        partial = folder / "config.json.partial"
        partial.write_text(json.dumps(record, indent=2) + os.linesep, encoding="utf-8")
        partial.replace(folder / "config.json")

    @classmethod
    def load(cls, directory: str | Path) -> Decoder:
        """The decoder written by `save`, in the dtype it was saved in, in eval mode.

        Raises:
            ValueError: the directory is no decoder's, or its weights are missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(directory)
        model = cls(_read_config(folder))
        path = folder / "model.safetensors"
        if not path.is_file():
            raise ValueError(f"{folder}: no model.safetensors beside config.json.")
        try:
            weights = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: damaged or cut short ({error}); save it again.") from error
        own = dict(model.named_parameters())
        if weights.keys() != own.keys() or any(weights[k].shape != own[k].shape for k in own):
            raise ValueError(f"{path}: the weights do not fit the shape config.json gives.")
        model.to(weights["embed.weight"].dtype)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
        return model.eval()


@torch.no_grad()
def initialise(model: nn.Module, config: DecoderConfig, *, seed: int) -> None:
    """Draw the weights of a network of such blocks, from N(0, σ²) and smaller where they write.

    Biases become 0 and norms 1; the global random state is not used.
    """
    generator = torch.Generator().manual_seed(seed)
    writers = config.num_layers * (2 if config.hidden_size else 1)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:
            writes = name.endswith(("o_proj.weight", "down.weight"))
            std = config.init_std / math.sqrt(writers) if writes else config.init_std
            parameter.normal_(0.0, std, generator=generator)


def _places(input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Positions (T,) or (B, T), and which keys each query sees, (B, 1, T, T) or None for causal."""
    length = input_ids.shape[-1]
    if attention_mask is None:
        return torch.arange(length, device=input_ids.device), None
    real = attention_mask.bool()
    position = (real.long().cumsum(-1) - 1).clamp(min=0)
    ones = torch.ones(length, length, dtype=torch.bool, device=input_ids.device)
    # padding sees itself: not every kernel defines the softmax over nothing
    visible = (real[:, None, None, :] & ones.tril()) | torch.eye(
        length, dtype=torch.bool, device=input_ids.device
    )
    return position, visible


def _read_config(folder: Path) -> DecoderConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no config.json, so not a saved decoder.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}).") from error
    kind = record.pop("model_type", None) if isinstance(record, dict) else None
    if kind != MODEL_TYPE:
        raise ValueError(f"{path}: model_type is {kind!r}, a saved decoder has {MODEL_TYPE!r}.")
    known = {field.name for field in fields(DecoderConfig)}
    if unknown := sorted(record.keys() - known):
        raise ValueError(f"{path}: unknown fields {unknown}; known fields: {sorted(known)}.")
    return DecoderConfig(**record)
