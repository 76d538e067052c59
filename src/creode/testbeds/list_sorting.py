"""Sorting lists by one layer of attention, whose heads come to share the numbers out among them.

A sequence is a list of distinct numbers, a separator, and the list sorted: x₁ … x_L, SEP, y₁ … y_L.
Only the sorted part is predicted. A head sorts by attending from a number to the smallest larger
one in the list (query and key) and copying what it finds (value and output). Two heads can both do
so, or one for some numbers and the other for others: vocabulary-splitting.

Here: the lists, the untrained decoder, where its heads attend, and what each writes for the right
answer; from that, how far heads overlap and which ranges of numbers they hold.
Not here: training (training/), λ̂ of the checkpoints (geometry/). No λ is known.
Dimensions: N lists, L numbers of a list, T = 2L + 1 positions, V numbers, H heads, D model width.
Source: arXiv:2501.18666 for the task, a one-layer attention-only transformer and the two circuits.
Deviation: 48 numbers and lists of 8, for minutes instead of hours; the measure of overlap is ours.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import NextToken
from creode.testbeds.decoder import Block, Decoder, DecoderConfig
from creode.testbeds.induction import attention_patterns
from creode.testbeds.testbed import Testbed

NUMBERS = 48  # V: 0 … V − 1; the separator is the token after them
LENGTH = 8  # L
CONFIG = DecoderConfig(
    vocab_size=NUMBERS + 1,
    d_model=48,
    num_layers=1,
    num_heads=2,
    context_length=2 * LENGTH + 1,
    mlp_ratio=0,
    init_std=0.1,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ListSorting(Testbed):
    """An untrained decoder, lists to train it on, and lists it is not to see."""

    model: Decoder
    held_out: Samples


@dataclass(frozen=True, kw_only=True, eq=False)
class SortingHeads:
    """What each head does where number v is the right answer, a mean over lists.

    NaN where no list asks for v.
    """

    attention: Tensor  # (H, V), to the place in the list where v stands
    logit: Tensor  # (H, V), written for v, above what is written for the mean number

    @property
    def overlap(self) -> float:
        """What the second head writes for right answers over what the first does, in 0..1.

        Σ_v second largest / Σ_v largest of the heads' logits; below zero counts as zero. 0: each
        number is one head's alone. 1: two heads write every number alike.
        """
        most = self.logit[:, ~self.logit.isnan().any(0)].clamp(min=0).sort(0).values
        return float(most[-2].sum() / most[-1].sum())

    @property
    def holder(self) -> Tensor:
        """The head that writes most for each number, (V,) int64; −1 where no list asks for it."""
        absent = self.logit.isnan().any(0)
        return self.logit.nan_to_num().argmax(0).masked_fill(absent, -1)

    @property
    def num_ranges(self) -> int:
        """Stretches of neighbouring numbers with one holder; numbers not asked for are skipped."""
        holder = self.holder[self.holder >= 0]
        return 1 + int((holder[1:] != holder[:-1]).sum())


def list_sorting(
    *, num_heads: int = 2, num_samples: int = 32768, num_held_out: int = 1024, seed: int = 0
) -> ListSorting:
    """The task and an untrained decoder; the same seed gives the same lists and weights.

    Args:
        num_heads: H; widths of heads add up to the decoder's, so all H have as many weights.
        num_samples: N of the lists to train on.
        num_held_out: of the others. Lists are drawn independently: there are
            10¹³ of 8 out of 48, so the same list hardly comes twice.
        seed: of the lists and of the initial weights.

    Raises:
        ValueError: a count out of range.
    """
    if num_samples < 1 or num_held_out < 1:
        raise ValueError(
            f"needed: num_samples ≥ 1 and num_held_out ≥ 1; got {num_samples} and {num_held_out}."
        )
    generator = torch.Generator().manual_seed(seed)
    return ListSorting(
        model=Decoder(replace(CONFIG, num_heads=num_heads), seed=seed).eval(),
        task=NextToken(),
        data=sorted_lists(num_samples, generator),
        llc=None,
        multiplicity=None,
        held_out=sorted_lists(num_held_out, generator),
    )


def sorted_lists(num: int, generator: torch.Generator) -> Samples:
    """Sequences (N, T) of a list, the separator and the list sorted, and labels on the last."""
    numbers = torch.rand(num, NUMBERS, generator=generator).argsort(1)[:, :LENGTH]
    separator = torch.full((num, 1), NUMBERS)
    ids = torch.cat([numbers, separator, numbers.sort(1).values], 1)
    labels = ids.clone()
    labels[:, : LENGTH + 1] = NextToken().ignore_index
    return Samples(columns={"input_ids": ids, "labels": labels}, source="lists to sort")


@torch.no_grad()
def at_standard_scale(model: Decoder) -> Decoder:
    """A copy that computes the same from weights of standard sizes, so that λ̂ can be compared.

    Norms make sizes free: embeddings (with positions and what attention writes) can all be
    multiplied, and a norm's gain if the next weights are divided. Weight decay moves along these
    directions throughout training; one tether then allows ever larger changes of the function. Here
    the embedding gets the size of initial weights, gains the mean square 1, and values and outputs
    sizes equal to one another. What stays is the ε of the norms, 1e-5 beside the variance.

    Raises:
        ValueError: the decoder has more than one layer, MLPs, tied embeddings or no norms.
    """
    config = model.config
    _check_one_layer(model)
    if config.tied_embeddings or not config.layer_norm:
        raise ValueError("needed: norms, and embeddings that are not tied to the unembedding.")
    scaled = copy.deepcopy(model)
    block = scaled.blocks[0]
    assert isinstance(block, Block)
    attn, first, last = block.attn, block.attn_norm, scaled.norm
    assert isinstance(first, nn.LayerNorm)
    assert isinstance(last, nn.LayerNorm)
    embed = scaled.embed.weight
    stream = config.init_std * embed.numel() ** 0.5 / embed.norm()
    for parameter in (embed, scaled.positions.weight, *attn.o_proj.parameters()):
        parameter.mul_(stream)
    readers = (attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight)
    for norm, after in ((first, readers), (last, (scaled.unembed.weight,))):
        gain = config.d_model**0.5 / norm.weight.norm()
        for parameter in norm.parameters():
            parameter.mul_(gain)
        for parameter in after:
            parameter.div_(gain)
    balance = (attn.o_proj.weight.norm() / attn.v_proj.weight.norm()).sqrt()
    for parameter in attn.v_proj.parameters():
        parameter.mul_(balance)
    attn.o_proj.weight.div_(balance)
    return scaled


@torch.no_grad()
def sorting_accuracy(model: Decoder, data: Samples) -> float:
    """Share of the numbers of sorted lists that are told, each given those before it."""
    ids = data.columns["input_ids"]
    told = model(ids)[:, LENGTH:-1].argmax(-1)
    return float((told == ids[:, LENGTH + 1 :]).double().mean())


@torch.no_grad()
def sorting_heads(model: Decoder, data: Samples) -> SortingHeads:
    """Where heads attend and what they write, on `data` of `sorted_lists`, by the right answer.

    A head's logit is what it alone adds, through the final norm at the scale that the whole
    residual stream gives it, so that heads, embeddings and biases sum to the logits.

    Raises:
        ValueError: the decoder has more than one layer, or MLPs.
    """
    _check_one_layer(model)
    ids = data.columns["input_ids"]
    answers = ids[:, LENGTH + 1 :]
    (pattern,) = attention_patterns(model, ids)
    place = (ids[:, None, :LENGTH] == answers[:, :, None]).long().argmax(-1)
    place_NHL = place[:, None].expand(-1, pattern.shape[1], -1)
    attention = pattern[:, :, LENGTH:-1].gather(-1, place_NHL[..., None])[..., 0]
    logits = head_logits(model, ids, pattern)[:, :, LENGTH:-1]
    right = logits.gather(-1, answers[:, None, :, None].expand(*place_NHL.shape, 1))[..., 0]
    return SortingHeads(attention=_by_number(attention, answers), logit=_by_number(right, answers))


def head_logits(model: Decoder, ids: Tensor, pattern: Tensor) -> Tensor:
    """What each head adds to the logits of numbers (N, H, T, V), less its mean over numbers.

    Args:
        model: of one layer.
        ids: (N, T) tokens.
        pattern: (N, H, T, T), the attention of each query to each key.
    """
    x = model.embed(ids) + model.positions.weight[: ids.shape[1]]
    block = model.blocks[0]
    assert isinstance(block, Block)
    attn = block.attn
    heads = attn.num_heads
    seen = block.attn_norm(x) @ attn.v_proj.weight.T  # without the bias: it knows no number
    values = seen.view(*ids.shape, heads, -1).transpose(1, 2)
    out_DHd = attn.o_proj.weight.view(len(attn.o_proj.weight), heads, -1)
    written = torch.einsum("nhtd,ehd->nhte", pattern @ values, out_DHd)
    if isinstance(model.norm, nn.LayerNorm):
        stream = block(x, None)
        scale = (stream.var(-1, unbiased=False) + model.norm.eps).sqrt()[:, None, :, None]
        written = (written - written.mean(-1, keepdim=True)) / scale * model.norm.weight
    logits = written @ model.unembed.weight[:NUMBERS].T
    return logits - logits.mean(-1, keepdim=True)


def _by_number(values_NHL: Tensor, answers_NL: Tensor) -> Tensor:
    """Means (H, V) of values where each number is the answer; NaN where it is none."""
    index = answers_NL.flatten()
    summed = values_NHL.new_zeros(values_NHL.shape[1], NUMBERS)
    summed.index_add_(1, index, values_NHL.transpose(0, 1).flatten(1))
    return summed / index.bincount(minlength=NUMBERS)  # 0 / 0 is NaN


def _check_one_layer(model: Decoder) -> None:
    if model.config.num_layers != 1 or model.config.hidden_size:
        raise ValueError(
            "needed: one layer of attention alone; the decoder has "
            f"{model.config.num_layers} layers and mlp_ratio {model.config.mlp_ratio}."
        )
