"""The stages of a small decoder up to its induction circuit, read from λ̂ along training.

Two-layer attention-only decoders learn to continue repeated segments of a Markov chain: first the
chain's bigrams, then, by heads that look at the previous token and heads that match prefixes, the
repeats. λ̂ of all weights, and on second copies alone, and the refined λ̂ of each head are read along
checkpoints, with one setting all along.

The circuit's formation is the stage in which λ̂ changes most; it is placed where that stage is
steepest. It is compared with the rise of the prefix-matching score of the head that scores highest
in the end, from the beginning to the end of the stage in which the score changes most. Neither rule
looks at the other's reading. Heads are then grouped by the shape of their refined λ̂, and compared
with what they do in the end, by where they attend. Settings and rules were chosen on seeds 100 and
101.

    python examples/induction_stages.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

import creode
from creode.data import Samples
from creode.development import shapes, stages
from creode.structure.clusters import adjusted_rand
from creode.tasks import NextToken
from creode.testbeds import Decoder
from creode.testbeds.induction import (
    CONFIG,
    PREFIX_MATCHING,
    bigrams,
    copies,
    head_scores,
    previous_token_threshold,
    repeated_chains,
    repeated_tokens,
    train,
)
from creode.training import log_spaced

SEEDS = range(5)
CHECKPOINTS = log_spaced(30, 1500, 20)
OF_HEADS = CHECKPOINTS[7::2]  # those at which heads are read
HEADS = [f"l{layer}h{head}" for layer in range(2) for head in range(4)]
SEQUENCES = 192  # λ̂ is read on
PROBED = 16  # whose second copies are the probe
SCORED, BLOCKS = 128, 8  # repeated random tokens for the scores, and groups of them for errors


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """Of a posterior, and the step that suits them; friction is critical for the tether."""

    nbeta: float
    localization: float
    step_size: float

    @property
    def sampler(self) -> creode.BAOAB:
        """2√γ."""
        return creode.BAOAB(step_size=self.step_size, friction=2 * self.localization**0.5)


# γ of the whole model holds chains where the loss grows as the square of the distance, at the end
# of training too; that of heads is the one of examples/induction_response.py.
WHOLE = Strengths(nbeta=100.0, localization=1000.0, step_size=0.02)
HEAD = Strengths(nbeta=30.0, localization=300.0, step_size=0.06)


def development(seed: int) -> tuple[dict[int, Decoder], Samples]:
    """The decoder at each checkpoint, and sequences as it was trained on."""
    generator = torch.Generator().manual_seed(seed)
    transitions = bigrams(generator)
    model, kept = Decoder(CONFIG, seed=seed), {}

    def sequences(num: int, generator: torch.Generator) -> Samples:
        return repeated_chains(num, generator, transitions)

    def keep(step: int) -> None:
        if step in CHECKPOINTS:
            kept[step] = copy.deepcopy(model).eval()

    train(model, CHECKPOINTS[-1], generator, sequences=sequences, on_step=keep)
    return kept, sequences(SEQUENCES, generator)


def drawn(
    model: Decoder,
    data: Samples,
    component: str,
    seed: int,
    probes: Mapping[str, Samples] | None = None,
) -> xr.DataTree:
    """Draws of a component of one checkpoint, the rest at w*."""
    with_ = WHOLE if component == "full" else HEAD
    return creode.sample(
        creode.LocalPosterior(
            model,
            NextToken(),
            data,
            nbeta=with_.nbeta,
            localization=with_.localization,
            component=component,
        ),
        probes,
        sampler=with_.sampler,
        chains=2,
        draws=140,
        burnin=30,
        steps_per_draw=1,
        batch_size=8,
        seed=seed,
        execution=creode.Execution(mode="sequential"),
    )


def named(found: xr.Dataset, name: str) -> xr.Dataset:
    """λ̂, its error and verdict under another name."""
    kept = found[["llc", "llc_se", "ok"]]
    return kept.rename(llc=name, llc_se=f"{name}_se", ok=f"{name}_ok")


def of_model(model: Decoder, data: Samples, seed: int) -> xr.Dataset:
    """λ̂ of all weights, on all tokens and on second copies, and losses of either copy in nats."""
    parts = copies(data)
    second = parts["second"].select(torch.arange(PROBED))
    draws = drawn(model, data, "full", seed, {"second": second})
    with torch.no_grad():
        losses = {name: NextToken()(model, part.columns) for name, part in parts.items()}
    return xr.merge(
        [named(creode.llc(draws), "llc"), named(creode.llc(draws, on="second"), "second_llc")],
        combine_attrs="drop",
    ).assign(
        {f"loss_{name}": float(part.values[part.mask].mean()) for name, part in losses.items()}
    )


def of_heads(model: Decoder, data: Samples, seed: int) -> xr.Dataset:
    """Refined λ̂ of each head."""
    each = [named(creode.llc(drawn(model, data, h, seed)), "component_llc") for h in HEADS]
    return xr.concat(each, xr.Variable("component", HEADS), combine_attrs="drop")


def scores(model: Decoder, seed: int) -> xr.Dataset:
    """Prefix-matching and previous-token scores of each head, with errors over sequences."""
    data = repeated_tokens(SCORED, torch.Generator().manual_seed(1000 + seed))
    index = torch.arange(SCORED)
    blocks = np.array(
        [
            [list(score.values()) for score in head_scores(model, data.select(index[b::BLOCKS]))]
            for b in range(BLOCKS)
        ]
    )  # (block, score, head)
    mean, se = blocks.mean(0), blocks.std(0, ddof=1) / BLOCKS**0.5
    return xr.Dataset(
        {
            "prefix_matching": ("component", mean[0]),
            "prefix_matching_se": ("component", se[0]),
            "previous_token": ("component", mean[1]),
        },
        {"component": HEADS},
    )


def along(steps: Iterable[int], read: Callable[[int], xr.Dataset]) -> xr.Dataset:
    """Readings of checkpoints as one Dataset over them."""
    named_steps = xr.Variable("checkpoint", list(steps))
    return xr.concat([read(s) for s in named_steps.values], named_steps, combine_attrs="drop")


def most_changed(found: xr.Dataset) -> xr.Dataset:
    """The stage in which the reading changed most."""
    return found.isel(stage=int(np.abs(found[f"{found.attrs['variable']}_delta"].values).argmax()))


def studied(seed: int) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Of one seed: readings of the model and scores along checkpoints, and readings of heads."""
    kept, data = development(seed)
    whole = along(CHECKPOINTS, lambda step: of_model(kept[step], data, seed))
    scored = along(CHECKPOINTS, lambda step: scores(kept[step], seed))
    return whole, scored, along(OF_HEADS, lambda step: of_heads(kept[step], data, seed))


