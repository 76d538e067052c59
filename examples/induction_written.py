"""When a circuit forms, written by weights on the data along a mode of the response.

Sequences of a Markov chain differ in how much of each repeats: three tenths do not at all. Small
attention-only decoders trained on them form an induction circuit. One of them is read after it has:
draws of each head's own posterior give the susceptibility of every head to every sequence, and the
modes of these, columns standardised and rows as they are. The leading mode is taken for that of the
circuit: heads of these decoders have no other work, so it is what they have in common. Nothing here
looks at which sequences repeat. Weights (≥ 0, of mean 1) that raise the mode's response should
delay the circuit, and weights that lower it, so that heads serve the data better, hasten it.

Fresh decoders are trained from scratch with either weights, with the same weights on sequences
drawn at random, and without; the arms of one seed share start, batches and so tokens. A circuit has
formed at the first of every 25 steps at which a head's prefix-matching score on repeated random
tokens, none of the pool, reaches 0.5; one that has not formed by the last step counts as formed
there, a bound. How much of the weights two trivial explanations tell is printed beside: the share
of a sequence that repeats, and its loss at the decoder that was read. Settings and thresholds were
chosen on seeds 100 to 102. Finished draws and runs are kept in runs/induction_written; called
again, it goes on.

    python examples/induction_written.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import creode
from creode.data import Samples
from creode.patterning import (
    Convex,
    MinimumNorm,
    OutOfReachError,
    Pattern,
    SampleWeights,
    mode_response,
)
from creode.response import susceptibility
from creode.structure import modes, response_matrix
from creode.tasks import Losses, NextToken
from creode.testbeds import Decoder
from creode.testbeds.induction import (
    CONFIG,
    PREFIX_MATCHING,
    bigrams,
    head_scores,
    partly_repeated_chains,
    repeated_tokens,
)
from creode.training import TrainingConfig, train

OUT = Path("runs/induction_written")
POOL_SEED, READ_SEED, SEEDS = 0, 10, range(5)
SEQUENCES, SHARPNESS = 4096, 0.5
BUDGET, EVERY = 2000, 25  # steps
READ_AFTER = 250  # steps since the circuit formed
EFFECTIVE = 0.5  # share of the samples that the weights leave
UNIT = 1e-6  # nats, a small change of a response
HEADS = [f"l{layer}h{head}" for layer in range(2) for head in range(4)]
ARMS = ("uniform", "hasten", "hasten permuted", "delay", "delay permuted")


class Formed(Exception):  # noqa: N818 - not an error
    """Ends a training run at a step."""


class Watched:
    """The task; every 25 steps it scores the model's heads, and stops once they are a circuit."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.scores = threshold, []
        self._task, self._calls = NextToken(), 0
        self._test = repeated_tokens(64, torch.Generator().manual_seed(1000))

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        if self._calls % EVERY == 0:
            matching, _ = head_scores(model, self._test)
            self.scores.append(max(matching.values()))
            if self.scores[-1] >= self.threshold:
                raise Formed
        self._calls += 1
        return self._task(model, batch)


def pool(seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    transitions = bigrams(generator, sharpness=SHARPNESS)
    return partly_repeated_chains(SEQUENCES, generator, transitions)


def training(steps: int, seed: int) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch_size=64,
        learning_rate=0.01,
        optimizer_options={"betas": (0.9, 0.98), "weight_decay": 0.01},
        warmup_steps=100,
        checkpoints=2,
        seed=seed,
    )


def formed_at(data: Samples, weights: Tensor | None, seed: int) -> int:
    """The step at which the circuit has formed; the last of the budget if it has not."""
    task = Watched(PREFIX_MATCHING)
    try:
        train(Decoder(CONFIG, seed=seed), task, data, training(BUDGET, seed), weights=weights)
    except Formed:
        return EVERY * (len(task.scores) - 1)
    return BUDGET


def read(data: Samples, seed: int, out: Path) -> tuple[nn.Module, dict[str, xr.DataTree]]:
    """A decoder with its circuit, and draws of each head with every sequence's losses."""
    formed = formed_at(data, None, seed)
    assert formed < BUDGET, "no circuit to read"
    config = training(formed + READ_AFTER, seed)
    model = train(Decoder(CONFIG, seed=seed), NextToken(), data, config).model
    draws = {}
    for head in HEADS:
        draws[head] = creode.sample(
            creode.LocalPosterior(
                model, NextToken(), data, nbeta=30.0, localization=300.0, component=head
            ),
            {"pool": data},
            observables=["pool"],  # L without the noise of minibatches
            sampler=creode.BAOAB(step_size=0.06, friction=35.0),
            chains=4,
            draws=40,
            burnin=100,
            steps_per_draw=8,
            batch_size=32,
            seed=seed,
            execution=creode.Execution(mode="sequential"),
            out=str(out / "draws" / head),
        )
        print(f"read {head}", file=sys.stderr, flush=True)
    return model, draws


def leading_mode(draws: Mapping[str, xr.DataTree]) -> xr.Dataset:
    """Modes of the susceptibilities of heads to sequences; rows keep what heads have in common."""
    chi = susceptibility(dict(draws), observable="pool", by="sample", keep_replicates=True)
    return modes(response_matrix(chi["chi_replicates"]), num_modes=3, centre=False)


