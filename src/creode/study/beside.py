"""What a study reads of a checkpoint beside its draws: measures, metrics, outputs.

Here: taking all of it, once, when the checkpoint is in memory.
Not here: each of them (measures.py, metrics.py, outputs.py, margins.py), draws (run.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from creode.development import Checkpoint
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.store import Store
from creode.study import margins, measures, outputs
from creode.study.metrics import Metric, read_metric
from creode.tasks import Margin

GROUPS = (measures.GROUP, outputs.GROUP, margins.GROUP)  # of the store


@dataclass(frozen=True)
class Beside:
    """What to read of every checkpoint."""

    measures: Sequence[str]  # names, as in a study
    metrics: Mapping[str, Metric]
    execution: Execution
    margins: Mapping[str, Margin] = field(default_factory=dict)  # of behaviours

    def take(
        self, store: Store, step: str, whole: LocalPosterior, checkpoint: Checkpoint | None
    ) -> None:
        """Read what the store does not hold yet; `whole` is the posterior of the whole model.

        Raises:
            ValueError: something cannot be read, or is no reading.
        """
        wanted = measures.weight_measures(self.measures, whole, self.execution)
        for spec, metric in self.metrics.items():
            wanted[spec] = partial(read_metric, spec, metric, whole.model, checkpoint)
        measures.take(store, step, wanted)
        if "outputs" in self.measures:
            outputs.take_outputs(store, step, whole, self.execution)
        if self.margins:
            margins.take_margins(store, step, whole, self.margins, self.execution)
