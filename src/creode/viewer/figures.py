"""The figures of a report: each a compiled chart, its words, and the data it is drawn from.

Here: which figures a report has, their titles, captions and descriptions for screen readers.
Not here: how a figure is drawn (charts.py), the page around it (page.py).
Data sets, shared between figures by name: `losses`; `readings`, all; `current`, those of one
checkpoint, and `probes`, the same on other data; `draws`, `lags` and `chosen`, one reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from creode.viewer import charts
from creode.viewer.development import measures
from creode.viewer.development_charts import chi_figure, measure_figure, stage_figure
from creode.viewer.figure import Figure
from creode.viewer.influence_along import influence_figure
from creode.viewer.marks import StepAxis
from creode.viewer.plane import chi_path_figure, plane_figure
from creode.viewer.readings import (
    HEADS,
    OWN,
    PARTS,
    Row,
    group_of,
    losses,
    probe_readings,
    readings,
)
from creode.viewer.report import Report, checkpoints
from creode.viewer.wording import reading_name

_MARKED = "✕ marks a reading that cannot be trusted."


def figures(report: Report) -> list[Figure]:
    """Every figure the report has data for, in the order of the page."""
    rows = readings(report.llc)
    found = []
    axis, groups = step_axis(report), _groups(rows)
    followed = _followed(rows)
    beside = report.development
    if beside is not None:
        found.append(stage_figure(beside, axis))
        if measures(beside):
            found.append(measure_figure(beside, axis))
        if "chi" in beside.trajectory:
            found.append(chi_figure(beside, axis))
        if beside.chi_path is not None and beside.chi_path.sizes["axis"] > 1:
            found.append(chi_path_figure(beside))
        if beside.influence is not None:
            found.append(influence_figure(beside, axis))
        if beside.plane is not None:
            found.append(plane_figure(beside))
        followed = [row for row in followed if row["component"] != beside.component]
    staged = beside is not None and bool(beside.found)
    if report.training is not None:
        found.append(_losses(report, axis, staged))
    found += [_along_training(followed, group, axis, staged) for group in _groups(followed)]
    if any(row["layer"] is not None for row in rows):
        found.append(_heat_map(rows))
    if len({row["component"] for row in rows}) > 1:
        found += [_ranking(group, groups) for group in groups]
    probe_rows = probe_readings(report.llc_on)
    if probe_rows:
        names = list(dict.fromkeys([OWN, *(row["probe"] for row in probe_rows)]))
        groups = _groups(probe_rows)
        found += [_probes(group, names, groups) for group in groups]
    if report.traces:
        found += chain_figures(max(trace.sizes["chain"] for trace in report.traces.values()))
    return found


def loss_rows(report: Report) -> list[Row]:
    """Losses along training, those nearest to a checkpoint marked; none without training."""
    if report.training is None:
        return []
    return losses(report.training, [step for step in checkpoints(report.llc) if step is not None])


def step_axis(report: Report) -> StepAxis:
    """One axis of training steps for every figure along training."""
    steps = [step for step in checkpoints(report.llc) if step is not None]
    if report.training is not None:
        steps += [int(step) for step in report.training["step"].values]
    marked = [step for step in checkpoints(report.llc) if step]
    return StepAxis.over(steps, finest=min(marked, default=None))


def _followed(rows: Sequence[Row]) -> list[Row]:
    """The readings of components that were read at more than one checkpoint."""
    counts = Counter(row["component"] for row in rows)
    return [row for row in rows if counts[row["component"]] > 1]


def _groups(rows: Sequence[Row]) -> list[str]:
    present = {row["group"] for row in rows}
    return [group for group in (PARTS, HEADS) if group in present]


def _losses(report: Report, axis: StepAxis, staged: bool) -> Figure:
    assert report.training is not None
    rows = loss_rows(report)
    values = [row["loss"] for row in rows]
    series = list(dict.fromkeys(row["series"] for row in rows))
    units = str(report.training["loss"].attrs.get("units", "nats"))
    shown, last = len(rows), rows[-1] if rows else None
    total = sum(int(values.notnull().sum()) for values in report.training.data_vars.values())
    thinned = f" {shown:,} of {total:,} values are drawn." if shown < total else ""
    return Figure(
        name="loss_along_training",
        section="training",
        title="Loss",
        caption=f"In {units}. The axis of steps is logarithmic and includes 0.{thinned}",
        description=f"Loss in {units} along training: {', '.join(series)}."
        + (f" The last value is {last['loss']:.4g} at step {last['step']:,}." if last else ""),
        chart=charts.loss_along_training(
            series, units, (min(values, default=0.0), max(values, default=1.0)), axis, staged
        ),
    )


def _along_training(rows: Sequence[Row], group: str, axis: StepAxis, staged: bool) -> Figure:
    names = _names(rows, group)
    single = len(names) == 1
    name = reading_name({"component": names[0], "step": None})
    what = name if single else _plural(group, _groups(rows))
    scale = " All panels share one scale." if group == HEADS and not single else ""
    stages = " Shaded: stages in which the λ̂ above moves. ▼ an alarm." if staged else ""
    doubtful = sum(row["group"] == group and not row["ok"] for row in rows)
    return Figure(
        name=f"llc_along_training_{group}",
        section="training",
        title=f"λ̂ of {what}",
        caption=f"Against the training step. Bands: ±2 standard errors. {_MARKED}{scale}{stages}",
        description=f"Local learning coefficient of {', '.join(names)} along training, with "
        f"standard errors; {doubtful} of these readings cannot be trusted.",
        chart=charts.llc_along_training(names, group, axis, staged),
        facet_width=None if single else 108,
    )


def _heat_map(rows: Sequence[Row]) -> Figure:
    values = [row["llc"] for row in rows if row["layer"] is not None and row["llc"] is not None]
    return Figure(
        name="llc_by_layer_and_head",
        section="components",
        title="λ̂ of each head, by layer",
        caption=f"The colour means the same at every checkpoint. {_MARKED}",
        description="Heat map of the local learning coefficient, a row for each layer and a column "
        f"for each head, from {min(values, default=0):.3g} to {max(values, default=0):.3g}.",
        chart=charts.heat_map(min(values, default=0.0), max(values, default=1.0)),
    )


def _ranking(group: str, groups: Sequence[str]) -> Figure:
    what = _plural(group, groups)
    return Figure(
        name=f"llc_ranked_{group}",
        section="components",
        title=f"λ̂ of {what}, sorted",
        caption=f"Intervals: ±2 standard errors. {_MARKED}",
        description=f"Local learning coefficient of {what}, sorted by value, with "
        "intervals of two standard errors.",
        chart=charts.ranking(group),
        wide=len(groups) == 1,
    )


def _probes(group: str, names: Sequence[str], groups: Sequence[str]) -> Figure:
    what = _plural(group, groups)
    return Figure(
        name=f"llc_on_probes_{group}",
        section="probes",
        title=f"λ̂ of {what}, by data",
        caption=f"“{OWN}”: the posterior’s own. Intervals: ±2 standard errors. {_MARKED}",
        description=f"Data-refined local learning coefficient of {what} on "
        f"{', '.join(names)}, with intervals of two standard errors.",
        chart=charts.probes(group, names),
        wide=len(groups) == 1,
    )


def chain_figures(num_chains: int) -> list[Figure]:
    """Figures of one reading's chains, of whatever reading that is."""
    return [
        Figure(
            name="chain_losses",
            section="chains",
            title="Loss above the checkpoint’s",
            caption="L(w) − L(w*) at each draw, both on the same samples.",
            description="Trace of the excess loss of each chain.",
            chart=charts.draws("excess", "L(w) − L(w*)  (nats)", num_chains),
        ),
        Figure(
            name="chain_running_llc",
            section="chains",
            title="Running λ̂",
            caption="Each chain’s mean so far. Band: the reading, ±2 standard errors.",
            description="Estimate of the local learning coefficient of each chain from its draws "
            "so far.",
            chart=charts.draws("running", "λ̂ so far", num_chains),
            wide=False,
        ),
        Figure(
            name="chain_autocorrelation",
            section="chains",
            title="Autocorrelation",
            caption="Of the loss within each chain; the sooner it falls to 0, the more a draw is "
            "worth.",
            description="Autocorrelation of the loss of each chain against the lag in draws.",
            chart=charts.autocorrelation(num_chains),
            wide=False,
        ),
    ]


def _plural(group: str, groups: Sequence[str]) -> str:
    if group == HEADS:
        return "attention heads"
    return "larger parts" if HEADS in groups else "components"


def _names(rows: Sequence[Row], group: str) -> list[str]:
    names = dict.fromkeys(row["component"] for row in rows)
    return [name for name in names if group_of(name) == group]
