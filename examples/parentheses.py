"""Patterning which algorithm is learned: brackets that are counted, or nested as well.

Strings of brackets are told apart by either of two rules, EQUAL-COUNT and NESTED; strings on which
the rules part are held out. Of networks that differ in their seed alone, about half learn to count
and no more. Others also refuse what opens with a ')' that closes nothing. Draws around finished
runs of both kinds tell which training strings hold the one solution in place and not the other;
weights made of that, with no look at held-out strings, are then given to fresh seeds:

    uniform · patterned to NESTED · patterned to EQUAL-COUNT · each of the two permuted ·
    the weights of NESTED given by length, and by how far from learned a string is

The network is the smallest that learns either: one layer, two heads, width 32, read at the last
bracket. The literature's have 1 to 3 layers of width 64 with 2 to 4 heads (arXiv:2601.13548,
arXiv:2507.06445). One layer cannot look for a prefix that falls below zero; what its NESTED runs
see of nesting is mostly the first bracket. Whatever ends in '(' every run refuses, as it asks from
there. So a run is said to have learned NESTED if it refuses more than half of the revealing strings
that open with ')' and end with ')', on which the runs part; accuracy on all of them is told beside.

    python examples/parentheses.py

Finished parts are kept in runs/parentheses: an interrupted run goes on; delete it to begin anew.
Settings were chosen on the seeds 0–15, 100–511 and 3000–3019 of networks, on the same data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

import creode
from creode.data import Samples
from creode.patterning import Furthest, Pattern, SampleWeights, prefer
from creode.tasks import Classification
from creode.testbeds import (
    DecoderConfig,
    LastTokenDecoder,
    equal_count,
    nested,
    parentheses,
    revealing,
    strings_of,
)
from creode.training import TrainingConfig, train_side_by_side

TASK = Classification()
Row = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the result."""

    num_strings: int = 20_000
    num_revealing: int = 2_000
    width: int = 32
    init_std: float = 0.042  # the share of NESTED grows with it: 6 % at 0.025, 60 % at 0.046
    steps: int = 2500
    batch_size: int = 128
    learning_rate: float = 2e-3
    read: tuple[int, int] = (2000, 2024)  # seeds of runs that are read, and never judged
    read_init_std: float = 0.0385  # another one: what is read there holds beyond it
    pairs: int = 5  # runs of each kind that are read, if there are as many
    judged: tuple[int, int] = (7000, 7040)
    together: int = 20  # judged runs that are trained and kept at a time
    nbeta: float = 3000.0
    localization: float = 3000.0
    step_size: float = 1e-5
    draws: int = 30
    burnin: int = 200
    effective: float = 0.85  # least share of effective samples
    least: float = 0.8  # weight of a string, so that every one is still learned


def network(given: Settings, seed: int, init_std: float) -> LastTokenDecoder:
    config = DecoderConfig(
        vocab_size=2,
        d_model=given.width,
        num_layers=1,
        num_heads=2,
        context_length=40,
        init_std=init_std,
    )
    return LastTokenDecoder(config, seed=seed)


def trained(
    given: Settings,
    data: Samples,
    seeds: Sequence[int],
    init_std: float,
    weights: Tensor | None = None,
) -> list[nn.Module]:
    config = TrainingConfig(
        steps=given.steps,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        optimizer="Adam",
        schedule="linear",
    )
    starts = [network(given, seed, init_std) for seed in seeds]
    runs = train_side_by_side(starts, TASK, data, config, seeds=seeds, weights=weights)
    return [run.model for run in runs]


@torch.no_grad()
def refused(model: nn.Module, data: Samples) -> Tensor:
    """Which strings get the label 0, (N,)."""
    whole = [data.batch(part) for part in torch.arange(len(data)).split(2000)]
    return torch.cat([TASK.logits(model, batch).argmax(1) == 0 for batch in whole])


def measured(model: nn.Module, data: Samples, held_out: Samples) -> Row:
    """Accuracy on the training set, unweighted, and on kinds of revealing strings as NESTED."""
    strings = strings_of(held_out)
    ends_open = torch.tensor([s[-1] == "(" for s in strings])
    opens_closed = torch.tensor([s[0] == ")" for s in strings]) & ~ends_open
    no = refused(model, held_out).double()
    return {
        "train": float((refused(model, data) == (data.columns["labels"] == 0)).double().mean()),
        "held_out": float(no.mean()),
        "parting": float(no[opens_closed].mean()),  # ")…)"
        "inside": float(no[~opens_closed & ~ends_open].mean()),  # "(…)"
        "ends_open": float(no[ends_open].mean()),  # "…("
    }


