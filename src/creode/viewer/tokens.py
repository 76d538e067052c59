"""Text coloured by χ: for each component, and each mode, a value with its error at every token.

Here: packing those numbers and texts for the page.
Not here: the colours and the choosers (template/response.js).
Dimensions: V views (components and modes), S sequences, T tokens.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import xarray as xr

from creode.viewer.traces import pack

MAX_SEQUENCES = 48  # sequences that are shown, about as many of each probe
MAX_VALUES = 1_000_000  # of all views together; each takes some 5 bytes of the page, with its error
FULL = 0.98  # quantile of |value| from which on a token has the full colour


def token_view(tokens: xr.Dataset, modes: xr.Dataset | None, of: str) -> dict[str, Any]:
    """What the page needs to colour its text.

    Args:
        tokens: chi, chi_se (component, sample, token), NaN where a token has no response; text
            (sample, token), "" where there is no token; with the coordinate probe along sample
            some sequences of each are shown.
        modes: with score, score_se (mode, row) and the coordinates sample and token of rows: its
            resolved modes can be chosen too. Rows that are not shown are left out.
        of: "target": a value is of the token after its place; "token": of the token there.

    Returns:
        views: name, unit and full (the |value| of full colour) of each component and mode;
        values, errors: packed, (V, S·T), of the token that is coloured; texts: S lists of T.
    """
    shown = tokens.isel(sample=_shown(tokens, modes)).transpose(..., "sample", "token")
    names = [str(name) for name in shown["component"].values]
    values = [shown["chi"].sel(component=name).values for name in shown["component"].values]
    errors = [shown["chi_se"].sel(component=name).values for name in shown["component"].values]
    units = ["χ"] * len(names)
    for mode, score, error in _mode_views(shown, modes):
        names.append(f"mode {mode}")
        units.append("score")
        values.append(score)
        errors.append(error)
    places = np.stack(values), np.stack(errors)
    value_VST, error_VST = (_at_token(place, of) for place in places)
    flat = value_VST.reshape(len(names), -1)
    return {
        "views": [
            {"name": name, "unit": unit, "full": _full(row)}
            for name, unit, row in zip(names, units, flat, strict=True)
        ],
        "values": [pack(row[None]) for row in flat],
        "errors": [pack(row[None]) for row in error_VST.reshape(len(names), -1)],
        "texts": [[str(text) for text in row] for row in shown["text"].values],
        "samples": _labels(tokens, shown),
    }


def left_out(tokens: xr.Dataset, modes: xr.Dataset | None) -> int:
    """How many sequences are not shown."""
    return tokens.sizes["sample"] - len(_shown(tokens, modes))


def _shown(tokens: xr.Dataset, modes: xr.Dataset | None) -> list[int]:
    """The first sequences of each probe, as many as the page holds."""
    num_views = tokens.sizes["component"] + (0 if modes is None else int(modes["resolved"].sum()))
    most = min(MAX_SEQUENCES, max(1, MAX_VALUES // (num_views * tokens.sizes["token"])))
    place = _place_in_probe(tokens)  # the first of every probe, then the second of every one, …
    order = sorted(range(len(place)), key=lambda sample: place[sample])
    return sorted(order[:most])


def _place_in_probe(tokens: xr.Dataset) -> list[int]:
    if "probe" not in tokens.coords:
        return list(range(tokens.sizes["sample"]))
    seen: Counter[str] = Counter()
    places = []
    for name in tokens["probe"].values.tolist():
        places.append(seen[name])
        seen[name] += 1
    return places


def _labels(tokens: xr.Dataset, shown: xr.Dataset) -> list[str]:
    """What each sequence is called: its probe and place there, or its number."""
    if "probe" not in tokens.coords:
        return [f"sequence {name}" for name in _sample_names(shown)]
    place = dict(zip(_sample_names(tokens), _place_in_probe(tokens), strict=True))
    names = shown["probe"].values.tolist()
    return [
        f"{probe} {place[sample]}"
        for probe, sample in zip(names, _sample_names(shown), strict=True)
    ]


def _mode_views(
    shown: xr.Dataset, modes: xr.Dataset | None
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    if modes is None or not {"sample", "token"} <= set(modes["score"].coords):
        return []
    sample = {name: i for i, name in enumerate(_sample_names(shown))}
    token = {name: i for i, name in enumerate(_token_names(shown))}
    rows = [
        (at, sample[s], token[t])
        for at, (s, t) in enumerate(
            zip(modes["sample"].values.tolist(), modes["token"].values.tolist(), strict=True)
        )
        if s in sample and t in token
    ]
    if not rows:
        return []
    at, s, t = np.array(rows).T
    views = []
    for mode in modes["mode"].values[modes["resolved"].values]:
        score, error = np.full((2, shown.sizes["sample"], shown.sizes["token"]), np.nan)
        score[s, t] = modes["score"].sel(mode=mode).values[at]
        error[s, t] = modes["score_se"].sel(mode=mode).values[at]
        views.append((int(mode), score, error))
    return views


def _sample_names(shown: xr.Dataset) -> list[Any]:
    return list(shown["sample"].values.tolist())


def _token_names(shown: xr.Dataset) -> list[Any]:
    return list(shown["token"].values.tolist())


def _at_token(value_VST: np.ndarray, of: str) -> np.ndarray:
    """Values moved from the place that predicts to the token that is predicted."""
    if of == "token":
        return value_VST
    first = np.full_like(value_VST[..., :1], np.nan)
    return np.concatenate([first, value_VST[..., :-1]], axis=-1)


def _full(row: np.ndarray) -> float:
    finite = np.abs(row[np.isfinite(row)])
    return float(np.quantile(finite, FULL)) if finite.size else 0.0
