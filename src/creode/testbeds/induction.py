"""Small attention-only decoders that continue repeated random sequences by an induction circuit.

A previous-token head (layer 0) writes to each position which token came before; an induction head
(layer 1) looks for positions whose previous token is the current one, and copies what stands there.

Here: the sequences, a decoder trained on them, and which of its heads are the circuit, judged by
where they attend and by nothing else. Segments may be of a Markov chain, so that there are bigrams
to learn before the circuit.
Not here: the architecture (decoder.py); how the heads are found again (response/).
Some seeds find other means (layer 0 looks up, layer 1 shifts) and have no such circuit: they raise.
All heads of a layer learn to share the work: scores are graded, and a threshold decides.
Dimensions: N samples, T positions, V vocabulary, H heads of a layer, D width of a head.
Source: Olsson et al. 2022, arXiv:2209.11895, for the circuit and both scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creode.data import Samples
from creode.tasks import NextToken
from creode.testbeds.decoder import Attention, Decoder, DecoderConfig
from creode.testbeds.testbed import Testbed

CONFIG = DecoderConfig(
    vocab_size=32,
    d_model=32,
    num_layers=2,
    num_heads=4,
    context_length=32,
    mlp_ratio=0,
    init_std=0.1,
)
PERIODS = (10, 16)  # shortest and longest segment that is repeated
PARTLY = (6, 16)  # the same, where sequences repeat in part
UNREPEATED = 0.3  # share of these that do not repeat at all
PREFIX_MATCHING = 0.5  # from which on a head is an induction head: most of its attention
SHARPNESS = 1.0  # of bigrams: the next token of a chain then has about 3 nats of log 32 = 3.5
OF_UNIFORM = 2.0  # times what uniform attention scores, from which on one is a previous-token head
BATCH = 32  # samples of a training step


@dataclass(frozen=True, kw_only=True, eq=False)
class Induction(Testbed):
    """A trained decoder, repeated sequences it was not trained on, and where its heads attend."""

    model: Decoder
    steps: int  # it was trained for
    prefix_matching: dict[str, float]  # by head: attention to what followed earlier occurrences
    previous_token: dict[str, float]  # by head: attention to the position before
    init_loss: dict[str, float]  # mean loss of first and of later copies, nats per token

    @property
    def circuit(self) -> tuple[str, ...]:
        """The previous-token heads and the induction heads."""
        return tuple(
            name
            for name, score in self.prefix_matching.items()
            if score >= PREFIX_MATCHING or self.previous_token[name] >= previous_token_threshold()
        )


def induction_decoder(*, steps: int = 1000, num_samples: int = 32, seed: int = 0) -> Induction:
    """Train a decoder on repeated sequences until it has a circuit; the same seed, same weights.

    Sequences are new at each step.

    Args:
        steps: of training. Where no circuit has formed, training begins anew with twice as many.
        num_samples: N, of the sequences handed out with it.
        seed: of the sequences and the initial weights.

    Raises:
        ValueError: a count out of range.
        ArithmeticError: no induction head or no previous-token head formed in either.
    """
    if steps < 1 or num_samples < 1:
        raise ValueError(f"needed: steps ≥ 1 and num_samples ≥ 1; got {steps} and {num_samples}.")
    for longer in (1, 2):
        found = _trained(longer * steps, num_samples, seed)
        if {head[:2] for head in found.circuit} == {"l0", "l1"}:
            return found
    raise ArithmeticError(
        f"no circuit formed with seed {seed} in {2 * steps} steps: the best prefix-matching score "
        f"is {max(found.prefix_matching.values()):.2f} (needed: {PREFIX_MATCHING}) and the best "
        f"previous-token score {max(found.previous_token.values()):.2f} (needed: "
        f"{previous_token_threshold():.2f}); train longer or choose another seed."
    )


def _trained(steps: int, num_samples: int, seed: int) -> Induction:
    generator = torch.Generator().manual_seed(seed)
    model = Decoder(CONFIG, seed=seed)
    train(model, steps, generator)
    data = repeated_tokens(num_samples, generator)
    prefix_matching, previous_token = head_scores(model, data)
    return Induction(
        model=model.eval(),
        task=NextToken(),
        data=data,
        llc=None,
        multiplicity=None,
        steps=steps,
        prefix_matching=prefix_matching,
        previous_token=previous_token,
        init_loss={name: _mean_loss(model, part) for name, part in copies(data).items()},
    )


def previous_token_threshold() -> float:
    """`OF_UNIFORM` times the mean, over positions, of uniform attention to the one before."""
    length = CONFIG.context_length
    return OF_UNIFORM * sum(1 / seen for seen in range(2, length + 1)) / (length - 1)


def repeated_tokens(num: int, generator: torch.Generator) -> Samples:
    """Sequences (N, T) of a random segment of distinct tokens, again and again.

    The length of the segment differs between sequences (column `period`), so that positions alone
    do not tell what comes next.
    """
    period = _periods(num, generator, PERIODS)
    segment = torch.rand(num, CONFIG.vocab_size, generator=generator).argsort(1)
    return _repeated(segment, period, "repeated tokens")


def repeated_chains(num: int, generator: torch.Generator, transitions: Tensor) -> Samples:
    """Sequences (N, T) of a segment of a Markov chain, again and again, else as repeated_tokens.

    Args:
        num: N.
        generator: of the segments and their lengths.
        transitions: (V, V), P(column follows row); the first token of a segment is any.
    """
    period = _periods(num, generator, PERIODS)
    segment = _chains(num, PERIODS[1], generator, transitions)
    return _repeated(segment, period, "repeated segments of a Markov chain")


def partly_repeated_chains(num: int, generator: torch.Generator, transitions: Tensor) -> Samples:
    """Sequences (N, T) of a Markov chain whose first segment is repeated for a while, or not.

    After the segment come `repeated` tokens (a column, N) that repeat it, then the chain goes on.
    `UNREPEATED` of the sequences have none, the others anything up to their whole rest.
    Arguments are as of repeated_chains.
    """
    length = CONFIG.context_length
    ids = _chains(num, length, generator, transitions)
    period = _periods(num, generator, PARTLY)
    share = (torch.rand(num, generator=generator) - UNREPEATED).clamp(min=0) / (1 - UNREPEATED)
    repeated = (share * (length - period)).round().long()
    place = torch.arange(length).expand(num, length)
    repeats = place < (period + repeated)[:, None]
    ids = ids.gather(1, torch.where(repeats, place % period[:, None], place))
    return Samples(
        columns={"input_ids": ids, "period": period, "repeated": repeated},
        source="partly repeated segments of a Markov chain",
    )


def bigrams(generator: torch.Generator, sharpness: float = SHARPNESS) -> Tensor:
    """Transitions (V, V) of a random Markov chain: softmax of `sharpness` times normal numbers."""
    size = CONFIG.vocab_size
    return (sharpness * torch.randn(size, size, generator=generator)).softmax(-1)


def _chains(num: int, length: int, generator: torch.Generator, transitions: Tensor) -> Tensor:
    """Tokens (N, length) of a Markov chain that begins anywhere."""
    tokens = [torch.randint(CONFIG.vocab_size, (num,), generator=generator)]
    for _ in range(length - 1):
        tokens.append(torch.multinomial(transitions[tokens[-1]], 1, generator=generator)[:, 0])
    return torch.stack(tokens, 1)


def _periods(num: int, generator: torch.Generator, between: tuple[int, int]) -> Tensor:
    low, high = between
    return torch.randint(low, high + 1, (num,), generator=generator)


def _repeated(segment: Tensor, period: Tensor, source: str) -> Samples:
    place = torch.arange(CONFIG.context_length) % period[:, None]
    return Samples(columns={"input_ids": segment.gather(1, place), "period": period}, source=source)


def train(
    model: Decoder,
    steps: int,
    generator: torch.Generator,
    *,
    sequences: Callable[[int, torch.Generator], Samples] = repeated_tokens,
    on_step: Callable[[int], object] | None = None,
) -> None:
    """Train in place, on new sequences at each step.

    Args:
        model: is changed.
        steps: of AdamW, its rate rising over 100 of them and falling to zero along a cosine.
        generator: of the sequences.
        sequences: given their number and the generator, those of a step.
        on_step: called with the number of steps done, 0 to `steps`; a CheckpointSaver, say. It must
            leave the model and the generator as they are.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / 100) * (1 + math.cos(math.pi * step / steps)) / 2,
    )
    task = NextToken()
    for step in range(steps):
        if on_step is not None:
            on_step(step)
        losses = task(model, sequences(BATCH, generator).columns)
        optimizer.zero_grad()
        losses.values[losses.mask].mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    if on_step is not None:
        on_step(steps)


