"""A realistic report of responses made of synthetic results: two planted modes."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

COMPONENTS = [*(f"l0h{i}" for i in range(4)), "l0 mlp", *(f"l1h{i}" for i in range(4)), "l1 mlp"]
DATASETS = ["code", "docstrings", "C headers", "prose", "arithmetic"]
FAILED = ("l1h3", "arithmetic")
SAMPLES, TOKENS, REPLICATES = 6, 48, 24
TEXT = (
    "def area(width, height):\n    return width * height\n\nfor width in (1, 20, 300):\n"
    "    print(area(width, 2 * width))\n\nThe area of a rectangle is its width times its height. "
)
PIECES = re.findall(r"\n +|\n| ?\w+| ?[^\w\s]+| +", TEXT)


def token_ids() -> xr.DataArray:
    """Ids of the text's pieces, each sequence beginning elsewhere in it."""
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(PIECES))}
    ids = [vocabulary[piece] for piece in PIECES]
    rows = [np.roll(ids, -7 * s)[:TOKENS] for s in range(SAMPLES)]
    return xr.DataArray(np.array(rows), dims=("sample", "token"))


def decode(ids: Any) -> str:
    return "".join(list(dict.fromkeys(PIECES))[i] for i in ids)


def make_response() -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (len(COMPONENTS), len(DATASETS))
    chi = 0.4 * rng.standard_normal((len(COMPONENTS), 1)) @ rng.standard_normal((1, len(DATASETS)))
    chi += 0.15 * rng.standard_normal(shape)
    error = rng.uniform(0.04, 0.12, shape)
    significant = np.abs(chi) > 3 * error
    at = COMPONENTS.index(FAILED[0]), DATASETS.index(FAILED[1])
    chi[at], error[at], significant[at] = np.nan, np.nan, False
    dims = ("component", "dataset")
    return xr.Dataset(
        {"chi": (dims, chi), "chi_se": (dims, error), "significant": (dims, significant)},
        coords={"component": COMPONENTS, "dataset": DATASETS},
        attrs={"false_discovery": 0.05, "creode_version": "0.1.0"},
    )


def make_blocks() -> xr.DataArray:
    """Responses (block, component, sample, token) of two patterns: brackets, and word starts."""
    from creode.structure import pattern_classes

    rng = np.random.default_rng(1)
    classes = pattern_classes(token_ids(), decode).astype(float)
    bracket = classes.sel({"class": ["bracket_open", "bracket_close"]}).sum("class").values
    word = classes.sel({"class": "word_start"}).values
    one, two = rng.standard_normal((2, len(COMPONENTS)))
    truth = -np.multiply.outer(one, bracket) + 0.6 * np.multiply.outer(two, word - word.mean())
    noise = rng.standard_normal((REPLICATES, *truth.shape))
    responses = xr.DataArray(
        truth + 0.8 * noise,
        dims=("block", "component", "sample", "token"),
        coords={"component": COMPONENTS},
    )
    return responses.where(np.arange(TOKENS) < TOKENS - 1)  # the last predicts nothing


@cache
def make_modes() -> xr.Dataset:
    from creode.structure import modes, response_matrix

    blocks = make_blocks()
    mask = blocks.isel(block=0, component=0, drop=True).notnull()
    return modes(response_matrix(blocks, mask), num_modes=5)


@cache
def make_words() -> xr.Dataset:
    from creode.structure import describe, extremes, pattern_classes

    modes, ids = make_modes(), token_ids()
    classes = pattern_classes(ids, decode)
    found = [describe(extremes(modes, mode, 0.1), ids, classes, decode) for mode in (1, 2)]
    return xr.concat([words[["description", "size"]] for words in found], "group")


@cache
def make_tokens() -> xr.Dataset:
    from creode.structure.patterns import token_texts

    blocks = make_blocks()
    texts = [token_texts(row, decode) for row in token_ids().values.tolist()]
    return xr.Dataset(
        {
            "chi": blocks.mean("block", skipna=False),
            "chi_se": blocks.std("block", ddof=1, skipna=False) / np.sqrt(REPLICATES),
            "text": (("sample", "token"), np.array(texts, dtype=object)),
        }
    )


def make_queries() -> list[Any]:
    from creode.viewer import InfluenceQuery

    rng = np.random.default_rng(2)
    queries = []
    for text in ("return width * height", "The area of a rectangle is its"):
        sides = []
        for sign in (-1, 1):
            size = np.sort(rng.gamma(3, 0.02, 5))[::-1]
            sides.append(
                xr.Dataset(
                    {
                        "influence": ("rank", sign * size),
                        "influence_se": ("rank", rng.uniform(0.002, 0.02, 5)),
                        "text": ("rank", [TEXT[9 * i : 9 * i + 60] for i in range(5)]),
                    }
                )
            )
        queries.append(InfluenceQuery(text=text, helpful=sides[0], harmful=sides[1]))
    return queries


def make_report(**changes: Any) -> Any:
    from creode.viewer import ResponseReport

    fields: dict[str, Any] = {
        "title": "Which parts answer to which data",
        "response": make_response(),
        "modes": make_modes(),
        "words": make_words(),
        "tokens": make_tokens(),
        "queries": make_queries(),
        "config": {"model": "checkpoints/two-layer", "chains": 4},
        "command": "creode rerun runs/response",
        "warnings": ["The probe “prose” has 64 samples; its errors are wide."],
    }
    return ResponseReport(**(fields | changes))
