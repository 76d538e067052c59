"""Bayesian influence (BIF): which training samples or tokens made the model do this?

BIF(z, φ) = −Cov(ℓ_z, φ) over draws of the local posterior: the change of E[φ] as the weight of z in
the sampled loss grows, over nβ/n. Negative: more of z lowers φ. With φ the loss of a query, z is
then *helpful* to it, and *harmful* if positive.

Here: that reading of samples or tokens on samples, tokens or any observable, with errors and a
verdict, from full traces; a row, a block, the top of a row, or all pairs in pieces.
Not here: drawing (sampling/), the factor and its covariances (factor.py, covariance.py).
Symbols: ℓ_z loss of unit z in nats, φ an observable, nβ inverse temperature.
Source: arXiv:2509.26544, the estimator centred in each chain. The correlation form: −Corr(ℓ_z, φ).
Limit: for a regular minimum nβ·Cov(ℓ_z, ℓ_q) tends to g_zᵀ(H + γ/nβ)⁻¹g_q, the damped influence
function. Bias: centring leaves out about τ/D of each covariance (factor.py); a finite nβ adds
½ tr(A_z P⁻¹ A_q P⁻¹), what curvatures share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from creode.diagnostics.excess import posterior_dataset
from creode.diagnostics.trace import SAMPLE_DIMS
from creode.response.covariance import Blocks
from creode.response.discoveries import significant
from creode.response.factor import BUFFER, Array, By, Factor, Index, Unit
from creode.response.provenance import PROVENANCE
from creode.response.trust import Trust, trust
from creode.response.uncertainty import two_sided
from creode.version import __version__

Kind = Literal["covariance", "correlation"]
FDR = 0.05
SIDES = ("helpful", "harmful")


def influence(
    draws: xr.DataTree,
    *,
    query: str,
    train: str,
    by: By | tuple[By, By] = "sample",
    kind: Kind = "covariance",
) -> Influence:
    """The influence of every unit of one probe on every unit of another, computed when asked for.

    Args:
        draws: one posterior's tree, with full traces of both probes (`traces=(query, train)`).
        query: the probe whose losses are to be explained.
        train: the probe of what they are explained by; it may be the same.
        by: the units of both: "sample" (a sample's loss is the mean over its counted tokens) or
            "token"; or a pair, the query's first.
        kind: "covariance", −Cov in nats², or "correlation", −Corr, on which loud units weigh no
            more than others.

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: a study's tree; no such probe, traces or units; an unknown kind.
    """
    if kind not in ("covariance", "correlation"):
        raise ValueError(f"kind must be 'covariance' or 'correlation', got {kind!r}.")
    of_query, of_train = (by, by) if isinstance(by, str) else by
    return Influence(draws, Factor(draws, query, of_query), Factor(draws, train, of_train), kind)


class Influence:
    """−Cov or −Corr of two probes' losses, as the factor that lies with the draws.

    Every result has bif, bif_se, and ok, reasons, notes as any reading. Its units are labelled by
    their position in the data: `query` and `train`, or `query_sample` and `query_token`, ….
    """

    def __init__(self, draws: xr.DataTree, query: Factor, train: Factor, kind: Kind) -> None:
        self.query, self.train, self.kind = query, train, kind
        self._draws = draws
        time = np.fmax(query.autocorrelation_time(), train.autocorrelation_time())
        self._blocks = Blocks(train.num_chains, train.num_draws, float(time))
        made_by = posterior_dataset(draws).attrs
        self.attrs = {
            "estimator": f"-{kind} over draws, centred in each chain",
            "query": query.probe,
            "train": train.probe,
            "blocks": self._blocks.count,
            "autocorrelation_time": self._blocks.time,
            "creode_version": __version__,
            **{name: made_by[name] for name in PROVENANCE if name in made_by},
        }

    def __repr__(self) -> str:
        return (
            f"Influence(-{self.kind}: {len(self.train)} {self.train.by}s of {self.train.probe!r} "
            f"on {len(self.query)} {self.query.by}s of {self.query.probe!r})"
        )

    @property
    def ok(self) -> bool:
        """Whether the chains can be trusted."""
        return self._trust.verdict.ok

    @property
    def reasons(self) -> str:
        """Why not; empty when they can."""
        return self._trust.verdict.reasons

    @property
    def trusted(self) -> dict[str, bool | str]:
        """ok, reasons and notes, as in every result."""
        return self._trust.variables()

    @cached_property
    def _trust(self) -> Trust:
        return trust(self._draws, (self.query, self.train))

    def row(self, query: Unit) -> xr.Dataset:
        """The influence of every training unit on one query: bif, bif_se (train,)."""
        return self.block([query]).isel(query=0)

    def block(
        self, queries: Sequence[Unit] | None = None, trains: Sequence[Unit] | None = None
    ) -> xr.Dataset:
        """The influence of some training units on some queries: bif, bif_se (query, train).

        Args:
            queries: units of the query probe; None for all, as wanted only of small probes.
            trains: units of the training probe; None for all.
        """
        some, others = self.query.find_all(queries), self.train.find_all(trains)
        return self._labelled(some, others, *self._rows(self.query.columns(some), others))

    def chunks(self, queries: Sequence[Unit] | None = None) -> Iterator[xr.Dataset]:
        """All pairs, as blocks (query, train) that fit in memory one at a time."""
        for some in self._groups(self.query.find_all(queries)):
            left = self.query.columns(some)
            for slab in self._slabs(self.train.find_all(None), len(some)):
                yield self._labelled(some, slab, *self._rows(left, slab))

    def top(self, query: Unit | list[Unit], k: int = 10, *, fdr: float = FDR) -> xr.Dataset:
        """The most helpful and most harmful training units of one query, or of each of several.

        A unit is not listed for itself where both probes are the same.

        Args:
            query: a unit of the query probe (a tuple is a token), or a list of units.
            k: how many of each side, at most.
            fdr: rate of false discoveries that `significant` allows in a query's row.

        Returns:
            Dims ([query,] side, rank), side "helpful" and "harmful", rank from 1: train (or
            train_sample, train_token; −1 where fewer have that sign), bif, bif_se, z = bif/bif_se,
            significant (among all training units of that query).
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        units = query if isinstance(query, list) else [query]
        found = [self._tops(some, k, fdr) for some in self._groups(self.query.find_all(units))]
        joined = xr.concat(found, "query") if len(found) > 1 else found[0]
        joined = joined.assign(self._trust.variables()).assign_attrs(self.attrs, fdr=fdr)
        return joined if isinstance(query, list) else joined.isel(query=0)

    def of(self, observable: xr.DataArray) -> xr.Dataset:
        """The influence of every training unit on an observable: bif, bif_se (train,).

        Args:
            observable: φ at every draw, dims (chain, draw), for example `draws["distance_sq"]` or
                the difference of two probes' losses. The unit of bif is its unit times nats.

        Raises:
            ValueError: it is not one number for every draw of these chains.
        """
        trace = self._trace_of(observable)
        everything = self.train.find_all(None)
        value, error = self._rows((trace - trace.mean(1, keepdims=True))[..., None], everything)
        return xr.Dataset(
            {"bif": ("train", value[0]), "bif_se": ("train", error[0])},
            coords=self.train.coords("train", everything),
            attrs=self.attrs | {"query": str(observable.name or "observable")},
        ).assign(self._trust.variables())

    def to_parquet(
        self,
        path: str | Path,
        *,
        queries: Sequence[Unit] | None = None,
        top: int | None = None,
        fdr: float = FDR,
    ) -> Path:
        """Write pairs as a table, one row a pair, in pieces.

        Args:
            path: the file, replaced when the table is complete.
            queries: units of the query probe; None for all.
            top: only the most helpful and most harmful so many of each query; None for all pairs.
            fdr: as in `top`.

        Returns:
            The path. Columns: query, train (or …_sample, …_token), bif, bif_se, z; with `top` also
            side, rank, significant. The schema's metadata says what made them, and ok, reasons.

        Raises:
            ImportError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise ImportError("writing Parquet needs pyarrow: pip install 'creode[hf]'.") from error
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        about = {**self.attrs, "ok": self.ok, "reasons": self.reasons}
        about = {name: str(value) for name, value in about.items()}
        writer = None
        for block in self._tables(queries, top, fdr):
            table = pa.table(block)
            if writer is None:
                writer = pq.ParquetWriter(partial, table.schema.with_metadata(about))
            writer.write_table(table.replace_schema_metadata(about))
        if writer is not None:
            writer.close()
        return partial.replace(target)

    # -- in pieces

    def _pair(self, left: Array, right: Array) -> tuple[Array, Array]:
        """bif and bif_se, (Q, T), of columns of both sides."""
        value, error = getattr(self._blocks, self.kind)(left, right)
        return -value, error

    def _groups(self, index: Index) -> Iterator[Index]:
        """Queries in groups whose columns and whole rows fit in memory."""
        held = 8 * max(self._blocks.num_chains * self._blocks.num_draws, 4 * len(self.train))
        size = max(1, BUFFER // held)
        for start in range(0, max(len(index), 1), size):
            yield index[start : start + size]

    def _slabs(self, trains: Index, num_queries: int) -> Iterator[Index]:
        """Training units in pieces whose columns, and products with the queries, fit in memory."""
        size = max(1, BUFFER // (8 * self._blocks.count * max(num_queries, 1)))
        for slab in self.train.slabs(trains):
            for start in range(0, len(slab), size):
                yield slab[start : start + size]

    def _rows(self, left: Array, trains: Index) -> tuple[Array, Array]:
        """Whole rows (Q, T) of bif and bif_se for columns `left` (C, D, Q)."""
        num_queries = left.shape[2]
        value, error = np.empty((2, num_queries, len(trains)))
        done = 0
        for slab in self._slabs(trains, num_queries):
            at = slice(done, done + len(slab))
            value[:, at], error[:, at] = self._pair(left, self.train.columns(slab))
            done = at.stop
        return self._shown(value, error)

    def _shown(self, value: Array, error: Array) -> tuple[Array, Array]:
        """Nothing of a failed chain, and no error where a chain stood still."""
        nothing = np.full_like(value, np.nan)
        return (
            value if self._trust.whole else nothing,
            error if self._trust.moving else nothing,
        )

    def _labelled(self, queries: Index, trains: Index, value: Array, error: Array) -> xr.Dataset:
        dims = ("query", "train")
        return xr.Dataset(
            {"bif": (dims, value), "bif_se": (dims, error)},
            coords=self.query.coords("query", queries) | self.train.coords("train", trains),
            attrs=self.attrs,
        ).assign(self._trust.variables())

    def _tops(self, queries: Index, k: int, fdr: float) -> xr.Dataset:
        value, error = self._rows(self.query.columns(queries), self.train.find_all(None))
        if self.query.probe == self.train.probe and self.query.by == self.train.by:
            value[np.arange(len(queries)), queries] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            z = value / error
        p = xr.DataArray(two_sided(z, max(self._blocks.count - 1, 1)), dims=("query", "train"))
        stands_out = significant(p, fdr, among="train").values
        k = min(k, value.shape[1])
        chosen = np.stack([_smallest(value, k), _smallest(-value, k)], 1)  # (Q, side, k)
        flat = chosen.reshape(len(queries), -1)

        def take(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.take_along_axis(table, flat, 1).reshape(chosen.shape)

        taken = take(value)
        there = np.stack([taken[:, 0] < 0, taken[:, 1] > 0], 1)
        dims = ("query", "side", "rank")
        labels = {
            name: (dims, np.where(there, of_all[chosen], -1))
            for name, of_all in self.train.labels("train").items()
        }
        return xr.Dataset(
            {
                **labels,
                "bif": (dims, np.where(there, taken, np.nan)),
                "bif_se": (dims, np.where(there, take(error), np.nan)),
                "z": (dims, np.where(there, take(z), np.nan)),
                "significant": (dims, there & take(stands_out)),
            },
            coords=self.query.coords("query", queries)
            | {"side": list(SIDES), "rank": np.arange(1, k + 1)},
        )

    def _tables(
        self, queries: Sequence[Unit] | None, top: int | None, fdr: float
    ) -> Iterator[dict[str, Any]]:
        if top is None:
            for block in self.chunks(queries):
                with np.errstate(invalid="ignore", divide="ignore"):
                    whole = block.assign(z=block["bif"] / block["bif_se"])
                yield _flat(whole, [*block.coords, "bif", "bif_se", "z"])
            return
        for some in self._groups(self.query.find_all(queries)):
            found = self._tops(some, top, fdr)
            kept = np.ravel(np.isfinite(found["bif"].values))
            table = _flat(found, [*found.coords, *found.data_vars])
            yield {name: column[kept] for name, column in table.items()}

    def _trace_of(self, observable: xr.DataArray) -> Array:
        if not isinstance(observable, xr.DataArray) or set(observable.dims) != set(SAMPLE_DIMS):
            got = getattr(observable, "dims", type(observable).__name__)
            raise ValueError(f"an observable is an array over (chain, draw), got {got}.")
        chains = self.train.chains
        if "chain" in observable.coords:
            known = set(observable["chain"].values.tolist())
            if known == set(chains.tolist()):
                observable = observable.sel(chain=chains)
        trace = np.asarray(observable.transpose(*SAMPLE_DIMS).values, np.float64)
        if trace.shape != (self.train.num_chains, self.train.num_draws):
            raise ValueError(
                f"the observable has {trace.shape[0]} chains of {trace.shape[1]} draws and the "
                f"traces {self.train.num_chains} of {self.train.num_draws}; take both from the "
                "same draws."
            )
        return trace


def _flat(block: xr.Dataset, names: Iterable[Any]) -> dict[str, Any]:
    """Variables of a block as columns of a table, one row for each entry of bif."""
    like = block["bif"]
    return {str(name): np.ravel(block[name].broadcast_like(like).values) for name in names}


def _smallest(values: Array, k: int) -> Index:
    """The columns of the k smallest entries of each row, in order, NaN last; (Q, k)."""
    filled = np.where(np.isnan(values), np.inf, values)
    some = np.argpartition(filled, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(filled, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1).astype(np.int64)