def roles(scored: xr.Dataset) -> dict[str, str]:
    """What each head is in the end, by where it attends."""
    last = scored.isel(checkpoint=-1)
    named = {}
    for head in HEADS:
        one = last.sel(component=head)
        if one["prefix_matching"] >= PREFIX_MATCHING:
            named[head] = "induction"
        elif one["previous_token"] >= previous_token_threshold():
            named[head] = "previous token"
        else:
            named[head] = "other"
    return named


def with_error(whole: xr.Dataset, name: str) -> str:
    """The last reading in words."""
    last = whole.isel(checkpoint=-1)
    doubt = "" if last[f"{name}_ok"] else " (not to be trusted)"
    return f"{float(last[name]):.1f} ± {float(last[f'{name}_se']):.1f}{doubt}"


def report_boundaries(seed: int, whole: xr.Dataset, scored: xr.Dataset) -> dict[str, bool]:
    """Prints where λ̂ and the score moved; returns which places of λ̂ lie in the score's rise."""
    of_score = scored.isel(component=int(scored["prefix_matching"].values[-1].argmax()))
    rise = most_changed(stages(of_score, "prefix_matching"))
    onset, end = float(rise["stage_start"]), float(rise["stage_end"])
    found = stages(whole, "llc")
    formation = most_changed(found)
    places = {
        "onset": float(formation["stage_start"]),
        "steepest": float(formation["stage_midpoint"]),
        "end": float(formation["stage_end"]),
    }
    first, last = (whole[["loss_first", "loss_second"]].isel(checkpoint=i) for i in (0, -1))
    print(
        f"seed {seed}: loss on first copies {float(first['loss_first']):.2f} to "
        f"{float(last['loss_first']):.2f}, on second {float(first['loss_second']):.2f} to "
        f"{float(last['loss_second']):.2f}; prefix matching of {of_score['component'].item()} "
        f"rises to {float(of_score['prefix_matching'][-1]):.2f}, most from step {onset:.0f} to "
        f"{end:.0f}\n"
        f"  λ̂ moves most, {float(formation['llc_delta']):+.1f} ± "
        f"{float(formation['llc_delta_se']):.1f}, from {places['onset']:.0f} to "
        f"{places['end']:.0f}, steepest at {places['steepest']:.0f} "
        f"({float(formation['stage_midpoint_low']):.0f} to "
        f"{float(formation['stage_midpoint_high']):.0f}); its stages: "
        + ", ".join(
            f"{kind.item()} {float(a):.0f}-{float(b):.0f}"
            for kind, a, b in zip(
                found["stage_kind"], found["stage_start"], found["stage_end"], strict=True
            )
        )
        + f"; {int((~whole['llc_ok']).sum())} of {whole.sizes['checkpoint']} readings not ok\n"
        f"  in the end λ̂ is {with_error(whole, 'llc')}, and {with_error(whole, 'second_llc')} on "
        "second copies",
        flush=True,
    )
    return {name: onset <= place <= end for name, place in places.items()}


