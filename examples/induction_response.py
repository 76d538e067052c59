"""A circuit found again: which heads answer to second copies of repeated sequences.

Five two-layer attention-only decoders learn to continue repeated random sequences. Which heads do
it is judged by where they attend (prefix matching, previous token). Independently, each head's
susceptibility to first and to second copies is read from draws of its own posterior; the heads with
the most negative standardised χ to second copies are compared with the circuit's.
Beside it stands the precision of two rankings without χ: at random, and layer 0 before layer 1.
The seeds are the first five from 0 on whose decoders form the circuit, whatever their χ; the others
are printed too. Settings and thresholds were chosen on seed 100.

    python examples/induction_response.py
"""

from __future__ import annotations

from itertools import count

import numpy as np
import torch
import xarray as xr

import creode
from creode.response import susceptibility
from creode.testbeds.induction import Induction, copies, induction_decoder

SEEDS = 5  # with a circuit


def responses(
    net: Induction, seed: int, heads: tuple[str, ...] = (), *, draws: int = 50
) -> xr.Dataset:
    """χ of each head (all, if none is named) to first and second copies, standardised."""
    return susceptibility(
        {head: sampled(net, seed, head, draws) for head in heads or net.prefix_matching},
        by="dataset",
        standardise="columns",
    )


def sampled(net: Induction, seed: int, head: str, draws: int) -> xr.DataTree:
    """Draws of one head's weights with the rest at w*."""
    return creode.sample(
        creode.LocalPosterior(
            net.model, net.task, net.data, nbeta=30.0, localization=300.0, component=head
        ),
        copies(net.data),
        sampler=creode.BAOAB(step_size=0.03, friction=20.0),
        chains=4,
        draws=draws,
        burnin=40,
        steps_per_draw=3,
        batch_size=16,
        seed=seed,
        execution=creode.Execution(mode="sequential"),
    )


def precision(net: Induction, chi: xr.Dataset) -> float:
    """The share of the circuit's heads among as many heads of the most negative χ."""
    second = chi["chi_standard"].sel(probe="second")
    top = chi["component"].values[np.argsort(second.values)[: len(net.circuit)]]
    return float(np.isin(top, net.circuit).mean())


def precision_by_depth(net: Induction) -> float:
    """What ranking layer 0 before layer 1, at random within a layer, is expected to score."""
    left, expected = len(net.circuit), 0.0
    for layer in ("l0", "l1"):
        heads = [head for head in net.prefix_matching if head.startswith(layer)]
        taken = min(left, len(heads))
        expected += taken * np.isin(heads, net.circuit).mean()
        left -= taken
    return expected / len(net.circuit)


def main() -> None:
    torch.set_num_threads(1)  # the decoders are too small for more
    precisions: list[float] = []
    for seed in count():
        if len(precisions) == SEEDS:
            break
        try:
            net = induction_decoder(seed=seed)
        except ArithmeticError as error:
            print(f"seed {seed} is left out: {error}", flush=True)
            continue
        chi = responses(net, seed)
        precisions.append(precision(net, chi))
        print(
            f"seed {seed}, {net.steps} steps: loss {net.init_loss['first']:.2f} on first copies "
            f"and {net.init_loss['second']:.2f} on second; precision of the top {len(net.circuit)} "
            f"{precisions[-1]:.2f} (at random {len(net.circuit) / chi.sizes['component']:.2f}, by "
            f"depth {precision_by_depth(net):.2f})"
        )
        for number, head in enumerate(chi["component"].values):
            of_head = chi.isel(component=number).sel(probe="second")
            doubt = "" if of_head["ok"] else f"  not to be trusted: {of_head['reasons'].item()}"
            print(
                f"  {head} {'*' if head in net.circuit else ' '} "
                f"previous token {net.previous_token[head]:.2f}  "
                f"prefix matching {net.prefix_matching[head]:.2f}  standardised χ "
                f"{float(of_head['chi_standard']):+.3f} ± {float(of_head['chi_standard_se']):.3f}"
                f"{doubt}",
                flush=True,
            )
    assert np.mean(precisions) >= 0.8, precisions


if __name__ == "__main__":
    main()
