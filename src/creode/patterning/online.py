"""Online patterning: weights made again along training, from draws around where it has come to.

One pattern is a first order at w*; what it misses grows with the square of the change. Here the
rest is asked for again: round by round, draws around the present weights of the model, on the data
as they are weighed now, give weights that are to do what is still missing; training goes on with
them. The weights are those of least change from uniform ones throughout, not of each round. A round
that leaves more missing than before is taken back, and the next goes half the way to its weights.

Here: the rounds, when they end, their record, going on after an interruption.
Not here: one pattern (pattern.py), a proof against permuted weights (proof.py), training, drawing.
Symbols: φ(0) what was measured at the start, t the target; round i asks for φ(0) + t − φ(i).
Deviation from arXiv:2601.13548, which makes weights once: the effects at ρ are those of the
posterior of L_ρ, E_kj = −nβ (c_j/Σc) Cov_ρ(φ_k, ℓ_j − L_ρ).
Dimensions: K observables.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from creode.fingerprint import model_fingerprint
from creode.patterning.pattern import Pattern, pattern
from creode.patterning.problem import UnresolvedError
from creode.patterning.proof import measured
from creode.patterning.singular import SingularResponseError
from creode.patterning.solvers import OutOfReachError
from creode.patterning.token_weights import TokenWeights, load_weights
from creode.patterning.weights import SampleWeights

Present = SampleWeights | TokenWeights | None  # None: all equal
TrainOn = Callable[[nn.Module, Tensor, int], nn.Module]  # model, weights, round to a trained model
Draw = Callable[[nn.Module, Tensor | None, int], xr.DataTree]  # model, its weights, round
Measure = Callable[[nn.Module], Mapping[str, float]]


class Choose(Protocol):
    """What makes weights: `creode.pattern`, or that with arguments of its own."""

    def __call__(
        self,
        draws: xr.DataTree,
        target: Mapping[str, float],
        /,
        *,
        keep: Sequence[str],
        around: Present,
    ) -> Pattern:
        """A pattern for a change from where the data are now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Steering:
    """When a round is made, and what it asks for."""

    rounds: int = 5  # at most
    stride: float = 1.0  # share of the way to the weights that would do all, at most
    tolerance: float = 0.05  # of the largest wanted change: what may be missing in the end

    def __post_init__(self) -> None:
        if not (isinstance(self.rounds, int) and self.rounds >= 1):
            raise ValueError(f"rounds must be a whole number ≥ 1, got {self.rounds!r}.")
        if not 0 < self.stride <= 1:
            raise ValueError(f"stride must be in (0, 1], got {self.stride!r}.")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must be between 0 and 1, got {self.tolerance!r}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Steered:
    """Where online patterning ended.

    rounds: by round and observable `wanted`, what it asked for (NaN: watched), `predicted`,
    `predicted_se` (NaN: measured, and not predicted), `before`, `after`, `achieved`, in the unit of
    the observable; by round `kept`, False where it was taken back, `stride`, `effective_share`, and
    of the draws `ok`, `reasons`. Attributes: ended_by, what ended it: "reached", "rounds", or why
    no weights could be made.
    """

    model: nn.Module
    weights: Present  # None: no round was made
    rounds: xr.Dataset


def online(  # noqa: PLR0913 - three of them are the user's own steps
    model: nn.Module,
    target: Mapping[str, float],
    *,
    train: TrainOn,
    draw: Draw,
    measure: Measure,
    keep: Sequence[str] = (),
    choose: Choose = pattern,
    steering: Steering | None = None,
    out: str | Path | None = None,
    made_with: Mapping[str, Any] | None = None,
) -> Steered:
    """Train on with weights that are made again every round, until the target is reached.

    Args:
        model: where to start; it is left as it came.
        target: the wanted change from there of each named observable, in its unit.
        train: from a model, weights as training takes them, and the round, to the model trained on.
        draw: from a model, the weights of the data that it was trained with (None: all equal) and
            the round, to one posterior's draws around it, on `creode.tasks.Weighted` losses.
        measure: from a model to numbers by observable, those of the target and of `keep` among
            them, under the names that the draws have.
        keep: observables that are to stay where they are.
        choose: makes a round's weights; `functools.partial(pattern, on="data")`, for example.
        steering: how many rounds, how far each goes.
        out: a directory in which every round is kept; called again, finished rounds are not made
            again.
        made_with: what `train`, `draw` and `choose` do, as plain values, so that a directory whose
            rounds were made otherwise is refused.

    Returns:
        `Steered`.

    Raises:
        ValueError: settings or measures that do not fit; a directory of another target or start.
        OutOfReachError, SingularResponseError, UnresolvedError: of the first round. A later round
            that cannot be made ends it instead.
    """
    steering = steering or Steering()
    start = measured(measure(model), "start")
    lacking = sorted({*target, *keep} - set(start))
    if lacking:
        raise ValueError(f"measure gave {sorted(start)}; {lacking} are missing.")
    if not any(target.values()):
        raise ValueError("target asks for no change; give for example {'code': -0.05}, in nats.")
    goal = {name: start[name] + target.get(name, 0.0) for name in (*target, *keep)}
    enough = steering.tolerance * max(abs(change) for change in target.values())
    about = {
        "target": dict(target),
        "keep": sorted(keep),
        "stride": steering.stride,
        "tolerance": steering.tolerance,
        "model": model_fingerprint(model),
        "made_with": None if made_with is None else dict(made_with),
    }
    folder = None if out is None else _Rounds(Path(out), about)
    here, weights, values, stride = copy.deepcopy(model), None, start, steering.stride
    records: list[dict[str, Any]] = []
    ended_by = "rounds"
    for i in range(steering.rounds + 1):
        missing = {name: value - values[name] for name, value in goal.items()}
        far = {name: m for name, m in missing.items() if abs(m) > enough}
        if not far:
            ended_by = "reached"
        if not far or i == steering.rounds:
            break
        known = folder.read(i, here) if folder else None
        if known is None:
            try:
                rho = None if weights is None else weights.tensor()
                near = [name for name in missing if name not in far]
                made = choose(draw(here, rho, i), far, keep=near, around=weights)
            except (OutOfReachError, SingularResponseError, UnresolvedError) as error:
                if i == 0:
                    raise
                ended_by = str(error)
                break
            chosen = _on_the_way(weights, made.weights, stride)
            after = train(copy.deepcopy(here), chosen.tensor(), i)
            told = measured(measure(after), f"round {i}")
            record = _record(made, stride) | {
                "before": values,
                "after": told,
                "kept": _miss(goal, told) < _miss(goal, values),
                "effective_share": chosen.effective_share,
            }
            known = after, chosen, record
            if folder:
                folder.write(i, *known)
        after, made_weights, record = known
        records.append(record)
        if record["kept"]:
            here, weights, values = after, made_weights, record["after"]
            stride = min(2 * stride, steering.stride)
        else:
            stride /= 2
    return Steered(model=here, weights=weights, rounds=_dataset(records, list(start), ended_by))