def strongest(draws: Mapping[str, xr.DataTree], response: dict[str, float], sign: float) -> Pattern:
    """The largest change of the response that leaves so many samples effective, within a tenth.

    The least change of weights of any sign grows with the target, and leaves more samples effective
    than weights ≥ 0 do: the target at which it leaves too few is above the largest.
    """
    along = partial(
        creode.pattern, dict(draws), on="pool", observables={"induction": response}, of="pool"
    )
    free = along({"induction": sign * UNIT}, MinimumNorm(ridge=0.0)).weights.values
    size = UNIT * ((1 / EFFECTIVE - 1) / free.var()) ** 0.5
    while True:
        try:
            return along({"induction": sign * size}, Convex(least_effective=EFFECTIVE))
        except OutOfReachError:
            size *= 0.9


def explained(weights: SampleWeights, by: Tensor) -> float:
    """R² of a straight line."""
    return float(np.corrcoef(weights.values, by.double().numpy())[0, 1] ** 2)


def sequence_losses(model: nn.Module, data: Samples) -> Tensor:
    with torch.no_grad():
        losses = NextToken()(model, data.columns)
    return losses.total / losses.count


def run(data: Samples, made: Mapping[str, Pattern], seed: int, out: Path) -> dict[str, int]:
    """The step at which the circuit formed by arm; arms that are there are not trained again."""
    steps = {}
    for arm in ARMS:
        weights = made[arm.split()[0]].weights if arm != "uniform" else None
        if weights is not None and "permuted" in arm:
            weights = weights.permuted(seed)
        steps[arm] = kept_or_formed(data, weights, seed, out / f"{arm.replace(' ', '-')}-{seed}")
    print(f"seed {seed}: " + ", ".join(f"{arm} {step}" for arm, step in steps.items()), flush=True)
    return steps


def kept_or_formed(data: Samples, weights: SampleWeights | None, seed: int, path: Path) -> int:
    """`formed_at`, from a file if it is of the same training."""
    given = b"" if weights is None else weights.values.tobytes()
    about = {
        "training": repr(training(BUDGET, seed)),
        "threshold": PREFIX_MATCHING,
        "data": data.fingerprint(),
        "weights": hashlib.sha256(given).hexdigest(),
    }
    file = path.with_suffix(".json")
    if file.exists():
        kept = json.loads(file.read_text())
        if {name: kept[name] for name in about} == about:
            return int(kept["formed_at"])
    step = formed_at(data, None if weights is None else weights.tensor(), seed)
    partial_file = path.with_suffix(".part")
    partial_file.write_text(json.dumps(about | {"formed_at": step}))
    partial_file.replace(file)
    return step


def main(out: Path = OUT) -> None:
    torch.set_num_threads(1)  # the decoders are too small for more
    data = pool(POOL_SEED)
    model, draws = read(data, READ_SEED, out)
    matching, previous = head_scores(
        model, repeated_tokens(64, torch.Generator().manual_seed(1000))
    )
    found = leading_mode(draws)
    response = mode_response(found, 1)
    print(
        f"{int(found['num_resolved'])} modes are resolved; singular values "
        f"{found['singular_value'].values.round(1)}, of noise below "
        f"{found['noise_floor'].values.round(1)}; |cos| of the first in halves of the draws "
        f"{float(found['mode_cosine'][0]):.2f}"
    )
    for name, a in response.items():
        print(
            f"  {name}: prefix matching {matching[name]:.2f}, previous token "
            f"{previous[name]:.2f}, in the response {a:+.3f}"
        )
    made = {name: strongest(draws, response, sign) for name, sign in (("delay", 1), ("hasten", -1))}
    repeats = data.columns["repeated"] / CONFIG.context_length
    losses = sequence_losses(model, data)
    for name, one in made.items():
        effect, weights = one.effect.isel(observable=0), one.weights
        print(
            f"{name}: wanted {float(effect['wanted']):+.3g}, predicted "
            f"{float(effect['predicted']):+.3g} ± {float(effect['predicted_se']):.1g} nats, "
            f"{'ok' if one.effect['ok'] else one.effect['reasons'].item()}; weights from "
            f"{weights.values.min():.2f} to {weights.values.max():.2f}, "
            f"{100 * weights.effective_share:.0f} % effective; R² of the share repeated "
            f"{explained(weights, repeats):.2f}, of the loss {explained(weights, losses):.2f}; "
            f"mean share repeated {float((weights.tensor() * repeats).mean()):.3f} of "
            f"{float(repeats.mean()):.3f}",
            flush=True,
        )
    runs = [run(data, made, seed, out) for seed in SEEDS]
    delay = [steps["delay"] / steps["delay permuted"] for steps in runs]
    hasten = [steps["hasten permuted"] / steps["hasten"] for steps in runs]
    slower = [steps["delay"] / steps["uniform"] for steps in runs]
    faster = [steps["uniform"] / steps["hasten"] for steps in runs]
    never = sum(steps["delay"] == BUDGET for steps in runs)
    print(
        f"against permuted weights delayed {np.round(delay, 2)} times, median "
        f"{np.median(delay):.2f} ({never} did not form in {BUDGET} steps: at least so much), and "
        f"hastened {np.round(hasten, 2)} times, median {np.median(hasten):.2f}; against no weights "
        f"{np.median(slower):.2f} and {np.median(faster):.2f}"
    )
    assert all(steps["delay permuted"] < BUDGET for steps in runs), runs
    assert np.median(delay) >= 2, delay
    assert np.median(hasten) >= 1.3, hasten


if __name__ == "__main__":
    main()