def is_nested(row: Row) -> bool:
    return row["parting"] > 0.5


def read(given: Settings, model: nn.Module, data: Samples, seed: int, out: Path) -> xr.DataTree:
    """Draws around a finished run, with every training string's loss."""
    posterior = creode.LocalPosterior(
        model, TASK, data, nbeta=given.nbeta, localization=given.localization
    )
    return creode.sample(
        posterior,
        {"train": data},
        sampler=creode.SGLD(step_size=given.step_size),
        chains=2,
        draws=given.draws,
        burnin=given.burnin,
        steps_per_draw=10,
        batch_size=256,
        seed=seed,
        out=str(out),
        execution=creode.Execution(mode="vectorised"),
    )


@dataclass(frozen=True, kw_only=True)
class Read:
    """What draws around runs of both kinds gave."""

    patterns: dict[str, Pattern]  # weights in both directions
    loss: NDArray[np.float64]  # (N,), of each string over all draws of all runs, nats


def made(given: Settings, data: Samples, folder: Path) -> Read:
    """Weights from draws around runs of both kinds."""
    seeds = list(range(*given.read))
    known = folder / "read.pt"
    if not known.exists():
        states = [m.state_dict() for m in trained(given, data, seeds, given.read_init_std)]
        torch.save(states, known)
    models = []
    for seed, state in zip(seeds, torch.load(known), strict=True):
        model = network(given, seed, given.read_init_std).eval()
        model.load_state_dict(state)
        models.append(model)
    held_out = revealing(given.num_revealing, seed=2)  # others than those of the judgement
    rows = [measured(model, data, held_out) for model in models]
    told("runs that are read", rows)
    clear = {
        "NESTED": [r for r, row in enumerate(rows) if row["parting"] > 0.9 and row["train"] > 0.99],
        "EQUAL": [r for r, row in enumerate(rows) if row["parting"] < 0.1 and row["train"] > 0.99],
    }
    pairs = min(given.pairs, *map(len, clear.values()))
    draws = {
        kind: [
            read(given, models[r], data, seeds[r], folder / f"draws-{seeds[r]}")
            for r in runs[:pairs]
        ]
        for kind, runs in clear.items()
    }
    constraint = Furthest(least_effective=given.effective, least=given.least)
    patterns = {
        "NESTED": prefer(draws["NESTED"], draws["EQUAL"], constraint),
        "EQUAL": prefer(draws["EQUAL"], draws["NESTED"], constraint),
    }
    every = [*draws["NESTED"], *draws["EQUAL"]]
    losses = [tree["probes/train"]["unit_mean"].values.mean(0) for tree in every]
    return Read(patterns=patterns, loss=np.mean(losses, 0))


def arms_of(found: Read, data: Samples, seeds: Sequence[int]) -> dict[str, Tensor | None]:
    """Weights of each arm, (N,) or, permuted anew for each seed, (R, N)."""
    out: dict[str, Tensor | None] = {"uniform": None}
    for name, pattern in found.patterns.items():
        out[name] = pattern.weights.tensor()
    for name, pattern in found.patterns.items():
        anew = [pattern.weights.permuted(seed).tensor() for seed in seeds]
        out[f"permuted {name}"] = torch.stack(anew)
    length = data.columns["attention_mask"].sum(1).numpy()
    for name, order in {"by length": length, "by loss": found.loss}.items():
        out[name] = torch.from_numpy(in_order(found.patterns["NESTED"].weights.values, order))
    return out


def in_order(weights: NDArray[np.float64], order: NDArray[np.generic]) -> NDArray[np.float64]:
    """The same weights, the heaviest where `order` is largest; ties are broken at random."""
    mixed = np.random.default_rng(0).permutation(len(order))
    ranked = mixed[np.argsort(order[mixed], kind="stable")]
    out = np.empty_like(weights)
    out[ranked] = np.sort(weights)
    return out


def judged(
    given: Settings, data: Samples, held_out: Samples, found: Read, folder: Path
) -> dict[str, list[Row]]:
    """The judged seeds trained in every arm; parts are kept once finished."""
    rows: dict[str, list[Row]] = {}
    for first in range(*given.judged, given.together):
        seeds = range(first, min(first + given.together, given.judged[1]))
        for name, weights in arms_of(found, data, seeds).items():
            kept = folder / f"{name.replace(' ', '-')}-{first}.json"
            if not kept.exists():
                models = trained(given, data, seeds, given.init_std, weights)
                kept.write_text(json.dumps([measured(m, data, held_out) for m in models]))
            rows.setdefault(name, []).extend(json.loads(kept.read_text()))
            told(name, rows[name])
    return rows