def _miss(goal: Mapping[str, float], values: Mapping[str, float]) -> float:
    """How far values are from where they are wanted."""
    squares: list[float] = [(value - values[name]) ** 2 for name, value in goal.items()]
    return math.sqrt(sum(squares))


def _on_the_way(
    now: Present, made: SampleWeights | TokenWeights, stride: float
) -> SampleWeights | TokenWeights:
    """ρ + stride (ρ' − ρ), whose effect is, to first order, the stride's share."""
    here = 1.0 if now is None else now.values
    return replace(made, values=here + stride * (made.values - here))


def _record(made: Pattern, stride: float) -> dict[str, Any]:
    """What a round was to do, as plain values."""
    told = made.effect.to_dataframe().reset_index().set_index("observable")
    numbers = ("wanted", "predicted", "predicted_se")
    return {
        **{name: (stride * told[name].dropna()).to_dict() for name in numbers},
        "stride": stride,
        "ok": bool(made.effect["ok"]),
        "reasons": str(made.effect["reasons"].item()),
    }


def _dataset(records: Sequence[Mapping[str, Any]], names: list[str], ended_by: str) -> xr.Dataset:
    by_name = ("wanted", "predicted", "predicted_se", "before", "after")
    out = xr.Dataset(
        {
            number: (
                ("round", "observable"),
                np.array([[one[number].get(name, np.nan) for name in names] for one in records])
                .reshape(len(records), len(names)),
            )
            for number in by_name
        },
        coords={"round": np.arange(len(records)), "observable": names},
        attrs={"ended_by": ended_by},
    )  # fmt: skip
    for name in ("kept", "stride", "effective_share", "ok", "reasons"):
        out[name] = ("round", [one[name] for one in records])
    return out.assign(achieved=out["after"] - out["before"])


class _Rounds:
    """Finished rounds in a directory, each complete or absent."""

    def __init__(self, place: Path, about: Mapping[str, Any]) -> None:
        self._place = place
        place.mkdir(parents=True, exist_ok=True)
        about = json.loads(json.dumps(about))  # as a file has it
        record = place / "online.json"
        if record.exists():
            there = json.loads(record.read_text())
            differing = [name for name, value in about.items() if there.get(name) != value]
            if differing:
                raise ValueError(
                    f"{place} holds rounds of another {' and '.join(differing)}; give another "
                    "directory."
                )
        else:
            partial = record.with_suffix(".part")
            partial.write_text(json.dumps(about))
            partial.replace(record)

    def _of(self, number: int) -> Path:
        return self._place / f"round-{number:03d}"

    def read(
        self, number: int, model: nn.Module
    ) -> tuple[nn.Module, SampleWeights | TokenWeights, dict[str, Any]] | None:
        """The model after a round, its weights and record; None if it is not there."""
        folder = self._of(number)
        if not folder.is_dir():
            return None
        after = copy.deepcopy(model)
        after.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        record: dict[str, Any] = json.loads((folder / "round.json").read_text())
        return after, load_weights(folder / "weights.parquet"), record

    def write(
        self,
        number: int,
        model: nn.Module,
        weights: SampleWeights | TokenWeights,
        record: Mapping[str, Any],
    ) -> None:
        """Keep a round whole or not at all."""
        partial = self._of(number).with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        torch.save(model.state_dict(), partial / "model.pt")
        weights.save(partial / "weights.parquet")
        (partial / "round.json").write_text(json.dumps(record))
        partial.replace(self._of(number))
