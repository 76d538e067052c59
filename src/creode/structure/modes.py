"""Modes of a response matrix: which rows and which components move together, and how surely.

Here: the singular value decomposition of X (rows × components) after standardising columns and
centring rows; a test of each mode against noise; errors of singular values, loadings and scores;
stability of the subspaces over disjoint halves of the replicates; comparison of two results.
Not here: responses (response/), words for a mode (descriptions.py), pictures (viewer/).
Symbols: Y the preprocessed X, σ_k its singular values, v_k loadings (unit vectors over components),
s_k = Y v_k scores (over rows), E the error of the mean, R replicates.
Dimensions: R replicates, N rows, P components, M rows after compression, K modes, B resamples.

Test: were Y = 0, the replicates would be noise, and with symmetric noise the sign of each would be
a toss of a coin; σ_k is compared with the largest singular value of means with tossed signs, the
modes before k projected out of every replicate. The modes are tested in turn until one fails, so
the chance that any mode is called resolved in pure noise is at most `false_alarm`.

Errors: a wild bootstrap. Deviations of replicates from their mean, with tossed signs, make up noise
E* like that of the mean; it is added to the resolved part of Y, whose singular values are first set
so that the measured ones come out on average: noise lengthens every singular value, and this takes
its share away.

Source: arXiv:2601.12703 (preprocessing). Sign flipping: Winkler et al. 2014, NeuroImage 92
(exchangeability of signs); comparing components in turn with noise: Buja and Eyuboglu 1992
(parallel analysis). Wild bootstrap: Wu 1986, Ann. Statist. 14. Assumptions: replicates are
independent and of symmetric noise, so blocks must be longer than the autocorrelation; else resample
chains (by="chain").
Deviation: the scale of a column is the standard deviation of its mean over replicates, noise
included, and is then taken as given: errors do not include that of the scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.structure.matrix import check_replicates, grouped
from creode.version import __version__

Array = NDArray[np.float64]

MIN_REPLICATES = 6  # 2^(R − 1) different tosses: 16 of 5 replicates never reach 0.05
LEVEL = 0.95  # of intervals
NUM_SPLITS = 20  # random halves of the replicates
_BATCH = 2**24  # numbers of resampled matrices held at once
_CORRECTIONS = 3  # rounds of taking the noise's share away from singular values


class Preprocessed(NamedTuple):
    """Y of every replicate, and what made it."""

    values: Array  # (R, N, P)
    column_mean: Array  # (P,), of X
    column_scale: Array  # (P,)


class _Tests(NamedTuple):
    """Each mode against noise."""

    noise_floor: Array  # (K,)
    p_value: Array  # (K,)


class _Errors(NamedTuple):
    """What resampling says of the resolved modes."""

    corrected: Array  # (K,), singular values without the noise's share
    singular_value_se: Array  # (K,)
    loading_se: Array  # (K, P)
    score_se: Array  # (K, N)


def modes(
    replicates: xr.DataArray,
    *,
    num_modes: int = 10,
    standardise: bool = True,
    centre: bool = True,
    false_alarm: float = 0.05,
    by: str | None = None,
    resamples: int = 499,
    seed: int = 0,
) -> xr.Dataset:
    """Singular value decomposition of the mean of `replicates`, tested and with errors.

    Args:
        replicates: (replicate, row, component), independent estimates of X (see response_matrix).
        num_modes: how many modes to report, at most the rank that preprocessing leaves.
        standardise: subtract from each column its mean over rows and divide by its standard
            deviation over rows.
        centre: then subtract from each row its mean over components.
        false_alarm: bound on the chance that any mode of pure noise is called resolved.
        by: a coordinate along replicate ("chain", "seed") whose values are resampled and split
            as wholes; None: each replicate by itself.
        resamples: how often signs are tossed, for the test and for the errors.
        seed: of tossing and splitting. The order of replicates, rows and components
            does not matter.

    Returns:
        singular_value (mode): of the mean matrix as measured, noise included.
        noise_floor, p_value, resolved (mode): the value noise exceeds with probability
            `false_alarm` at this place, the probability of a larger one, and whether this mode and
            all before it stand above their floor.
        singular_value_corrected, _se, _low, _high (mode): without the noise's share, with its
            standard error and 95 % interval; NaN for a mode that is not resolved.
        loading, loading_se (mode, component); score, score_se (mode, row): v_k and Y v_k; the sign
            makes the largest loading positive. Errors are NaN for a mode that is not resolved.
        subspace_angle (mode): degrees, the largest principal angle between the spans of the first
            k modes of two halves of the replicates, the median over random halves. A half has
            √2 times the noise of the whole, and two of them differ. 0 for as many modes as
            there are directions.
        mode_cosine (mode): |cos| between the k-th loadings of the halves, likewise. Low beside a
            small subspace_angle: modes of equal strength, known only together.
        column_mean, column_scale (component): X = Y · scale + mean before rows were centred.
        num_resolved, ok, reasons, notes.

        With a replicate that is not finite every number is NaN and reasons say which.

    Raises:
        TypeError: `replicates` is not a DataArray.
        ValueError: its dimensions or sizes do not serve, a column that does not vary over rows, or
            a setting out of range.
    """
    _check_settings(num_modes, false_alarm, resamples)
    values = check_replicates(grouped(replicates, by), fewest=MIN_REPLICATES)
    rank = min(values.sizes["row"] - standardise, values.sizes["component"] - centre)
    labels = _labels(values, min(num_modes, rank))
    attrs = {
        "standardise": int(standardise),
        "centre": int(centre),
        "false_alarm": false_alarm,
        "by": by or "replicate",
        "num_replicates": values.sizes["replicate"],
        "resamples": resamples,
        "seed": seed,
        "creode_version": __version__,
    }
    broken = np.flatnonzero(~np.isfinite(values.values).all((1, 2)))
    if len(broken):
        return _not_read(labels, len(broken), int(broken[0])).assign_attrs(attrs)

    y = preprocess(values, standardise=standardise, centre=centre)
    stacked_RMP, basis_NM = _compressed(_in_own_order(y.values))
    num = labels.sizes["mode"]
    u_MK, sigma_K, v_KP = _svd(stacked_RMP.mean(0), num)
    sign_K = _signs(v_KP)
    u_MK, v_KP = u_MK * sign_K, v_KP * sign_K[:, None]
    streams = np.random.default_rng(seed).spawn(3)
    tests = _test(stacked_RMP, u_MK, sigma_K, v_KP, resamples, false_alarm, streams[0])
    resolved = np.logical_and.accumulate(sigma_K > tests.noise_floor)
    count = int(resolved.sum())
    errors = _errors(
        stacked_RMP, u_MK[:, :count], sigma_K[:count], v_KP[:count], basis_NM, resamples, streams[1]
    )
    angle, cosine = _stability(stacked_RMP, v_KP, streams[2])
    half = _t_quantile(LEVEL, values.sizes["replicate"] - 1) * errors.singular_value_se

    def padded(part: Array) -> Array:
        missing = np.full((num - count, *part.shape[1:]), np.nan)
        return np.concatenate([part, missing])

    result = labels.assign(
        singular_value=("mode", sigma_K),
        noise_floor=("mode", tests.noise_floor),
        p_value=("mode", tests.p_value),
        resolved=("mode", resolved),
        singular_value_corrected=("mode", padded(errors.corrected)),
        singular_value_se=("mode", padded(errors.singular_value_se)),
        singular_value_low=("mode", padded(np.maximum(errors.corrected - half, 0.0))),
        singular_value_high=("mode", padded(errors.corrected + half)),
        loading=(("mode", "component"), v_KP),
        loading_se=(("mode", "component"), padded(errors.loading_se)),
        score=(("mode", "row"), v_KP @ y.values.mean(0).T),
        score_se=(("mode", "row"), padded(errors.score_se)),
        subspace_angle=("mode", angle),
        mode_cosine=("mode", cosine),
        column_mean=("component", y.column_mean),
        column_scale=("component", y.column_scale),
        num_resolved=count,
        ok=True,
        reasons="",
        notes=_notes(count, num),
    )
    return result.assign_attrs(attrs)


def principal_angles(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    """Angles between the spans of two sets of loadings, (angle,), degrees, ascending.

    For modes of two training seeds, checkpoints or data sets over the same components.

    Args:
        first, second: (mode, component), rows orthonormal; components are matched by name.

    Raises:
        ValueError: the components differ.
    """
    only_one = set(map(str, first["component"].values)) ^ set(map(str, second["component"].values))
    if only_one:
        raise ValueError(
            f"the loadings are over different components: {sorted(only_one)[:6]} are in one of "
            "them only; select the common ones and find the modes again."
        )
    other = second.sel(component=first["component"])
    angles = _angles(
        first.transpose("mode", "component").values, other.transpose("mode", "component").values
    )
    return xr.DataArray(angles, dims="angle", name="principal_angle", attrs={"units": "degrees"})


def aligned(loadings: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """The loadings rotated within their span to be as near to `reference` as they can (Procrustes).

    Args:
        loadings, reference: (mode, component), the same components and number of modes.

    Raises:
        ValueError: the sizes differ.
    """
    if loadings.sizes != reference.sizes:
        raise ValueError(
            f"loadings have sizes {dict(loadings.sizes)}, the reference {dict(reference.sizes)}; "
            "select as many modes of each."
        )
    target = reference.sel(component=loadings["component"]).transpose("mode", "component")
    given = loadings.transpose("mode", "component")
    return given.copy(data=_rotated(given.values, target.values))


# -- preprocessing -----------------------------------------------------------------------------


def preprocess(values: xr.DataArray, *, standardise: bool, centre: bool) -> Preprocessed:
    """Y of every replicate, columns on the scale of the mean over replicates.

    Raises:
        ValueError: a column that does not vary over rows has no scale.
    """
    x_RNP = values.values
    mean_NP = x_RNP.mean(0)
    num_columns = mean_NP.shape[1]
    column_mean, column_scale = np.zeros(num_columns), np.ones(num_columns)
    if standardise:
        column_mean, column_scale = mean_NP.mean(0), mean_NP.std(0)
        flat = column_scale <= 1e-12 * np.abs(mean_NP).max(0)
        if flat.any():
            name = str(values["component"].values[flat.argmax()])
            raise ValueError(
                f"component {name!r} responds the same in every row, so it has no scale; leave it "
                "out, or use standardise=False."
            )
        x_RNP = (x_RNP - x_RNP.mean(1, keepdims=True)) / column_scale
    if centre:
        x_RNP = x_RNP - x_RNP.mean(2, keepdims=True)
    return Preprocessed(x_RNP, column_mean, column_scale)


def _in_own_order(values_RNP: Array) -> Array:
    """Replicates by size, so that random choices do not depend on how they were listed."""
    return values_RNP[np.argsort(np.linalg.norm(values_RNP, axis=(1, 2)), kind="stable")]


def _compressed(values_RNP: Array) -> tuple[Array, Array | None]:
    """The replicates in a basis of the rows they span, and that basis, orthonormal (N, M).

    Combinations of replicates keep their singular values and loadings; None: nothing to gain.
    """
    num_replicates, num_rows, num_columns = values_RNP.shape
    if num_rows <= num_replicates * num_columns:
        return values_RNP, None
    side_by_side = values_RNP.transpose(1, 0, 2).reshape(num_rows, -1)
    basis_NM, coordinates = np.linalg.qr(side_by_side)
    return coordinates.reshape(-1, num_replicates, num_columns).transpose(1, 0, 2), basis_NM


# -- tests and errors ----------------------------------------------------------------------------


def _test(
    values_RMP: Array,
    u_MK: Array,
    sigma_K: Array,
    v_KP: Array,
    tosses: int,
    false_alarm: float,
    rng: np.random.Generator,
) -> _Tests:
    num_replicates = len(values_RMP)
    signs = rng.choice([-1.0, 1.0], size=(tosses, num_replicates)) / num_replicates
    place = int(np.ceil((1 - false_alarm) * (tosses + 1))) - 1  # at most α (tosses + 1) lie above
    floor, p_value = np.empty_like(sigma_K), np.empty_like(sigma_K)
    left = values_RMP
    for k, sigma in enumerate(sigma_K):
        largest = np.sort(np.concatenate([_largest(batch) for batch in _combinations(signs, left)]))
        floor[k] = largest[place]
        p_value[k] = (1 + (largest >= sigma).sum()) / (tosses + 1)
        left = left - np.einsum("m,l,rlp->rmp", u_MK[:, k], u_MK[:, k], left)
        left = left - np.einsum("rmq,q,p->rmp", left, v_KP[k], v_KP[k])
    return _Tests(floor, np.maximum.accumulate(p_value))


def _errors(
    values_RMP: Array,
    u_MK: Array,
    sigma_K: Array,
    v_KP: Array,
    basis_NM: Array | None,
    resamples: int,
    rng: np.random.Generator,
) -> _Errors:
    num_replicates, num_rows, num_columns = values_RMP.shape
    count = len(sigma_K)
    if count == 0:
        rows = num_rows if basis_NM is None else len(basis_NM)
        return _Errors(*(np.empty((0, *s)) for s in ((), (), (num_columns,), (rows,))))
    deviations = values_RMP - values_RMP.mean(0)
    # Signs, not counts: the sum of squared counts varies and would pass for noise of the noise.
    weights = rng.choice([-1.0, 1.0], size=(resamples, num_replicates)) / num_replicates
    weights *= np.sqrt(num_replicates / (num_replicates - 1))  # deviations are from their own mean

    corrected = sigma_K
    for _ in range(_CORRECTIONS):
        clean = (u_MK * corrected) @ v_KP
        measured = np.concatenate(
            [_singular_values(clean + noise, count) for noise in _combinations(weights, deviations)]
        )
        corrected = np.maximum(corrected + sigma_K - measured.mean(0), 1e-6 * sigma_K)
    clean = (u_MK * corrected) @ v_KP
    found, loadings, scores = [], [], []
    for noise in _combinations(weights, deviations):
        for noisy in clean + noise:
            u, sigma, v = _svd(noisy, count)
            sign = np.sign(np.einsum("kp,kp->k", v, v_KP))
            found.append(sigma)
            loadings.append(v * sign[:, None])
            scores.append((u * sigma * sign).T)
    score_KBM = np.stack(scores, axis=1)
    return _Errors(
        corrected=corrected,
        singular_value_se=np.std(found, axis=0, ddof=1),
        loading_se=np.sqrt(np.mean((np.stack(loadings) - v_KP) ** 2, axis=0)),
        score_se=_score_errors(score_KBM, basis_NM),
    )


def _score_errors(score_KBM: Array, basis_NM: Array | None) -> Array:
    """Standard deviation over resamples of the scores of the original rows, (K, N)."""
    if basis_NM is None:
        spread: Array = score_KBM.std(1, ddof=1)
        return spread
    centred = score_KBM - score_KBM.mean(1, keepdims=True)
    size = max(1, _BATCH // centred.shape[1])
    blocks = [basis_NM[start : start + size] for start in range(0, len(basis_NM), size)]
    squares = [[((c @ block.T) ** 2).sum(0) for block in blocks] for c in centred]
    total = np.stack([np.concatenate(parts) for parts in squares])
    error: Array = np.sqrt(total / (centred.shape[1] - 1))
    return error


def _stability(values_RMP: Array, v_KP: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """subspace_angle and mode_cosine, the medians over random halves."""
    num_replicates, num = len(values_RMP), len(v_KP)
    angles, cosines = np.empty((NUM_SPLITS, num)), np.empty((NUM_SPLITS, num))
    for split in range(NUM_SPLITS):
        order = rng.permutation(num_replicates)
        half = num_replicates // 2
        first, second = (
            _svd(values_RMP[part].mean(0), num)[2] for part in (order[:half], order[half:])
        )
        angles[split] = [_angles(first[: k + 1], second[: k + 1]).max() for k in range(num)]
        cosines[split] = np.abs(np.einsum("kp,kp->k", first, second))
    return np.median(angles, axis=0), np.median(cosines, axis=0)


# -- linear algebra ------------------------------------------------------------------------------


def _combinations(weights_BR: Array, values_RMP: Array) -> Iterator[Array]:
    """Σ_r w_r Y_r for each row of weights, (batch, M, P), a batch at a time."""
    num_replicates, *shape = values_RMP.shape
    flat = values_RMP.reshape(num_replicates, -1)
    size = max(1, _BATCH // flat.shape[1])
    for start in range(0, len(weights_BR), size):
        yield (weights_BR[start : start + size] @ flat).reshape(-1, *shape)


def _singular_values(matrices: Array, count: int) -> Array:
    """The largest `count` of each matrix, descending, from the Gram matrix of its smaller side."""
    if matrices.shape[1] < matrices.shape[2]:
        matrices = matrices.transpose(0, 2, 1)
    gram = matrices.transpose(0, 2, 1) @ matrices
    squares = np.linalg.eigvalsh(gram)[:, ::-1][:, :count]
    values: Array = np.sqrt(np.maximum(squares, 0.0))
    return values


def _largest(matrices: Array) -> Array:
    return _singular_values(matrices, 1)[:, 0]


def _svd(matrix: Array, count: int) -> tuple[Array, Array, Array]:
    u, sigma, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :count], sigma[:count], v[:count]


def _signs(v_KP: Array) -> Array:
    largest = np.take_along_axis(v_KP, np.abs(v_KP).argmax(1)[:, None], axis=1)[:, 0]
    return np.where(largest < 0, -1.0, 1.0)


def _angles(first_KP: Array, second_KP: Array) -> Array:
    cosines = np.linalg.svd(first_KP @ second_KP.T, compute_uv=False)
    angles: Array = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return angles


def _rotated(given_KP: Array, target_KP: Array) -> Array:
    left, _, right = np.linalg.svd(target_KP @ given_KP.T)
    rotated: Array = left @ right @ given_KP
    return rotated


def _t_quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


# -- labels and words ------------------------------------------------------------------------------


def _labels(values: xr.DataArray, num: int) -> xr.Dataset:
    along = {name: c for name, c in values.coords.items() if "replicate" not in c.dims}
    return xr.Dataset(coords=along).assign_coords(mode=np.arange(1, num + 1))


def _not_read(labels: xr.Dataset, count: int, first: int) -> xr.Dataset:
    sizes = dict(labels.sizes)
    shapes: dict[str, Sequence[str]] = dict.fromkeys(
        (
            "singular_value",
            "noise_floor",
            "p_value",
            "singular_value_corrected",
            "singular_value_se",
            "singular_value_low",
            "singular_value_high",
            "subspace_angle",
            "mode_cosine",
        ),
        ("mode",),
    )
    shapes |= dict.fromkeys(("loading", "loading_se"), ("mode", "component"))
    shapes |= dict.fromkeys(("score", "score_se"), ("mode", "row"))
    shapes |= dict.fromkeys(("column_mean", "column_scale"), ("component",))
    nothing = {
        name: (dims, np.full([sizes[dim] for dim in dims], np.nan)) for name, dims in shapes.items()
    }
    return labels.assign(nothing).assign(
        resolved=("mode", np.zeros(sizes["mode"], bool)),
        num_resolved=0,
        ok=False,
        reasons=f"{count} replicates are not finite, the first is number {first}: a chain failed, "
        "or a row has no response; leave out such rows, or sample again",
        notes="",
    )


def _notes(resolved: int, reported: int) -> str:
    if resolved == 0:
        return "no mode stands above what noise alone gives: more draws would lower the noise"
    if resolved == reported:
        return f"all {reported} modes reported are resolved; there may be more (num_modes)"
    return ""


def _check_settings(num_modes: int, false_alarm: float, resamples: int) -> None:
    if num_modes < 1:
        raise ValueError(f"num_modes must be at least 1, got {num_modes}.")
    if not 0 < false_alarm < 1:
        raise ValueError(f"false_alarm must lie between 0 and 1, got {false_alarm}.")
    fewest = max(20, int(np.ceil(1 / false_alarm)) - 1)
    if resamples < fewest:
        raise ValueError(
            f"{resamples} resamples show neither an error nor a chance of {false_alarm}: use at "
            f"least {fewest}, better 499."
        )