def copies(data: Samples) -> dict[str, Samples]:
    """The sequences with labels on "first" or on "second" (and later) copies only.

    The first token of the second copy counts as of the first: nothing says that it begins.
    """
    ids, period = data.columns["input_ids"], data.columns["period"]
    second = torch.arange(ids.shape[1]) > period[:, None]
    ignored = NextToken().ignore_index
    return {
        name: Samples(
            columns={"input_ids": ids, "labels": ids.masked_fill(~counted, ignored)},
            source=f"{data.source}, {name} copies",
        )
        for name, counted in (("first", ~second), ("second", second))
    }


@torch.no_grad()
def head_scores(model: Decoder, data: Samples) -> tuple[dict[str, float], dict[str, float]]:
    """Prefix-matching and previous-token scores by head ("l0h0", …), each in 0..1.

    Prefix matching is the attention, of a token in the second copy or later, to the tokens that
    followed its earlier occurrences, summed over these and averaged over such tokens; the other is
    the mean attention to the position before.
    """
    ids, period = data.columns["input_ids"], data.columns["period"]
    occurred = (ids[:, :, None] == ids[:, None, :]).tril(-1)
    followers = torch.zeros_like(occurred)
    followers[:, :, 1:] = occurred[:, :, :-1]
    repeated = torch.arange(ids.shape[1]) >= period[:, None]
    prefix_matching, previous_token = {}, {}
    for layer, pattern in enumerate(attention_patterns(model, ids)):
        to_followers = (pattern * followers[:, None]).sum(-1)
        to_previous = pattern.diagonal(-1, -2, -1)
        for head in range(pattern.shape[1]):
            name = f"l{layer}h{head}"
            prefix_matching[name] = float(to_followers[:, head][repeated].mean())
            previous_token[name] = float(to_previous[:, head].mean())
    return prefix_matching, previous_token


@torch.no_grad()
def attention_patterns(model: Decoder, ids: Tensor) -> list[Tensor]:
    """The attention of each query to each key, one tensor (N, H, T, T) a layer."""
    patterns: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, Attention)
        x = given[0]
        split = (*x.shape[:-1], module.num_heads, -1)
        query, key = (
            project(x).view(split).transpose(1, 2) for project in (module.q_proj, module.k_proj)
        )
        scores = query @ key.mT / query.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        patterns.append(scores.masked_fill(future, -math.inf).softmax(-1))

    handles = [
        module.register_forward_hook(keep)
        for module in model.modules()
        if isinstance(module, Attention)
    ]
    try:
        model(ids)
    finally:
        for handle in handles:
            handle.remove()
    return patterns


@torch.no_grad()
def _mean_loss(model: Decoder, samples: Samples) -> float:
    losses = NextToken()(model, samples.columns)
    return float(losses.values[losses.mask].mean())