def report_heads(scored: xr.Dataset, heads: xr.Dataset) -> tuple[bool, float]:
    """Prints groups of heads by shape.

    Returns whether the head that looks most at previous tokens and the one that matches prefixes
    best are in different groups, and the groups' agreement with all roles beyond chance.
    """
    found, role = shapes(heads), roles(scored)
    for group in found["group"].values:
        inside = found["component"].values[found["label"].values == group]
        one = found.sel(group=group)
        curve = " ".join(f"{y:+.1f}" for y in one["shape"].values)
        print(
            f"  group {group}: {', '.join(f'{head} ({role[head]})' for head in inside)}; shape "
            f"{curve}; stability {float(one['stability']):.2f}",
            flush=True,
        )
    last = scored.isel(checkpoint=-1)
    most = [int(last[name].values.argmax()) for name in ("previous_token", "prefix_matching")]
    labels = found["label"].values
    _, known = np.unique([role[head] for head in HEADS], return_inverse=True)
    return bool(labels[most[0]] != labels[most[1]]), adjusted_rand(labels, known)


def main() -> None:
    torch.set_num_threads(1)  # the decoders are too small for more
    held, apart, agreement = [], [], []
    for seed in SEEDS:
        whole, scored, heads = studied(seed)
        held.append(report_boundaries(seed, whole, scored))
        of_heads_apart, rand = report_heads(scored, heads)
        apart.append(of_heads_apart)
        agreement.append(rand)
    for place in held[0]:
        print(f"{place} of the stage within the rise: {sum(h[place] for h in held)} of {len(held)}")
    print(f"strongest heads of either kind in different groups: {sum(apart)} of {len(apart)}")
    print(f"adjusted Rand index of groups and roles: {np.round(agreement, 2)}")
    assert sum(h["steepest"] for h in held) >= 4, held
    assert sum(apart) >= 4, apart


if __name__ == "__main__":
    main()