def told(name: str, rows: list[Row]) -> None:
    low, high = wilson([is_nested(row) for row in rows])
    share = np.mean([is_nested(row) for row in rows])
    train = [row["train"] for row in rows]
    held_out = sorted(row["held_out"] for row in rows)
    print(
        f"{name}: NESTED {100 * share:.0f} % of {len(rows)} [{100 * low:.0f}, {100 * high:.0f}]; "
        f"training accuracy {100 * np.mean(train):.2f} %, least {100 * min(train):.2f} %; "
        f"accuracy on revealing strings {' '.join(f'{a:.2f}' for a in held_out)}; "
        f"on '(…)' {np.mean([row['inside'] for row in rows]):.2f}, "
        f"on '…(' at least {min(row['ends_open'] for row in rows):.2f}",
        flush=True,
    )


def wilson(hits: Sequence[bool]) -> tuple[float, float]:
    """The 95 % interval of a share."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def gap(one: list[Row], other: list[Row]) -> tuple[float, float]:
    """The difference of two arms' shares, and the half width of its 95 % interval."""
    shares = [np.mean([is_nested(row) for row in rows]) for rows in (one, other)]
    variance = sum(p * (1 - p) / len(one) for p in shares)
    return float(shares[0] - shares[1]), 1.96 * float(variance) ** 0.5


def checked(data: Samples, held_out: Samples) -> None:
    """No string that reveals the rule is trained on."""
    strings = strings_of(data)
    for string, label in zip(strings, data.columns["labels"].tolist(), strict=True):
        assert equal_count(string) == nested(string) == bool(label), string
    assert len(set(strings)) == len(strings)
    assert all(equal_count(s) and not nested(s) for s in strings_of(held_out))
    assert not set(strings) & set(strings_of(held_out))


def settle(given: Settings, folder: Path) -> None:
    """The directory is of these settings, or new."""
    record = folder / "settings.json"
    wanted = json.loads(json.dumps(asdict(given)))
    if record.exists() and json.loads(record.read_text()) != wanted:
        raise ValueError(f"{folder} holds parts made with other settings; give another directory.")
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(wanted))


def replicate(given: Settings, folder: Path) -> dict[str, list[Row]]:
    """All arms, told as they come."""
    settle(given, folder)
    data = parentheses(given.num_strings, seed=0)
    held_out = revealing(given.num_revealing, seed=1)
    checked(data, held_out)
    found = made(given, data, folder)
    strings = strings_of(data)
    for name, pattern in found.patterns.items():
        weights, effect = pattern.weights, pattern.effect.isel(observable=0)
        print(
            f"weights to {name}: preference {float(effect['predicted']):+.0f} ± "
            f"{float(effect['predicted_se']):.0f} nats on runs that had no part in them; "
            f"draws {'ok' if bool(effect['ok']) else 'not ok: ' + str(effect['reasons'].item())}; "
            f"effective samples {100 * weights.effective_share:.0f} %; mean weight of "
            + ", ".join(f"{kind} {mean:.2f}" for kind, mean in by_kind(weights, strings).items()),
            flush=True,
        )
    return judged(given, data, held_out, found, folder)


def by_kind(weights: SampleWeights, strings: list[str]) -> dict[str, float]:
    """Mean weight of nested strings, and of the others by their first and last bracket."""
    kinds = ["nested" if nested(s) else f"{s[0]}…{s[-1]}" for s in strings]
    return {
        kind: float(weights.values[[k == kind for k in kinds]].mean())
        for kind in sorted(set(kinds))
    }


def main() -> None:
    folder = Path("runs/parentheses")
    torch.set_num_threads(1)  # the networks are too small for more
    arms = replicate(Settings(), folder)
    uniform = arms["uniform"]
    for name, toward in (("NESTED", 1), ("EQUAL", -1)):
        moved, half = gap(arms[name], uniform)
        chance, error = gap(arms[f"permuted {name}"], uniform)
        print(
            f"to {name}: the share of NESTED moves by {100 * moved:+.0f} ± {100 * half:.0f} "
            f"points, with the weights permuted by {100 * chance:+.0f} ± {100 * error:.0f}"
        )
        assert toward * moved >= 0.4, moved
        assert abs(chance) <= error, (chance, error)
    for name in ("by length", "by loss"):
        moved, half = gap(arms[name], uniform)
        print(f"the weights {name}: {100 * moved:+.0f} ± {100 * half:.0f} points")
    for name, rows in arms.items():
        assert np.mean([row["train"] for row in rows]) >= 0.99, name
        assert len(rows) >= 20


if __name__ == "__main__":
    main()
