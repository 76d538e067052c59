"""Learning coefficients against known truths: the automatic sampler, plain ones, a tuned peer.

    python benchmarks/accuracy.py --threads 1 --out accuracy.jsonl
    python benchmarks/accuracy.py --table accuracy.jsonl

Every point of cases.py is read by every method at the same number of gradient evaluations a chain.
Peers choose from a grid with the truth in hand, on every other point; they are reported on those
and on the rest apart.

Here: which is read how, and the lines of JSON.
Not here: points (cases.py), methods (methods.py), exact values at finite nβ and γ (references.py),
errors and the table (results_of_accuracy.py).
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import bad_settings
import torch
from cases import TESTBEDS, Case, Wanted, cases
from machine import load, machine
from methods import CHAINS, OURS, PEERS, TUNED, Method, Order, PeerSettings, of_peer
from networks import SEED
from peer_reading import Peer
from peers import DEFAULT, interpreters
from references import Reference, by_hmc, by_quadrature
from report import note
from results_of_accuracy import EXACT_GRADIENTS, Result, markdown, table
from tuning import Grid, tune

BAD = "bad"
BAD_TESTBEDS = ("deep-linear", "normal-crossing", "superposition", "nonlinear")
BAD_BUDGET = 4000  # gradients of a chain, of the sound choice that is spoilt
QUICK = Grid(step_sizes=(1e-5, 1e-4), localizations=(1.0,), nbetas=(587.0,), finalists=1)
Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One testbed with one kind of gradients."""

    points: Sequence[Case]
    batch_size: int | None  # None: exact gradients
    budget: int
    reference_weights: int  # up to which HMC gives the exact value at finite nβ and γ

    @property
    def gradients(self) -> str:
        """For people."""
        return EXACT_GRADIENTS if self.batch_size is None else str(self.batch_size)

    def order(self, case: Case, budget: int | None = None) -> Order:
        """What a method is given."""
        testbed = case.make(self.batch_size is None)
        size = len(testbed.data)
        return Order(
            case=case, testbed=testbed, budget=budget or self.budget,
            batch_size=size if self.batch_size is None else min(self.batch_size, size),
        )  # fmt: skip

    def read(self, case: Case, name: str, method: Method, tuned_on: bool | None = None) -> Result:
        """One point by one method."""
        order = self.order(case)
        start = time.perf_counter()
        reading = method(order)
        seconds = time.perf_counter() - start
        exact = order.testbed.llc
        result = Result(
            **asdict(reading), testbed=case.testbed, case=case.name, num_weights=case.num_weights,
            gradients=self.gradients, method=name, tuned_on=tuned_on, exact=exact, seconds=seconds,
        )  # fmt: skip
        known = self._reference(case, exact, reading.nbeta, reading.localization)
        if known is None or not known.ok:
            return result
        return replace(
            result, finite=known.value, finite_se=known.error, finite_source=known.source
        )

    def _reference(
        self, case: Case, exact: float | None, nbeta: float, localization: float
    ) -> Reference | None:
        if not math.isfinite(nbeta):
            return None
        key = (case.testbed, case.name, nbeta, localization)
        if key not in _REFERENCES:
            testbed = case.make(True)
            found = by_quadrature(testbed, nbeta, localization)
            if found is None and (exact is None or case.num_weights <= self.reference_weights):
                found = by_hmc(testbed, nbeta, localization)
            _REFERENCES[key] = found
        return _REFERENCES[key]


_REFERENCES: dict[tuple[str, str, float, float], Reference | None] = {}


def tuned(suite: Suite, kind: str, peer: Peer, grid: Grid, emit: Emit) -> PeerSettings:
    """The peer's best settings on every other point."""

    def trial(settings: PeerSettings, budget: int) -> list[float]:
        method = of_peer(peer, settings, chains=1)
        errors = []
        for case in suite.points[::2]:
            order = suite.order(case, budget)
            reading = method(order)
            errors.append(reading.llc / order.testbed.llc - 1)  # NaN: failed
        emit({
            "benchmark": "accuracy grid", "testbed": suite.points[0].testbed,
            "gradients": suite.gradients, "method": kind, "budget": budget,
            **settings.optimizer, "errors": errors,
        })  # fmt: skip
        return errors

    return tune(kind, trial, budget=suite.budget, grid=grid)


def readings(suite: Suite, methods: Sequence[str], peer: Peer | None, grid: Grid, emit: Emit
) -> Iterator[Result]:  # fmt: skip
    """All points of a suite by all methods."""
    for name in methods:
        if name in OURS:
            for case in suite.points:
                yield suite.read(case, name, OURS[name])
        if peer is None:
            continue
        if name in PEERS:
            for case in suite.points:
                yield suite.read(case, name, of_peer(peer, PEERS[name]))
        if name in TUNED and all(case.has_llc for case in suite.points):
            settings = tuned(suite, TUNED[name], peer, grid, emit)
            note(f"{name}: {dict(settings.optimizer)}")
            for number, case in enumerate(suite.points):
                yield suite.read(case, name, of_peer(peer, settings), tuned_on=number % 2 == 0)


