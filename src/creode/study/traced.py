"""Training samples and queries whose losses are kept at every draw, for their influences.

They are recorded with the draws of the whole model that λ̂ is read from anyway, so that influence
costs their forward passes and no gradient.

Here: which units of work record them, and how many pairs there may be.
Not here: the influences (influence_along.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from creode.data import Samples
from creode.sampling import Plan
from creode.study.config import QUERY, TRAIN, StudyConfig

MOST_PAIRS = 2**17  # of samples and queries, all of which are kept for every checkpoint


def check_pairs(study: StudyConfig, probes: Mapping[str, Samples]) -> None:
    """Refuse more pairs than are kept.

    Raises:
        ValueError: there are.
    """
    if study.influence is None:
        return
    queries, trains = len(probes[QUERY]), len(probes[TRAIN])
    pairs = queries * trains
    if pairs > MOST_PAIRS:
        raise ValueError(
            f"influence of {trains:,} training samples on {queries:,} queries is {pairs:,} pairs, "
            f"and at most {MOST_PAIRS:,} are kept along checkpoints; limit one of them."
        )


def recorded(
    study: StudyConfig, probes: Mapping[str, Samples], plan: Plan, component: str, subject: str
) -> tuple[dict[str, Samples], Plan]:
    """The probes whose losses a unit of work records, and its plan, which names full traces.

    Args:
        study: what is read.
        probes: every probe.
        plan: of the study.
        component: of the unit.
        subject: the component that influences are of.
    """
    if study.influence is None or component != subject:
        return {name: samples for name, samples in probes.items() if name in study.probes}, plan
    traces = (*plan.schedule.traces, TRAIN, QUERY)
    return dict(probes), replace(plan, schedule=replace(plan.schedule, traces=traces))
