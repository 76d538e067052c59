"""What a cluster of rows, or the extreme rows of a mode, are: in words, with odds and errors.

Here: tokens and pattern classes that are more frequent among some rows than among all others,
tested and held to a false-discovery rate.
Not here: finding the rows (modes.py, clusters.py), what a pattern class is (patterns.py).
Symbols: of a feature k of n rows inside a group and K of N − n outside have it; log odds ratio
log[(k + ½)(N − n − K + ½) / ((n − k + ½)(K + ½))].
Source: Haldane 1956, Ann. Hum. Genet. 20 (the halves) with the standard error of Woolf 1955;
Fisher's exact test, twice the smaller tail; false discoveries over all groups and features
(response/discoveries.py). Assumption: rows are exchangeable. Tokens of one text are not quite, and
the tests are then too sure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from creode.response.discoveries import adjusted
from creode.structure.patterns import as_decode, token_texts

Array = NDArray[np.float64]

FEWEST = 5  # rows that must have a token for it to be tested
WORDS = 4  # classes, and tokens, named in a description
_NAMES = {
    "word_start": "word starts",
    "word_end": "word ends",
    "induction": "tokens that induction predicts",
    "repeated": "tokens seen before",
    "bracket_open": "opening brackets",
    "bracket_close": "closing brackets",
    "number": "numbers",
    "space": "spaces",
    "newline": "line breaks",
    "indentation": "indentation",
    "punctuation": "punctuation",
}


def describe(
    labels: xr.DataArray,
    token_ids: xr.DataArray,
    classes: xr.DataArray,
    decode: Any,
    *,
    false_discovery: float = 0.05,
) -> xr.Dataset:
    """The tokens and pattern classes that set each group of rows apart.

    Args:
        labels: (row,) with the coordinates sample and token: the group of each row. Rows of the
            group −1 (or "") belong to none and are only compared with.
        token_ids: (sample, token).
        classes: (sample, token, class), of pattern_classes: with of="target" the token described
            is the one that the row predicts.
        decode: from ids to text, or a tokenizer.
        false_discovery: expected share of features called significant that are not.

    Returns:
        count, share (group, feature): rows of the group that have it, and their share.
        log_odds, log_odds_se (group, feature): of having it in the group against outside.
        p_value, q_value, significant (group, feature): Fisher's test, adjusted over all groups and
            features, and whether q is at most `false_discovery`.
        kind (feature): "class" or "token". token_id (feature): −1 for a class.
        size (group), description (group): in words.

    Raises:
        ValueError: labels without places, or places that are not in `token_ids`.
    """
    here, features, kinds, ids = _features(labels, token_ids, classes, decode)
    none = "" if labels.dtype.kind in "UOS" else -1
    groups = [group for group in np.unique(labels.values) if group != none]
    inside = np.array([labels.values == group for group in groups]).reshape(len(groups), -1)
    size = inside.sum(1)
    count = np.rint(inside.astype(float) @ here).astype(int)
    total, num_rows = here.sum(0).astype(int), here.shape[0]
    log_odds, error = _log_odds(count, size[:, None], total, num_rows)
    p_value = _fisher(count, size[:, None], total, num_rows)
    q_value = adjusted(p_value)
    both = ("group", "feature")
    result = xr.Dataset(
        {
            "count": (both, count),
            "share": (both, count / np.maximum(size, 1)[:, None]),
            "log_odds": (both, log_odds),
            "log_odds_se": (both, error),
            "p_value": (both, p_value),
            "q_value": (both, q_value),
            "significant": (both, q_value <= false_discovery),
            "size": ("group", size),
        },
        coords={
            "group": groups,
            "feature": features,
            "kind": ("feature", kinds),
            "token_id": ("feature", ids),
        },
        attrs={
            "false_discovery": false_discovery,
            "of": classes.attrs.get("of", "token"),
            "num_rows": num_rows,
        },
    )
    words = [_words(result.isel(group=g), false_discovery) for g in range(len(groups))]
    return result.assign(description=("group", np.array(words, dtype=object)))


def extremes(scores: xr.Dataset, mode: int, share: float = 0.02) -> xr.DataArray:
    """The rows with the highest and the lowest scores of a mode, as groups to describe.

    Args:
        scores: of modes().
        mode: counted from 1.
        share: of all rows, at each end.

    Returns:
        (row,): "mode 1 +", "mode 1 −" or "".

    Raises:
        ValueError: no such mode, or a share that takes no row or more than half of them.
    """
    if mode not in scores["mode"].values:
        raise ValueError(f"mode {mode} was not found; known: {scores['mode'].values.tolist()}.")
    score = scores["score"].sel(mode=mode, drop=True)
    number = round(share * score.sizes["row"])
    if not 0 < number <= score.sizes["row"] // 2:
        raise ValueError(
            f"share={share} of {score.sizes['row']} rows is {number}; take at least one row and at "
            "most half of them at each end."
        )
    order = np.argsort(score.values, kind="stable")
    names = np.full(score.sizes["row"], "", dtype=object)
    names[order[-number:]], names[order[:number]] = f"mode {mode} +", f"mode {mode} −"
    return score.copy(data=names.astype(str)).rename("group")


def _features(
    labels: xr.DataArray, token_ids: xr.DataArray, classes: xr.DataArray, decode: Any
) -> tuple[Array, list[str], list[str], list[int]]:
    """Rows × features, 1 where a row has one; names, kinds and token ids of the features."""
    missing = [name for name in ("sample", "token") if name not in labels.coords]
    if labels.dims != ("row",) or missing:
        raise ValueError(
            f"labels have dimensions {labels.dims} and lack the coordinates {missing}; give one "
            "label a row, with sample and token along row (response_matrix keeps them)."
        )
    tokens = token_ids.transpose("sample", "token")
    if classes.attrs.get("of") == "target":
        tokens = tokens.shift(token=-1, fill_value=-1)
    places = {name: _position(tokens, labels, name) for name in ("sample", "token")}
    token = tokens.values[places["sample"], places["token"]]
    known = classes.transpose("sample", "token", "class").values
    of_class = known[places["sample"], places["token"]].astype(float)
    ids, counts = np.unique(token[token >= 0], return_counts=True)
    ids = ids[counts >= FEWEST]
    of_token = (token[:, None] == ids).astype(float)
    texts = _texts(ids.tolist(), decode)
    names = [*(str(name) for name in classes["class"].values), *texts]
    kinds = ["class"] * of_class.shape[1] + ["token"] * len(ids)
    here = np.concatenate([of_class, of_token], axis=1)
    return here, names, kinds, [-1] * of_class.shape[1] + ids.tolist()


def _position(tokens: xr.DataArray, labels: xr.DataArray, name: str) -> NDArray[np.intp]:
    known = tokens[name].values if name in tokens.coords else np.arange(tokens.sizes[name])
    position = {value: i for i, value in enumerate(known.tolist())}
    try:
        return np.array([position[value] for value in labels[name].values.tolist()], dtype=np.intp)
    except KeyError as error:
        raise ValueError(
            f"a row lies at {name} {error.args[0]!r}, which token_ids do not have (they have "
            f"{tokens.sizes[name]}); give the tokens of the probe that was recorded."
        ) from error


def _texts(ids: list[int], decode: Any) -> list[str]:
    """Tokens as quoted text; those without a text of their own, or sharing one, by their id."""
    text_of = as_decode(decode)
    after = token_texts  # a token by itself may lose its leading space: let it follow another
    anchor = next((i for i in ids if text_of([i]).strip()), None)
    found = [after([anchor, i], decode)[1] if anchor is not None else text_of([i]) for i in ids]
    quoted = [repr(text) if text else f"token {i}" for text, i in zip(found, ids, strict=True)]
    return [
        f"{text} ({i})" if quoted.count(text) > 1 else text
        for text, i in zip(quoted, ids, strict=True)
    ]


def _log_odds(count: Any, size: Any, total: Any, num_rows: int) -> tuple[Array, Array]:
    outside = num_rows - size
    cells = [count, size - count, total - count, outside - (total - count)]
    a, b, c, d = (np.asarray(cell, float) + 0.5 for cell in cells)
    return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _fisher(count: Any, size: Any, total: Any, num_rows: int) -> Array:
    from scipy.stats import hypergeom

    above = hypergeom.sf(count - 1, num_rows, total, size)
    below = hypergeom.cdf(count, num_rows, total, size)
    p_value: Array = np.minimum(2 * np.minimum(above, below), 1.0)
    return p_value


def _words(group: xr.Dataset, false_discovery: float) -> str:
    rich = group.isel(
        feature=np.flatnonzero(group["significant"].values & (group["log_odds"].values > 0))
    )
    if not rich.sizes["feature"]:
        return f"nothing more frequent here than elsewhere (false-discovery rate {false_discovery})"
    parts = []
    for kind in ("class", "token"):
        of_kind = rich.isel(feature=np.flatnonzero(rich["kind"].values == kind))
        # by the lower end of the interval: many and surely more beats few and perhaps far more
        low = of_kind["log_odds"].values - 2 * of_kind["log_odds_se"].values
        for at in np.argsort(-low, kind="stable")[:WORDS]:
            name = str(of_kind["feature"].values[at])
            times = np.exp(of_kind["log_odds"].values[at])
            share = of_kind["share"].values[at]
            odds = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
            parts.append(f"{_NAMES.get(name, name)} ({share:.0%}, odds × {odds})")
    return ", ".join(parts)