def trainable(points: Sequence[Case]) -> list[Case]:
    """The points that can be made; the others are named."""
    made = []
    for case in points:
        try:
            case.make(True)
        except ValueError as error:
            note(f"left out: {case.testbed} {case.name}: {error}")
            continue
        made.append(case)
    return made


def read_bad(wanted: Wanted, emit: Emit) -> str:
    """Every spoilt setting of every point; the table of the verdicts."""
    records = []
    for testbed in BAD_TESTBEDS:
        for case in trainable(cases(testbed, wanted)):
            named = {"benchmark": "accuracy bad", "testbed": testbed, "case": case.name}
            try:
                for record in bad_settings.read(case.make(True), budget=BAD_BUDGET):
                    records.append(named | record)
                    emit(records[-1])
            except ValueError as error:  # the pilot refused: there is no sound choice to spoil
                note(f"left out: {testbed} {case.name}: {error}")
    return bad_table(records)


def bad_table(records: Sequence[dict[str, Any]]) -> str:
    """Of every spoilt setting, how often the verdict was ok, and how wrong it was then."""
    rows = []
    for setting in dict.fromkeys(record["setting"] for record in records):
        mine = [record for record in records if record["setting"] == setting]
        passed = [record for record in mine if record["ok"]]
        errors = [r["llc"] / r["exact"] - 1 for r in passed if r["exact"] is not None]
        worst = f"{max(errors, key=abs):+.0%}" if errors else "–"
        rows.append([setting, str(len(mine)), str(len(passed)), worst])
    return markdown(["spoilt setting", "points", "ok", "worst error where ok"], rows)


def tables(records: Sequence[dict[str, Any]]) -> str:
    """The tables of saved lines."""
    results = [Result.of(record) for record in records if record["benchmark"] == "accuracy"]
    bad = [record for record in records if record["benchmark"] == "accuracy bad"]
    return "\n\n".join([*([table(results)] if results else []), *([bad_table(bad)] if bad else [])])


def main() -> None:
    everything = [*OURS, *PEERS, *TUNED]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=SEED, help="of the points")
    parser.add_argument("--count", type=int, default=12, help="points of a testbed")
    parser.add_argument("--least", type=float, default=30, help="weights of the smallest")
    parser.add_argument("--most", type=float, default=1e4, help="weights of the largest")
    parser.add_argument("--budget", type=int, default=20_000, help="gradients of a chain")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[64, 512], help="minibatches")
    parser.add_argument("--no-exact", action="store_true", help="leave out exact gradients")
    parser.add_argument("--testbeds", nargs="+", choices=[*TESTBEDS, BAD], default=[*TESTBEDS, BAD])
    parser.add_argument(
        "--methods", nargs="+", default=[], metavar="TEXT",
        help=f"those whose names hold one of these texts, of {everything}",
    )  # fmt: skip
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="their environments")
    parser.add_argument(
        "--reference", type=int, default=0, metavar="WEIGHTS",
        help="also draw exactly at each method's nβ and γ, up to so many weights",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tries everything, measures nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file that the JSON lines are also added to")
    parser.add_argument("--table", type=Path, nargs="+", help="show saved lines, measure nothing")
    given = parser.parse_args()
    if given.table is not None:
        lines = [line for path in given.table for line in path.read_text().splitlines()]
        print(tables([json.loads(line) for line in lines]))
        return
    if given.quick:
        given.count, given.most, given.budget = min(given.count, 2), min(given.most, 300), 1000
        given.batch_sizes = given.batch_sizes[:1]
    methods = [
        name for name in everything
        if not given.methods or any(text.lower() in name.lower() for text in given.methods)
    ]  # fmt: skip
    if not methods:
        parser.error(f"no method is named by {given.methods}; there are {everything}.")
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    wanted = Wanted(count=given.count, least=given.least, most=given.most, seed=given.seed)
    records: list[dict[str, Any]] = []

    def emit(record: dict[str, Any]) -> None:
        records.append(record)
        line = json.dumps(record)
        print(line, flush=True)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    with ExitStack() as stack:
        peer = None
        if not given.no_peers and any(name not in OURS for name in methods):
            python = interpreters(given.peers, "devinterp-1.3.2")["devinterp-1.3.2"]
            peer = stack.enter_context(Peer(python, threads=given.threads))
        sizes: list[int | None] = [*([] if given.no_exact else [None]), *given.batch_sizes]
        for testbed in given.testbeds:
            if testbed == BAD:
                read_bad(wanted, emit)
                continue
            points = trainable(cases(testbed, wanted))
            for batch_size in sizes:
                if not points or (batch_size is None and points[0].noisy):
                    continue
                suite = Suite(
                    points=points, batch_size=batch_size, budget=given.budget,
                    reference_weights=given.reference,
                )  # fmt: skip
                grid = QUICK if given.quick else Grid()
                for result in readings(suite, methods, peer, grid, emit):
                    emit({
                        "benchmark": "accuracy", **asdict(result), "error": result.error,
                        "seed": given.seed, "budget": given.budget, "load": load(),
                    })  # fmt: skip
    print(f"\n{given.budget} gradients a chain, {CHAINS} chains; {machine()}\n")
    print(tables(records))


if __name__ == "__main__":
    main()
