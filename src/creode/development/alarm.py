"""An alarm for training: it rings when geometry or response moves and the loss does not say so.

Checkpoint after checkpoint it takes readings with their errors (λ̂, χ, λ̂ of components, losses of
domains) and the training loss. While the loss moves as it does in early training it waits. Once the
loss has been flat for `reference` checkpoints it watches every reading from there on for a change
of level or of trend (evidence.py), and says what the loss did across it:

* silent: the loss stayed flat;
* opposing: the loss fell and the reading rose, the staircases of stagewise learning;
* with the loss: any other move of both;
* loss unknown: no losses on one side of the change.

A drift that slows or stops and does not turn back settles; that is no event. A change that goes the
other way than a reading is asked to go does not ring; it is kept as not asked for. After an event,
a change not asked for, or when its drift has settled, a reading is watched anew, from that
checkpoint and a flat loss on: what was there before is not where it would be now.

Loss flat: over a window, the means of its halves (and at an event, the means before and since the
change) differ by no more than `flat` of all that the loss has moved so far, or by no more than
twice the error of their difference, from stated errors or from how losses scatter about their best
monotone fall, whichever is larger.

No single reading carries an event: the evidence must pass without the furthest one, too.

A watch looks at all readings from its start on, and beside that only at those from 1, 2, 4, …
reference windows later on, since readings may go on moving for a while after the loss is flat.

Rate: among runs in which readings wander no more than said in `Change` around a level and a drift
that is a power series in the log step, with normal errors whose size may be wrong by any one
factor, at most a share `rate` ever rings without a change, however long they go on and however many
readings there are. It is shared over readings equally, over the k-th watch of a reading and over
the k-th start in a watch as 1/(k (k + 1)). Directions leave changes and watches as they are and
only take rings away, so that the rate holds as it stands (where errors are as likely either way,
about half of it is used). What is not covered: drift of another shape is a change and will be
called one, unless it settles.

Here: when to watch, what to call a finding, the state, reading by reading.
Not here: the evidence (evidence.py), taking readings while training runs (saving.py), boundaries of
stages in a whole trajectory (stages.py), a table of events (replay.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from numbers import Real
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import isotonic_regression

from creode.development.alarm_config import AlarmConfig
from creode.development.event import Event, Kind
from creode.development.evidence import Change, Finding, find_change
from creode.development.reading import Given, Reading, as_reading


class Alarm:
    """Watches readings as they come; its state is what it was told, and replays exactly."""

    def __init__(self, config: AlarmConfig | None = None) -> None:
        self.config = config or AlarmConfig()
        self._names = tuple(self.config.watch)
        self._steps: list[int] = []
        self._readings: list[dict[str, Reading]] = []  # a checkpoint each, usable ones only
        self._begun: dict[str, int | None] = {}  # index of the checkpoint a watch begins at
        self._ended: dict[str, list[int]] = {}  # indices of checkpoints at which watches ended
        self.events: list[Event] = []  # those that rang
        self.unasked: list[Event] = []  # changes the other way than asked for, which did not

    @property
    def last_step(self) -> int | None:
        """The step of the last update."""
        return self._steps[-1] if self._steps else None

    def watching(self) -> dict[str, int]:
        """The readings that are watched now, and the step each is watched from."""
        return {n: self._steps[i] for n, i in self._begun.items() if i is not None}

    def update(self, step: int, readings: Mapping[str, Given]) -> list[Event]:
        """Take the readings of one checkpoint; the events that make it ring.

        Args:
            step: training steps, above those of earlier updates.
            readings: value, standard error and verdict by name, as a `Reading` or the beginning of
                one; the training loss among them, which may be a number. One that is missing, not
                finite or (with `need_ok`) not ok is left out at this checkpoint. Where the config
                names what is watched, others are not; where it does not, plain numbers are not.
        Raises:
            ValueError: a step that is not later, a plain number for a reading that is watched, a
                name that was not there at the first update, no loss at all.
        """
        if self._steps and step <= self._steps[-1]:
            raise ValueError(f"step {step} does not come after step {self._steps[-1]}.")
        given = self._watched(step, readings)
        self._steps.append(int(step))
        self._readings.append({n: r for n, r in given.items() if self._usable(n, r)})
        now = len(self._steps) - 1
        flat = self._is_flat()
        events: list[Event] = []
        for name in self._names:
            begun = self._begun.setdefault(name, None)
            ended = self._ended.setdefault(name, [])
            if begun is None:
                start = now - self.config.reference + 1
                if flat and start >= (ended[-1] if ended else 0):
                    self._begun[name] = start
                continue
            if name not in self._readings[now]:
                continue
            if found := self._look(name, begun, len(ended) + 1):
                if not _settles(found.change):
                    event = self._event(name, found)
                    (events if event.asked else self.unasked).append(event)
                ended.append(now)
                self._begun[name] = None
        self.events += events
        return events

    def to_json(self) -> str:
        """The state as JSON text."""
        return json.dumps(
            {
                "config": asdict(self.config),
                "names": self._names,
                "steps": self._steps,
                "readings": self._readings,
                "begun": self._begun,
                "ended": self._ended,
                "events": [asdict(event) for event in self.events],
                "unasked": [asdict(event) for event in self.unasked],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """An alarm that goes on where the one that wrote `text` stopped.

        Raises:
            ValueError: text of something else.
        """
        try:
            state = json.loads(text)
            alarm = cls(AlarmConfig(**state["config"]))
            alarm._names = tuple(state["names"])
            alarm._steps = list(state["steps"])
            alarm._readings = [
                {name: Reading(*values) for name, values in row.items()}
                for row in state["readings"]
            ]
            alarm._begun, alarm._ended = dict(state["begun"]), dict(state["ended"])
            alarm.events = [Event(**event) for event in state["events"]]
            alarm.unasked = [Event(**event) for event in state["unasked"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"not the state of an alarm: {error!r}.") from error
        return alarm

    def _watched(self, step: int, readings: Mapping[str, Given]) -> dict[str, Reading]:
        """The loss and what is watched, once the names are found to be right."""
        loss = self.config.loss
        plain = {n for n, given in readings.items() if isinstance(given, Real) and n != loss}
        given = {
            name: as_reading(name, value)
            for name, value in readings.items()
            if name not in plain and (not self.config.watch or name in (*self.config.watch, loss))
        }
        if not self._steps and loss not in given:
            raise ValueError(
                f"step {step}: no loss {loss!r} among {sorted(readings)}; give the training loss, "
                "or its name as AlarmConfig(loss=...)."
            )
        names = self._names or tuple(name for name in given if name != loss)
        if not names:
            raise ValueError(f"step {step}: no reading with an error in {sorted(readings)}.")
        if without := sorted(plain & {*names}):
            raise ValueError(
                f"step {step}: {', '.join(without)} came without a standard error, without which "
                "no change can be told; give (value, standard error)."
            )
        if strange := given.keys() - {*names, loss}:
            raise ValueError(
                f"step {step}: {sorted(strange)} are not among the readings watched "
                f"({', '.join(names)}); name all from the beginning in watch."
            )
        self._names = names
        return given

    def _usable(self, name: str, reading: Reading) -> bool:
        if not math.isfinite(reading.value) or (self.config.need_ok and not reading.ok):
            return False
        return name == self.config.loss or (math.isfinite(reading.se) and reading.se > 0)

    def _look(self, name: str, begun: int, watch: int) -> _Found | None:
        """The change of one reading, if the evidence of its watch is strong enough."""
        config = self.config
        best: _Found | None = None
        for look, start in enumerate(_starts(begun, len(self._steps), config.reference), start=1):
            places = [i for i in range(start, len(self._steps)) if name in self._readings[i]]
            found = self._find(name, places, config.change())
            share = 1 / (len(self._names) * watch * (watch + 1) * look * (look + 1))
            needed = -math.log(config.rate * share)
            if found is None or found.log_evidence < needed:
                continue
            if abs(found.size) < config.least * abs(found.level):
                continue
            others = self._without_furthest(name, places, found)
            fewer = replace(config.change(), confirm=max(1, config.confirm - 1))
            again = self._find(name, others, fewer)
            if again is None or again.log_evidence < needed:
                continue
            excess = found.log_evidence - needed
            if best is None or excess > best.change.log_evidence - best.needed:
                best = _Found(found, needed, places)
        return best

    def _find(self, name: str, places: list[int], change: Change) -> Finding | None:
        series = [self._readings[i][name] for i in places]
        return find_change(
            [reading.value for reading in series],
            [reading.se for reading in series],
            [self._steps[i] for i in places],
            places,
            change,
        )

    def _without_furthest(self, name: str, places: list[int], found: Finding) -> list[int]:
        """The checkpoints but the one that speaks most for the change."""
        since = places[found.first :]
        furthest = max(since, key=lambda i: abs(self._readings[i][name].value - found.level))
        return [i for i in places if i != furthest]

    def _event(self, name: str, found: _Found) -> Event:
        change, needed, places = found
        first = places[change.first]
        before = self._losses(max(places[0], first - self.config.reference), first)
        loss_change, loss_se = _difference(before, self._losses(first, len(self._steps)))
        kind: Kind
        if math.isnan(loss_change):
            kind = "loss unknown"
        elif self._within(loss_change, loss_se):
            kind = "silent"
        elif loss_change < 0 < change.size:
            kind = "opposing"
        else:
            kind = "with the loss"
        return Event(
            step=self._steps[-1],
            reading=name,
            kind=kind,
            change=change.size,
            change_se=change.size_se,
            level=change.level,
            since=self._steps[first],
            since_low=self._steps[places[change.low]],
            since_high=self._steps[places[change.high]],
            loss_change=loss_change,
            loss_change_se=loss_se,
            noise=change.noise,
            log_evidence=change.log_evidence,
            log_needed=needed,
            asked=self.config.direction(name)
            in ("either", "rises" if change.size > 0 else "falls"),
        )

    def _is_flat(self) -> bool:
        """Whether the loss was flat over the last `reference` checkpoints."""
        now, size = len(self._steps), self.config.reference
        if now < size:
            return False
        middle = now - size // 2
        before, since = self._losses(now - size, middle), self._losses(middle, now)
        return len(before) >= 2 and len(since) >= 2 and self._within(*_difference(before, since))

    def _within(self, change: float, se: float) -> bool:
        """Whether a change of the loss is none."""
        seen = [reading.value for reading in self._losses(0, len(self._steps))]
        return abs(change) <= max(self.config.flat * (max(seen) - min(seen)), 2 * se)

    def _losses(self, start: int, stop: int) -> list[Reading]:
        rows = self._readings[start:stop]
        return [row[self.config.loss] for row in rows if self.config.loss in row]


class _Found(NamedTuple):
    """A change that passed what it had to, and the checkpoints it was found in."""

    change: Finding
    needed: float
    places: list[int]


def _starts(begun: int, stop: int, reference: int) -> list[int]:
    """Where looks of one watch begin: at once, and 1, 2, 4, … reference windows later."""
    starts, gap = [begun], reference
    while begun + gap < stop:
        starts.append(begun + gap)
        gap *= 2
    return starts


def _settles(found: Finding) -> bool:
    """Whether the drift before the change has slowed or stopped, and not turned back."""
    stays = abs(found.size) <= abs(found.drift) + 2 * found.size_se
    return stays and found.size * found.drift < 0


def _difference(before: list[Reading], since: list[Reading]) -> tuple[float, float]:
    """Mean of `since` less mean of `before`, with its standard error."""
    if not before or not since:
        return math.nan, math.nan
    sides = [np.array([r.value for r in side]) for side in (before, since)]
    stated = sum(
        sum(r.se**2 for r in side if math.isfinite(r.se)) / len(side) ** 2
        for side in (before, since)
    )
    fall = isotonic_regression(np.concatenate(sides), increasing=False)
    levels = len(fall.blocks) - 1
    freed = np.concatenate(sides) - fall.x  # of any fall, so that a fall is not taken for noise
    scatter = float(freed @ freed) / max(len(freed) - levels, 1)
    told = scatter * sum(1 / len(side) for side in sides)
    return float(sides[1].mean() - sides[0].mean()), max(stated, told) ** 0.5
