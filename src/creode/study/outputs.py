"""Outputs of every checkpoint on one fixed batch, and the plane that their paths lie in.

Here: which samples and positions, log-probabilities there, ideal predictors of the next token on
the same, and the principal components of all of them.
Not here: the components themselves (development/trajectory.py), where outputs are kept
(measures.py).
Dimensions: N samples, T positions of a sample, V outputs at a position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
import xarray as xr
from torch import Tensor, nn

from creode.development import TrajectoryGram, next_token_predictors
from creode.posterior import LocalPosterior
from creode.sampling import Execution
from creode.sampling.borrow import borrowed
from creode.sampling.unit import on_device
from creode.store import Store
from creode.tasks import Classification, NextToken

GROUP, NAME, IDEALS = "outputs", "checkpoint", "ideals"  # of the store, beside the measures
MOST_SAMPLES = 64
MOST_NUMBERS = 2**20  # of outputs of a checkpoint; beyond, positions and then samples are left out
MOST_TOKENS = 4096  # of a vocabulary whose pairs the ideal predictors count
COMPONENTS = 3
PREDICTORS = ("uniform", "unigram", "bigram")  # in this order: a directory on disk has none
BLOCKS = 50  # of samples, for errors
CHUNK = 8  # samples at once in the Gram matrix


class _Batch(NamedTuple):
    """The fixed batch, on the model it is shown to."""

    posterior: LocalPosterior
    model: nn.Module
    rows: Tensor  # (N,) of the data
    positions: Tensor | None  # (T,) of next-token tasks
    size: int  # V


def take_outputs(
    store: Store, step: str, posterior: LocalPosterior, execution: Execution, run: str = NAME
) -> None:
    """Keep a checkpoint's outputs, and once for all the ideal predictors, if they are not there.

    Args:
        store: of the study.
        step: of the checkpoint, as in the study's keys.
        posterior: its model, with the study's task and data.
        execution: how they are computed.
        run: of another run, its name in keys.

    Raises:
        ValueError: a task without logits, or padded samples.
    """
    if not store.has((GROUP, step, run)):
        store.write((GROUP, step, run), xr.DataTree(outputs(posterior, execution)))
    if not store.has((GROUP, IDEALS, NAME)):
        store.write((GROUP, IDEALS, NAME), xr.DataTree(ideals(posterior, execution)))


def outputs(posterior: LocalPosterior, execution: Execution) -> xr.Dataset:
    """Log-probabilities on the fixed batch: outputs (sample, output), nats, float32.

    The batch is of samples evenly spaced in the data, of next-token tasks at positions evenly
    spaced in them; of each all V outputs, in the order (position, V).
    """
    with _fixed(posterior, execution) as batch:
        found = []
        size = execution.microbatch or len(batch.rows)
        for rows in torch.split(batch.rows, size):
            logits = _logits(batch.posterior, batch.model, rows)
            kept = logits if batch.positions is None else logits[:, batch.positions]
            found.append(kept.log_softmax(-1).flatten(1).cpu())
    return xr.Dataset({"outputs": (("sample", "output"), torch.cat(found).numpy())})


def ideals(posterior: LocalPosterior, execution: Execution) -> xr.Dataset:
    """Uniform, unigram and bigram predictors on the batch, (sample, output), float32.

    Frequencies are those of the posterior's data. Empty for tasks other than the next token, and
    for vocabularies of more than MOST_TOKENS.
    """
    with _fixed(posterior, execution) as batch:
        if batch.positions is None or batch.size > MOST_TOKENS:
            return xr.Dataset()
        tokens = posterior.data.columns["input_ids"].cpu()
        shown = tokens[batch.rows][:, batch.positions].numpy()
        found = next_token_predictors(shown, tokens.numpy(), vocab_size=batch.size)
    return xr.Dataset({name: one.astype("float32") for name, one in found.items()})


def plane(store: Store, runs: Mapping[str, str] | None = None) -> xr.Dataset | None:
    """The plane of the outputs that a store holds; None where it holds none.

    Args:
        store: of the study.
        runs: names of several runs, the study's own among them, by their names in keys; they lie in
            one plane, with the dimension run in this order. None: the study's own alone.

    Returns:
        What `TrajectoryGram.pca` returns.
    """
    if not store.has((GROUP, IDEALS, NAME)):
        return None
    kept = store.read((GROUP,))[GROUP].children
    paths = [_path(kept, run) for run in runs or {NAME: ""}]
    ideal = kept[IDEALS][NAME].to_dataset()
    ideals = {name: ideal[name].load() for name in PREDICTORS if name in ideal}
    num_samples = paths[0].sizes["sample"]
    gram = TrajectoryGram(min(BLOCKS, num_samples))
    for start in range(0, num_samples, CHUNK):
        some = {"sample": slice(start, start + CHUNK)}
        parts = [path.isel(some) for path in paths]
        of_all = parts[0] if runs is None else xr.concat(
            parts, xr.Variable("run", [*runs.values()]), join="outer"
        )  # fmt: skip
        gram.add(of_all, {name: one.isel(some) for name, one in ideals.items()})
    rows = sum(path.sizes["checkpoint"] for path in paths)
    return gram.pca(num_components=min(COMPONENTS, rows - 1))


def _path(kept: Mapping[str, xr.DataTree], run: str) -> xr.DataArray:
    """The outputs of one run, (checkpoint, sample, output)."""
    steps = sorted(name for name in kept if name != IDEALS and run in kept[name].children)
    rows = [kept[step][run].to_dataset()["outputs"] for step in steps]
    at = xr.Variable("checkpoint", [int(step.removeprefix("step_")) for step in steps])
    return xr.concat(rows, at)


@contextmanager
def _fixed(posterior: LocalPosterior, execution: Execution) -> Iterator[_Batch]:
    placed = on_device(posterior, execution.device)
    columns = placed.data.columns
    if not isinstance(placed.task, NextToken | Classification):
        raise ValueError("outputs are read of next-token and classification tasks alone.")
    tokens = isinstance(placed.task, NextToken)
    if tokens and "attention_mask" in columns:
        raise ValueError(
            "outputs are compared position by position, and these samples are padded; use packing "
            "'pack' or 'truncate', or leave the measure 'outputs' out."
        )
    with torch.no_grad(), borrowed(placed.model) as model:
        size = _logits(placed, model, torch.arange(1)).shape[-1]
        num_samples = min(MOST_SAMPLES, len(placed.data), max(2, MOST_NUMBERS // size))
        positions = None
        if tokens:
            length = columns["input_ids"].shape[1] - 1  # the last one predicts nothing
            most = max(1, min(length, MOST_NUMBERS // (num_samples * size)))
            positions = torch.linspace(0, length - 1, most).round().long()
        rows = torch.linspace(0, len(placed.data) - 1, num_samples).round().long()
        yield _Batch(placed, model, rows, positions, size)


def _logits(posterior: LocalPosterior, model: nn.Module, rows: Tensor) -> Tensor:
    assert isinstance(posterior.task, NextToken | Classification)
    return posterior.task.logits(model, posterior.data.batch(rows)).float()
