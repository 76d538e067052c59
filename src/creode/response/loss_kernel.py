"""Loss kernel: which samples does the model answer with the same weights?

K(z, z') = Cov(ℓ_z, ℓ_z') over draws of the local posterior, or its correlation form: losses that
rise and fall together as the weights move lean on the same weights, whatever the sign.

Here: entries of the kernel with errors; its leading eigenvectors through the factor, so that the
matrix is never formed; alignment with given labels, for which it is.
Not here: drawing (sampling/), the factor and its covariances (factor.py, covariance.py).
Symbols: ℓ_z loss of unit z in nats, X the centred losses, N draws of all C chains, K = XᵀX/(N − C).
Source: arXiv:2509.26537. Eigenvalues: K and XXᵀ/(N − C) share theirs, so the smaller one is
decomposed; their errors are of first order, for eigenvalues that stand apart. Bias: the largest
eigenvalues of a noisy kernel come out too large, by about the share of noise in them.
Dimensions: C chains, D draws of each, U units, R blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from creode.diagnostics.excess import posterior_dataset
from creode.response.covariance import Blocks
from creode.response.factor import BUFFER, Array, By, Factor, Index, Unit
from creode.response.provenance import PROVENANCE
from creode.response.trust import Trust, trust
from creode.version import __version__

MOST_LABELLED = 5000  # units whose pairs are formed, to be ranked: 200 MB a matrix
STANDS_OUT = 2.0  # standard errors taken off an entry's size before it links two samples
FLOOR = 1e-6  # a link between all samples, so that the graph is of one piece
SHUFFLES = 20  # of the labels, for the chance level


def loss_kernel(
    draws: xr.DataTree, probe: str, *, by: By = "sample", normalise: bool = True
) -> LossKernel:
    """The covariance of the losses of a probe's units, computed when it is asked for.

    Args:
        draws: one posterior's tree, with full traces of the probe (`traces=(probe,)`).
        probe: its name.
        by: "sample" (a sample's loss is the mean over its counted tokens) or "token".
        normalise: the correlation form instead of nats².

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: a study's tree, or no such probe, traces or units.
    """
    return LossKernel(draws, Factor(draws, probe, by), normalise)


class LossKernel:
    """K or its correlation form, as the factor that lies with the draws.

    Every result has ok, reasons, notes as any reading. Units are labelled by their position in the
    data: `sample`, or `unit_sample` and `unit_token`.
    """

    def __init__(self, draws: xr.DataTree, factor: Factor, normalise: bool) -> None:
        self.factor, self.normalise = factor, normalise
        self._draws = draws
        time = factor.autocorrelation_time()
        self._blocks = Blocks(factor.num_chains, factor.num_draws, time)
        self._dim = "sample" if factor.by == "sample" else "unit"
        made_by = posterior_dataset(draws).attrs
        self.attrs = {
            "estimator": f"{self._kind} over draws, centred in each chain",
            "probe": factor.probe,
            "blocks": self._blocks.count,
            "autocorrelation_time": time,
            "creode_version": __version__,
            **{name: made_by[name] for name in PROVENANCE if name in made_by},
        }

    def __repr__(self) -> str:
        return f"LossKernel({self._kind} of {len(self.factor)} {self.factor.by}s)"

    @property
    def ok(self) -> bool:
        """Whether the chains can be trusted."""
        return self._trust.verdict.ok

    @property
    def reasons(self) -> str:
        """Why not; empty when they can."""
        return self._trust.verdict.reasons

    @property
    def _kind(self) -> str:
        return "correlation" if self.normalise else "covariance"

    @cached_property
    def _trust(self) -> Trust:
        return trust(self._draws, (self.factor,))

    def block(
        self, units: Sequence[Unit] | None = None, others: Sequence[Unit] | None = None
    ) -> xr.Dataset:
        """Some entries: kernel, kernel_se (sample, other); None for all units."""
        rows, columns = self.factor.find_all(units), self.factor.find_all(others)
        left = self.factor.columns(rows)
        value, error = np.empty((2, len(rows), len(columns)))
        done = 0
        size = max(1, BUFFER // (8 * self._blocks.count * max(len(rows), 1)))
        for slab in self.factor.slabs(columns):
            for start in range(0, len(slab), size):
                piece = slab[start : start + size]
                at = slice(done, done + len(piece))
                found = getattr(self._blocks, self._kind)(left, self.factor.columns(piece))
                value[:, at], error[:, at] = found
                done = at.stop
        dims = (self._dim, "other")
        return self._judged(
            {
                "kernel": (dims, value if self._trust.whole else np.full_like(value, np.nan)),
                "kernel_se": (dims, error if self._trust.moving else np.full_like(error, np.nan)),
            },
            self.factor.coords(self._dim, rows) | self.factor.coords("other", columns),
        )

    def eigen(self, k: int = 10) -> xr.Dataset:
        """The leading eigenvalues and eigenvectors, from the smaller side of the factor.

        Args:
            k: how many, at most.

        Returns:
            eigenvalue, eigenvalue_se, share (mode,): of the trace; eigenvector (mode, sample), of
            unit length, its largest entry positive. mode from 1. Units whose loss never changes
            have no correlation: their entries are 0.

        Raises:
            ValueError: k is less than 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        everything = self.factor.find_all(None)
        k = min(k, len(everything), self._num_draws - self.factor.num_chains)
        value, error, share = np.full((3, k), np.nan)
        vectors = np.full((k, len(everything)), np.nan)
        if self._trust.whole:
            value, vectors, trace = self._decompose(k)
            share = value / trace
            error = self._eigen_error(value, vectors) if self._trust.moving else error
        return self._judged(
            {
                "eigenvalue": ("mode", value),
                "eigenvalue_se": ("mode", error),
                "share": ("mode", share),
                "eigenvector": (("mode", self._dim), vectors),
            },
            {"mode": np.arange(1, k + 1)} | self.factor.coords(self._dim, everything),
        )

    def alignment(self, labels: ArrayLike, *, clusters: int | None = None) -> xr.Dataset:
        """How well the kernel agrees with given labels, and what it says without them.

        Two samples are similar by the size of their entry, |K|: they lean on the same weights
        whatever the sign. Clusters are those of a spectral clustering whose links are sizes less
        two standard errors, so that noise does not link.

        Args:
            labels: one for each unit, in order; any values.
            clusters: how many to look for; default: as many as there are labels.

        Returns:
            rank_correlation: Spearman's, over pairs, of |K| with whether the labels are equal.
            nmi: normalised mutual information of clusters and labels, 0 to 1; nmi_chance: its mean
                over shuffled labels.
            Each with _se, _low, _high: by leaving out one block of draws at a time, 95 %. They say
            what more draws could change, and nothing of the choice of samples. They err to the
            large side (Efron & Stein 1981): where entries are no larger than their noise, to 1.3 to
            1.7 times the spread of repetitions.
            cluster (sample,).

        Raises:
            ImportError: scikit-learn is not installed.
            ValueError: not one label a unit, fewer than two different ones, or too many units.
        """
        try:
            from sklearn.cluster import SpectralClustering
            from sklearn.metrics import normalized_mutual_info_score
        except ImportError as error:
            raise ImportError("alignment needs scikit-learn: pip install 'creode[map]'.") from error
        codes = self._codes(labels)
        num_clusters = len(np.unique(codes)) if clusters is None else clusters
        if not 2 <= num_clusters <= len(codes):
            raise ValueError(f"clusters must lie between 2 and {len(codes)}, got {num_clusters}.")
        pairs = np.triu_indices(len(codes), 1)
        equal = (codes[pairs[0]] == codes[pairs[1]]).astype(float)
        everything = self.factor.find_all(None)
        columns = self.factor.columns(everything) if self._trust.whole else None
        found: dict[str, Any] = {}
        clustered = np.full(len(codes), -1)
        replicates = np.full((2, self._blocks.count), np.nan)
        if columns is not None and (columns.std((0, 1)) > 0).all():
            noise = STANDS_OUT * np.nan_to_num(self.block()["kernel_se"].values)

            def cluster(kernel: Array) -> NDArray[np.int64]:
                links = np.clip(np.abs(kernel) - noise, 0, None)
                links += FLOOR * links.max()
                model = SpectralClustering(
                    num_clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=0
                )
                assigned: NDArray[np.int64] = model.fit_predict(links)
                return assigned

            def read(kernel: Array) -> tuple[float, float, NDArray[np.int64]]:
                assigned = cluster(kernel)
                rank = _rank_correlation(np.abs(kernel[pairs]), equal)
                return rank, float(normalized_mutual_info_score(codes, assigned)), assigned

            rank, nmi, clustered = read(self._kernel(columns, None))
            if self._trust.moving:
                for block in range(self._blocks.count):
                    replicates[:, block] = read(self._kernel(columns, block))[:2]
            rng = np.random.default_rng(0)
            shuffled = [
                normalized_mutual_info_score(rng.permutation(codes), clustered)
                for _ in range(SHUFFLES)
            ]
            found["nmi_chance"] = float(np.mean(shuffled))
        else:
            rank = nmi = found["nmi_chance"] = np.nan
        found |= _with_interval("rank_correlation", rank, replicates[0], least=-1.0)
        found |= _with_interval("nmi", nmi, replicates[1], least=0.0)
        coords = self.factor.coords(self._dim, everything)
        return self._judged(found | {"cluster": (self._dim, clustered)}, coords)

    # -- parts

    @property
    def _num_draws(self) -> int:
        return self.factor.num_chains * self.factor.num_draws

    def _judged(self, variables: dict[str, Any], coords: dict[str, Any]) -> xr.Dataset:
        result = xr.Dataset(variables, coords=coords, attrs=self.attrs)
        return result.assign(self._trust.variables())

    def _scaled(self, index: Index) -> Array:
        """Columns (N, U) whose products are entries of the kernel."""
        columns = self.factor.columns(index).reshape(self._num_draws, len(index))
        columns /= np.sqrt(self._num_draws - self.factor.num_chains)
        if self.normalise:
            size = np.sqrt(np.square(columns).sum(0))
            columns /= np.where(size > 0, size, 1.0)
        return columns

    def _decompose(self, k: int) -> tuple[Array, Array, float]:
        """Eigenvalues (k,), eigenvectors (k, U) and the trace."""
        everything = self.factor.find_all(None)
        if len(everything) <= self._num_draws:
            columns = np.concatenate(
                [self._scaled(slab) for slab in self.factor.slabs(everything)], 1
            )
            kernel = columns.T @ columns
            values, basis = np.linalg.eigh(kernel)
            vectors = basis[:, ::-1][:, :k].T
        else:
            gram = np.zeros((self._num_draws, self._num_draws))
            for slab in self.factor.slabs(everything):
                columns = self._scaled(slab)
                gram += columns @ columns.T
            values, basis = np.linalg.eigh(gram)
            of_draws = basis[:, ::-1][:, :k]
            parts = [self._scaled(slab).T @ of_draws for slab in self.factor.slabs(everything)]
            vectors = np.concatenate(parts).T
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        top = np.argmax(np.abs(vectors), 1)
        vectors = vectors * np.sign(vectors[np.arange(len(vectors)), top])[:, None]
        return values[::-1][:k].copy(), vectors, float(values.sum())

    def _eigen_error(self, values: Array, vectors: Array) -> Array:
        """dλ = vᵀ dK v, with dK from how the blocks differ; (k,).

        In the correlation form the scales differ too: − λ Σ v_i² (the block's square over all).
        """
        everything = self.factor.find_all(None)
        scores = np.zeros((self._num_draws, len(values)))
        scale = np.zeros((self._blocks.count, len(values)))
        chains = (self.factor.num_chains, self.factor.num_draws)
        for slab in self.factor.slabs(everything):
            columns = self._scaled(slab)
            scores += columns @ vectors[:, slab].T
            squares = self._blocks.squares(columns.reshape(*chains, len(slab))) * self._num_draws
            scale += squares @ np.square(vectors[:, slab]).T
        by_block = self._blocks.squares(scores.reshape(*chains, -1)) * self._num_draws
        deviations = by_block - values * (scale if self.normalise else 1.0)
        return self._blocks.error(deviations)

    def _kernel(self, columns_CDU: Array, without: int | None) -> Array:
        """The whole kernel (U, U), with one block of draws left out or none."""
        flat = columns_CDU.reshape(self._num_draws, -1)
        kept = np.ones(self._num_draws, dtype=bool)
        if without is not None:
            kept[self._blocks.draws_of(without)] = False
        kernel: Array = flat[kept].T @ flat[kept] / kept.sum()
        if self.normalise:
            size = np.sqrt(np.diag(kernel))
            kernel /= np.outer(size, size)
        return kernel

    def _codes(self, labels: ArrayLike) -> NDArray[np.int64]:
        given = np.asarray(labels)
        units = len(self.factor)
        if given.shape != (units,):
            raise ValueError(
                f"labels have shape {given.shape}; probe {self.factor.probe!r} has {units} "
                f"{self.factor.by}s that count, so give ({units},)."
            )
        if units > MOST_LABELLED:
            raise ValueError(
                f"{units} units have {units * (units - 1) // 2} pairs to be ranked, more than "
                f"those of {MOST_LABELLED}; record a smaller probe."
            )
        known, codes = np.unique(given, return_inverse=True)
        if len(known) < 2:
            raise ValueError(
                f"all labels are {known[0].item()!r}; alignment needs at least two kinds."
            )
        return codes.astype(np.int64)


def _rank_correlation(similarity: Array, equal: Array) -> float:
    """Spearman's correlation; of two values of `equal` the ranks are these values, up to scale."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(similarity), equal)[0, 1])


def _with_interval(name: str, value: float, left_out: Array, *, least: float) -> dict[str, float]:
    """A statistic with its jackknife error and 95 % interval, within [least, 1]."""
    from scipy.special import stdtrit

    count = len(left_out)
    spread = np.square(left_out - left_out.mean()).sum()
    error = float(np.sqrt(spread * (count - 1) / count)) if count > 1 else np.nan
    reach = float(stdtrit(max(count - 1, 1), 0.975)) * error
    return {
        name: value,
        f"{name}_se": error,
        f"{name}_low": float(np.clip(value - reach, least, 1)),
        f"{name}_high": float(np.clip(value + reach, least, 1)),
    }
