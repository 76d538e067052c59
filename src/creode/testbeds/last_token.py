"""A one-layer decoder of short strings over a small alphabet, read at the last token.

Read there, a decoder of one layer asks one query, and its keys and values are of T·V possible
inputs, token v at position t, however many strings there are. So they are computed once a batch,
and a string is the set of inputs it has: all is products with these T·V rows.

    x_tv = E[v] + P[t];  k, v = W LN(x);  y = x_last + O Σ_{tv in string} softmax(q_last·k_tv) v_tv;
    logits = U LN(y + MLP(LN(y)))

Here: that forward pass; weights, names and initialisation are those of `Decoder`.
Not here: decoders of several layers, or read at every token (decoder.py).
Dimensions: B strings, T positions, V tokens, D model width, H heads, W = T·V inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from creode.testbeds.decoder import Block, Decoder, DecoderConfig


class LastTokenDecoder(Decoder):
    """A `Decoder` of one layer that gives its logits at each string's last token, (B, V)."""

    def __init__(self, config: DecoderConfig, *, seed: int = 0) -> None:
        """Build with weights drawn from `seed`, those of `Decoder(config, seed=seed)`.

        Raises:
            ValueError: more than one layer.
        """
        if config.num_layers != 1:
            raise ValueError(
                f"a decoder read from its inputs alone has one layer, got {config.num_layers}; "
                "use Decoder and take its logits at the last token."
            )
        super().__init__(config, seed=seed)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, V) at the last token of each string.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 at tokens, then 0 at padding; None: no padding.
        """
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        block = self.blocks[0]
        assert isinstance(block, Block)
        absent_BW, last_BW = self._inputs(input_ids, real.bool())
        x_WD = (self.positions.weight[: input_ids.shape[-1], None] + self.embed.weight).flatten(
            0, 1
        )
        normed = block.attn_norm(x_WD)
        heads = (-1, block.attn.num_heads, x_WD.shape[1] // block.attn.num_heads)
        k, v = (
            proj(normed).view(heads).transpose(0, 1)
            for proj in (block.attn.k_proj, block.attn.v_proj)
        )
        asked = last_BW @ torch.cat([x_WD, block.attn.q_proj(normed)], 1)
        y_BD, q = asked.chunk(2, 1)
        q = q.reshape(heads).transpose(0, 1) / heads[-1] ** 0.5
        scores_HBW = q @ k.transpose(1, 2) + absent_BW
        mixed = (scores_HBW.softmax(-1) @ v).transpose(0, 1).flatten(1)
        y_BD = y_BD + block.attn.o_proj(mixed)
        if block.mlp is not None:
            y_BD = y_BD + block.mlp(block.mlp_norm(y_BD))
        logits: Tensor = self.unembed(self.norm(y_BD))
        return logits

    def _inputs(self, input_ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """−∞ for the inputs a string does not have, and 1 for its last, both (B, W)."""
        tokens = torch.arange(self.config.vocab_size, device=input_ids.device)
        is_token = (input_ids[:, :, None] == tokens) & real[:, :, None]
        goes_on = F.pad(real[:, 1:], (0, 1))
        last = is_token & ~goes_on[:, :, None]
        dtype = self.embed.weight.dtype
        return is_token.flatten(1).to(dtype).log(), last.flatten(1).to(dtype)
