"""Paths of whole training runs through the space of functions, in their common plane.

The outputs of every checkpoint of every run on one fixed batch, one row f_t each, less their mean
over rows, have one SVD, F = U S Vᵀ. The scores U S are the coordinates of the checkpoints, and an
ideal predictor g lies in the same plane at (g - mean) V. All of it follows from the Gram matrix
F Fᵀ of the rows, a sum over samples, so that outputs are needed for a few samples at a time.

Here: adding up Gram matrices in chunks of samples; scores, explained shares, ideal predictors, and
their errors by a bootstrap over blocks of samples.
Not here: evaluating models, stages along a trajectory.
Unit: that of the outputs, as a root mean square over samples of the norm over outputs. Logits are
defined up to a constant for each sample; give log-probabilities where that should not count.
Error: every bootstrap's scores are first turned onto the full ones by the orthogonal matrix that
fits best (Procrustes), since the sign of a component, and the axes of two of nearly equal share,
are arbitrary; the errors are thus those of the shape of the paths within the plane.
Source: joint trajectory PCA, arXiv:2501.17745. Deviation: rows are weighted equally, whichever run
they are of, and the Gram matrix is divided by the number of samples.
Dimensions: T rows (run, checkpoint), J ideal predictors, N samples, O outputs, K components,
B blocks of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from creode.version import __version__

Array = NDArray[np.floating[Any]]
_ROWS = ("run", "checkpoint")


class TrajectoryGram:
    """Gram matrices of checkpoints and ideal predictors, added up over chunks of samples."""

    def __init__(self, num_blocks: int = 50) -> None:
        """Keep the sums of `num_blocks` blocks of samples apart, for the bootstrap."""
        if num_blocks < 2:
            raise ValueError(f"a bootstrap needs at least 2 blocks of samples, got {num_blocks}.")
        self._num_blocks = num_blocks
        self._rows: xr.DataArray | None = None  # one number a row, for the labels
        self._names: tuple[str, ...] = ()
        self._gram: Array = np.zeros((0, 0, 0))  # (B, T + J, T + J) of rows less the mean row
        self._counts: Array = np.zeros(num_blocks)
        self._samples = 0

    def add(self, outputs: xr.DataArray, ideals: Mapping[str, xr.DataArray] | None = None) -> None:
        """Add some samples.

        Args:
            outputs: dims ([run,] checkpoint, sample, output); the same checkpoints each time. A
                checkpoint that a run does not have is NaN throughout.
            ideals: ideal predictors by name, dims (sample, output), of the same samples.
        Raises:
            ValueError: other dims, checkpoints or predictors than before, or a value that is not
                finite.
        """
        stacked = _stacked(outputs)
        given = {
            name: ideal.transpose("sample", "output") for name, ideal in (ideals or {}).items()
        }
        labels = stacked.isel(sample=0, output=0, drop=True)
        if self._rows is None:
            self._rows, self._names = labels, tuple(given)
            size = stacked.sizes["row"] + len(given)
            self._gram = np.zeros((self._num_blocks, size, size))
        elif tuple(given) != self._names or not labels["row"].equals(self._rows["row"]):
            raise ValueError(
                f"every chunk needs the same checkpoints and ideal predictors {self._names}; "
                f"this one has {tuple(given)} and {labels.sizes['row']} rows for "
                f"{self._rows.sizes['row']}, or rows of other names."
            )
        rows = stacked.transpose("row", "sample", "output").values.astype(np.float64)
        shape = rows.shape[1:]
        for name, ideal in given.items():
            if ideal.shape != shape:
                raise ValueError(
                    f"ideal predictor {name!r} has shape {ideal.shape} by (sample, output), the "
                    f"outputs {shape}."
                )
        every = np.concatenate([rows, *(ideal.values[None] for ideal in given.values())])
        if not np.isfinite(every).all():
            raise ValueError(
                "an output is not finite; leave out that checkpoint, or make it NaN throughout."
            )
        every = every - rows.mean(0)
        blocks = (self._samples + np.arange(shape[0])) % self._num_blocks
        for block in np.unique(blocks):
            own = every[:, blocks == block].reshape(len(every), -1)
            self._gram[block] += own @ own.T
            self._counts[block] += (blocks == block).sum()
        self._samples += shape[0]

    def pca(
        self, *, num_components: int = 3, num_bootstrap: int = 200, seed: int = 0
    ) -> xr.Dataset:
        """Scores and explained shares of what was added.

        Returns:
            score, score_se ([run,] checkpoint, component); explained, explained_se (component,),
            shares of the variance over rows; ideal, ideal_se (predictor, component) and
            off_plane (predictor,), its distance from the plane of the components. The sign of a
            component makes its largest score positive.
        Raises:
            ValueError: fewer samples than blocks, or more components than rows allow.
        """
        if self._rows is None or self._samples < self._num_blocks:
            raise ValueError(
                f"{self._samples} samples do not fill {self._num_blocks} blocks; add more, or "
                "give fewer num_blocks."
            )
        T = self._rows.sizes["row"]
        if not 1 <= num_components < T:
            raise ValueError(
                f"num_components must be from 1 to {T - 1}, one less than there are checkpoints, "
                f"got {num_components}."
            )
        total = self._gram.sum(0) / self._samples
        places, explained = _coordinates(total, T, num_components)
        largest = np.abs(places[:T]).argmax(0)
        places = places * np.sign(places[largest, np.arange(num_components)])
        rng = np.random.default_rng(seed)
        turned, shares = [], []
        for _ in range(num_bootstrap):
            times = rng.multinomial(
                self._num_blocks, np.full(self._num_blocks, 1 / self._num_blocks)
            )
            gram = np.tensordot(times, self._gram, axes=1) / (times @ self._counts)
            other, share = _coordinates(gram, T, num_components)
            rotation, _ = orthogonal_procrustes(other[:T], places[:T])
            turned.append(other @ rotation)
            shares.append(share)
        se, share_se = np.std(turned, axis=0, ddof=1), np.std(shares, axis=0, ddof=1)
        return self._labelled(places, se, explained, share_se, np.diag(total), seed)

    def _labelled(
        self, places: Array, se: Array, explained: Array, share_se: Array, square: Array, seed: int
    ) -> xr.Dataset:
        assert self._rows is not None
        T = self._rows.sizes["row"]
        component = np.arange(1, places.shape[1] + 1)
        scores = xr.Dataset(
            {
                "score": (("row", "component"), places[:T]),
                "score_se": (("row", "component"), se[:T]),
            },
            coords={"row": self._rows["row"]},
        )
        dims = list(self._rows["row"].to_index().names)
        unstacked = scores.unstack("row") if "run" in dims else scores.rename(row="checkpoint")
        off = np.sqrt(np.clip(square[T:] - (places[T:] ** 2).sum(1), 0, None))
        whole = unstacked.transpose(..., "component").assign(
            explained=("component", explained),
            explained_se=("component", share_se),
            ideal=(("predictor", "component"), places[T:]),
            ideal_se=(("predictor", "component"), se[T:]),
            off_plane=("predictor", off),
        )
        made_with = {"num_samples": self._samples, "num_blocks": self._num_blocks, "seed": seed}
        return whole.assign_coords(
            component=component, predictor=np.array(self._names, dtype=str)
        ).assign_attrs(made_with, creode_version=__version__)


def trajectory_pca(
    outputs: xr.DataArray,
    ideals: Mapping[str, xr.DataArray] | None = None,
    *,
    num_components: int = 3,
    num_bootstrap: int = 200,
    num_blocks: int = 50,
    chunk: int = 64,
    seed: int = 0,
) -> xr.Dataset:
    """The common principal components of training runs' outputs: `TrajectoryGram` in one call.

    Args:
        outputs: dims ([run,] checkpoint, sample, output), such as logits on a fixed batch. Outputs
            opened lazily are read `chunk` samples at a time.
        ideals: ideal predictors by name, dims (sample, output), of the same samples.
        num_components: how many.
        num_bootstrap: of blocks of samples, for the errors.
        num_blocks: of samples, at most as many as there are.
        chunk: samples held in memory at once; changes rounding alone.
        seed: of the bootstrap.
    Returns:
        What `TrajectoryGram.pca` returns.
    Raises:
        ValueError: dims, values or counts that allow none.
    """
    if "sample" not in outputs.dims:
        raise ValueError(f"outputs need a dimension sample, got {outputs.dims}.")
    gram = TrajectoryGram(min(num_blocks, outputs.sizes["sample"]))
    for start in range(0, outputs.sizes["sample"], chunk):
        part = {"sample": slice(start, start + chunk)}
        gram.add(outputs.isel(part), {name: g.isel(part) for name, g in (ideals or {}).items()})
    return gram.pca(num_components=num_components, num_bootstrap=num_bootstrap, seed=seed)


def _stacked(outputs: xr.DataArray) -> xr.DataArray:
    """Rows (run, checkpoint), those that are there, before (sample, output)."""
    wanted = {"checkpoint", "sample", "output"}
    if not wanted <= {*outputs.dims} <= wanted | {"run"}:
        raise ValueError(
            f"outputs need dims ([run,] checkpoint, sample, output), got {outputs.dims}."
        )
    if "checkpoint" not in outputs.coords:
        raise ValueError("outputs need the training steps as coordinate checkpoint.")
    if "run" not in outputs.dims:
        return outputs.rename(checkpoint="row")
    labelled = outputs if "run" in outputs.coords else outputs.assign_coords(
        run=np.arange(outputs.sizes["run"])
    )  # fmt: skip
    stacked = labelled.stack(row=_ROWS)
    absent = stacked.isnull().all(("sample", "output"))
    return stacked.isel(row=np.flatnonzero(~absent.values))


def _coordinates(gram: Array, T: int, num_components: int) -> tuple[Array, Array]:
    """Coordinates (T + J, K) of rows and ideal predictors, and explained shares (K,)."""
    values, vectors = np.linalg.eigh(gram[:T, :T])
    order = np.argsort(values)[::-1][:num_components]
    square, U = values[order].clip(min=0), vectors[:, order]
    scale = np.where(square > 1e-12 * max(values.sum(), 1e-300), square, np.inf) ** -0.5
    return gram[:, :T] @ U * scale, square / values.sum()
