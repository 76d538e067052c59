"""The loop: gradient, observe, move. There is no other.

Here: one block of chains from its start (or a snapshot) to its last draw.
Not here: kernels, how gradients are computed (sequential.py, vectorised.py), what is kept
(recorder.py), several blocks, components or checkpoints (sample.py, study.py).
Dimensions: C chains of the block, P sampled weights, m samples of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import xarray as xr
from torch import Tensor

from creode.data import Samples
from creode.sampling.baoab import BAOAB
from creode.sampling.block import BatchLosses, Block, in_batches
from creode.sampling.comoments import ends_block, num_blocks
from creode.sampling.flat import FlatWeights
from creode.sampling.kernel import Coordinates, Kernel, Overdamped, Target, Thermostat, dot
from creode.sampling.observables import LOSS, Observable
from creode.sampling.prefix import Prefix, Rows
from creode.sampling.probes import DATA_PROBE, Baseline, Probe
from creode.sampling.randomness import Minibatches, Noise, stream_seed
from creode.sampling.recorder import Recorder, mean_loss
from creode.sampling.schedule import Schedule
from creode.sampling.stride import Stride
from creode.sampling.window import Window
from creode.tasks import Batch, Losses

Look = Callable[[Coordinates], None]


class Spent(NamedTuple):
    """Gradients of a chain, at the end of a block of draws."""

    so_far: int
    after_next: int  # block of draws, if it costs as much as those so far


# Given L(w) − L(w*) at the draws so far, (chain, draw): why chains may end, or None.
Enough = Callable[[xr.DataArray, Spent], str | None]

CHUNK = 1 << 17  # weights of a chain moved at a time; a multiple of 16, as the noise requires


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What every block of chains of one posterior shares."""

    target: Target
    kernel: Kernel
    schedule: Schedule  # batch_size is at most the size of the data
    data: Samples  # on the device of the weights
    baseline: Baseline | None  # None: the probe named "data" stands for the data
    probes: Sequence[Probe]
    observables: Sequence[Observable] = ()  # beside the loss
    prefix: Prefix | None = None  # what probes skip
    rows: Rows | None = None  # what steps skip; `data` is then theirs
    pass_size: int = 1  # samples of a probe that are scored at once
    unit: tuple[str, ...] = ()  # names the unit of work in the seeds


class Engine:
    """Runs one block of chains; `state` and `restore` make it resumable after any step."""

    def __init__(
        self, problem: Problem, block: Block, flat: FlatWeights, chains: Sequence[int]
    ) -> None:
        self._problem, self._block, self._flat = problem, block, flat
        schedule, kernel = problem.schedule, problem.kernel
        seeds = {
            purpose: [stream_seed(schedule.seed, problem.unit, c, purpose) for c in chains]
            for purpose in ("noise", "minibatch")
        }
        self._first_chain = chains[0]
        self._noise = Noise(seeds["noise"], block.position, per_step=_padded(flat.size))
        self._minibatches = Minibatches(
            seeds["minibatch"], population=len(problem.data), size=schedule.batch_size
        )
        observed = [LOSS, *(observable.name for observable in problem.observables)]
        self._observes = bool(problem.probes or problem.observables)
        self._recorder = Recorder(
            len(chains),
            schedule.draws,
            problem.probes,
            schedule.traces,
            observed if self._observes else (),
        )
        self._slots = {
            name: torch.full_like(block.position, kernel.slot_start)
            if law != "chain"
            else block.position.new_full((len(chains), 1), kernel.slot_start, dtype=torch.float64)
            for name, law in kernel.slots.items()
        }
        self._thermostat = kernel if isinstance(kernel, Thermostat) else None
        self._stride: Stride | None = None
        if isinstance(kernel, BAOAB) and kernel.relative_step is not None:
            self._stride = Stride(
                block,
                problem.target,
                longest=kernel.step_size,
                relative=kernel.relative_step,
                burnin=schedule.burnin,
            )
        self._window = None if problem.baseline is None else Window(problem.baseline)
        self._chunk = min(CHUNK, flat.size)
        starts = range(0, flat.size, self._chunk)
        copied = len(chains) > 1 or len(starts) == 1  # a copy is small beside what chains hold
        self._anchors: Sequence[Tensor | list[Tensor]] = (
            torch.split(torch.cat(flat.anchor(0, flat.size)), self._chunk)
            if copied
            else [flat.anchor(start, min(start + self._chunk, flat.size)) for start in starts]
        )
        self._scratch = torch.empty_like(block.position[:, : self._chunk])
        self._step = 0
        self._spent_in_burnin = 0
        self.ended_by: str | None = None  # what ended the chains before their last draw
        for name, law in kernel.slots.items():
            if law == "normal":
                for at in self._pieces():
                    at.slots[name].copy_(at.noise)
        if self._minibatches.is_full:
            self._full_batch = {
                name: column.expand(len(chains), *column.shape)
                for name, column in problem.data.columns.items()
            }

    @torch.no_grad()
    def run(
        self,
        *,
        on_step: Callable[[int], None] | None = None,
        on_state: Callable[[Engine], None] | None = None,
        enough: Enough | None = None,
    ) -> None:
        """Run to the last draw. `on_step` hears of each step, `on_state` may take a snapshot.

        With `enough` chains may end before: it is asked at the end of each block of draws.
        """
        schedule = self._problem.schedule
        while self._step < schedule.num_steps and not self._recorder.failed.all():
            if enough is not None and self._may_end(enough):
                return
            self._advance()
            if on_step is not None:
                on_step(self._step)
            if on_state is not None:
                on_state(self)

    def _may_end(self, enough: Enough) -> bool:
        schedule = self._problem.schedule
        draws, since = divmod(self._step - schedule.burnin, schedule.steps_per_draw)
        if draws == 0 and since == 0:
            self._spent_in_burnin = self.evaluations
        if since or draws == schedule.draws or not ends_block(draws, schedule.draws):
            return False
        spent = self.evaluations
        blocks = draws * num_blocks(schedule.draws) / schedule.draws
        more = (spent - self._spent_in_burnin) / blocks
        self.ended_by = enough(self._recorder.excess(draws), Spent(spent, int(spent + more)))
        if self.ended_by is None:
            return False
        self._recorder.end(draws)
        return True

    def tree(self) -> Any:
        """The record of the block, an xarray.DataTree."""
        init = [observable.init for observable in self._problem.observables]
        return self._recorder.tree(self._first_chain, [0.0, *init] if self._observes else ())

    @property
    def evaluations(self) -> int:
        """Gradients of a chain asked for so far."""
        return self._step + (0 if self._stride is None else self._stride.extra)

    @property
    def stride(self) -> Stride | None:
        """The steps, where they answer to the curvature."""
        return self._stride

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on."""
        return {
            "step": self._step,
            "spent_in_burnin": self._spent_in_burnin,
            "position": self._block.position,
            "slots": self._slots,
            "noise": self._noise.state(),
            "window": None if self._window is None else self._window.state(),
            "stride": None if self._stride is None else self._stride.state(),
            "recorder": self._recorder.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`, with the same bits as if it had never stopped."""
        self._step, self._spent_in_burnin = state["step"], state["spent_in_burnin"]
        self._block.position.copy_(state["position"])
        self._block.moved()
        for name, slot in self._slots.items():
            slot.copy_(state["slots"][name])
        self._noise.restore(state["noise"])
        if self._window is not None:
            self._window.restore(state["window"])
        if self._stride is not None:
            self._stride.restore(state["stride"])
        self._recorder.restore(copy.deepcopy(state["recorder"]))

    def _advance(self) -> None:
        schedule, step = self._problem.schedule, self._step
        index, batch = self._batch(step)
        losses = self._block.differentiate(batch)
        since = step - schedule.burnin
        if since >= 0 and self._window is not None:
            self._window.add(losses, index)
        ends_window = (since + 1) % schedule.steps_per_draw == 0
        if ends_window:
            self._check(losses, step)
        draw = since // schedule.steps_per_draw if since >= 0 and ends_window else None
        if draw is None:
            self._move(step, batch)
        else:
            if self._observes:
                self._observe(draw, losses, index)
            self._recorder.draw(draw, self._measure_and_move(step, batch))
        self._block.moved()
        self._step += 1

    def _move(self, step: int, batch: Batch, look: Look | None = None) -> None:
        """One step of the kernel; `look` sees each piece of the weights before it is touched."""
        problem = self._problem
        if self._stride is not None:
            self._move_in_parts(self._stride, step, batch, look)
            return
        target, burnin = problem.target, problem.schedule.burnin
        if self._thermostat is not None:
            kinetic = self._sums()
            for at in self._pieces(noisy=False):
                if look is not None:
                    look(at)
                self._thermostat.kick(at, target, step=step, burnin=burnin)
                kinetic += _kinetic(at)
            temperature = kinetic / self._flat.size
            self._thermostat.regulate(self._slots, temperature, step=step, burnin=burnin)
            look = None
        kinetic = self._sums()
        for at in self._pieces():
            if look is not None:
                look(at)
            problem.kernel.move(at, target, step=step, burnin=burnin)
            if self._thermostat is not None:
                kinetic += _kinetic(at)
        if self._thermostat is not None:
            temperature = kinetic / self._flat.size
            self._thermostat.regulate(self._slots, temperature, step=step, burnin=burnin)

    def _move_in_parts(
        self, stride: Stride, step: int, batch: Batch, look: Look | None = None
    ) -> None:
        """One step, in as many parts as the curvature asks for, all on the step's minibatch."""
        kernel, target = self._problem.kernel, self._problem.target
        assert isinstance(kernel, BAOAB)
        stride.look(step, batch, self._slots["momentum"])
        parts, length = stride.parts(step)
        for part in range(parts):
            if part:
                self._block.moved()
                self._block.differentiate(batch)
                stride.extra += 1
            for at in self._pieces():
                if look is not None and not part:
                    look(at)
                kernel.stride(at, target, before=stride.length, length=length)
            stride.length = length

    def _measure_and_move(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """The scalars (C,) of the draw at the present weights; then the move, while at it."""
        problem = self._problem
        kernel, target, size = problem.kernel, problem.target, self._flat.size
        radial, distance, kinetic, heat = (self._sums() for _ in range(4))
        burnin = problem.schedule.burnin

        def look(at: Coordinates) -> None:
            if kernel.has_momentum:
                kinetic.add_(_kinetic(at))
            elif isinstance(kernel, Overdamped):
                heat.add_(kernel.heat(at, target, step=step, burnin=burnin))
            displacement = torch.sub(at.position, at.anchor, out=at.scratch)
            radial.add_(dot(displacement, at.gradient))
            distance.add_(dot(displacement, displacement))

        self._move(step, batch, look)
        loss_virial = target.nbeta * radial
        scalars = {
            "loss_virial": loss_virial,
            "virial": (loss_virial + target.localization * distance) / size,
            "distance_sq": distance,
        }
        if kernel.has_momentum:
            scalars["temperature"] = kinetic / size
        elif isinstance(kernel, Overdamped):
            scalars["step_heat"] = heat
        if self._window is not None:
            scalars |= self._window.close()
        return scalars

    def _sums(self) -> Tensor:
        """Zeros (C,), to which pieces are added."""
        return torch.zeros(len(self._block.position), dtype=torch.float64, device=self._flat.device)

    def _observe(self, draw: int, losses: BatchLosses, index: Tensor | None) -> None:
        """Score the probes at the present weights, and record them with the observables."""
        problem = self._problem
        scored = {probe.name: self._probe_losses(probe) for probe in problem.probes}
        if self._window is not None:
            excess = self._window.excess(losses, index)
        else:
            data = next(probe for probe in problem.probes if probe.name == DATA_PROBE)
            excess = mean_loss(scored[DATA_PROBE]) - data.init_loss
        observed = [excess]
        for observable in problem.observables:
            value = (
                mean_loss(scored[observable.of])
                if isinstance(observable.of, str)
                else self._block.evaluate(observable.of).double()
            )
            observed.append(value - observable.init)
        self._recorder.observe(draw, torch.stack(observed, 1), scored)
        if self._window is None:
            self._recorder.stand_for_data(draw, data)

    def _probe_losses(self, probe: Probe) -> Losses:
        """Losses (C, B[, T]) of a probe, in an array made before the first pass.

        What is kept from one pass to the next lies among the activations that the pass frees, and
        parts their memory: an allocator then finds no room in it for the next pass.
        """
        prefix, size = self._problem.prefix, self._problem.pass_size
        init = probe.init.values
        values = init.new_empty(len(self._block.position), *init.shape)
        for number, batch in enumerate(in_batches(probe.samples, size)):
            with nullcontext() if prefix is None else prefix.skipped(probe.name, number):
                piece = values[:, number * size : (number + 1) * size]
                piece.copy_(self._block.losses(batch).values)
        return Losses(values, probe.init.mask.expand_as(values))

    def _batch(self, step: int) -> tuple[Tensor | None, Batch]:
        if self._minibatches.is_full:
            return None, self._full_batch
        index = self._minibatches.index(step).to(self._flat.device)
        return index, self._problem.data.batch(index)

    def _check(self, losses: BatchLosses, step: int) -> None:
        bad = ~torch.isfinite(losses.total.sum(1))
        if bool(bad.any()):
            self._recorder.fail(bad, step)

    def _pieces(self, *, noisy: bool = True) -> Iterator[Coordinates]:
        """The weights piece by piece, with noise that is new each time, or none to be used."""
        laws = self._problem.kernel.slots
        for anchor, start in zip(
            self._anchors, range(0, self._flat.size, self._chunk), strict=True
        ):
            stop = min(start + self._chunk, self._flat.size)
            scratch = self._scratch[:, : stop - start]
            yield Coordinates(
                position=self._block.position[:, start:stop],
                gradient=self._block.gradient[:, start:stop],
                anchor=anchor if isinstance(anchor, Tensor) else torch.cat(anchor),
                noise=self._noise.take(_padded(stop - start))[:, : stop - start]
                if noisy
                else scratch,
                scratch=scratch,
                slots={
                    name: slot if laws[name] == "chain" else slot[:, start:stop]
                    for name, slot in self._slots.items()
                },
            )


def _padded(size: int) -> int:
    """The next multiple of 16, so that noise in pieces is the same noise as in one."""
    return -(-size // 16) * 16


def _kinetic(at: Coordinates) -> Tensor:
    """‖p‖² of a piece, (C,)."""
    return dot(at.slots["momentum"], at.slots["momentum"])
