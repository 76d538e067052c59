"""Pattern classes of tokens: what kind of place each is, from tokens and text alone.

Here: the text of each token in its place, and classes that can be checked by eye.
Not here: which classes a cluster or mode is rich in (descriptions.py).
A token may be of several classes or of none. Letters, digits and brackets are Unicode's.

| class | a token x_t is of it if |
|---|---|
| word_start | it holds the first letter of a word, a longest run of letters |
| word_end | it holds the last letter of a word; never the last token, whose end is not seen |
| induction | the `context` tokens before it and it itself occurred earlier, in that order |
| repeated | it occurred earlier in the sample |
| bracket_open, bracket_close | it holds an opening or a closing bracket |
| number | it holds a digit |
| space | it is spaces or tabs only and no indentation |
| newline | it holds a line break |
| indentation | it is whitespace only and holds a space or tab before anything else of a line |
| punctuation | apart from whitespace it is punctuation or symbols only |

What precedes the sample is not seen: its first letter counts as the start of a word, its first
space as no indentation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

Decode = Callable[[Sequence[int]], str]

CLASSES = (
    "word_start",
    "word_end",
    "induction",
    "repeated",
    "bracket_open",
    "bracket_close",
    "number",
    "space",
    "newline",
    "indentation",
    "punctuation",
)
_WINDOW = 8  # tokens decoded together: a character's bytes, and the space before a word
_CUT = "\ufffd"  # a character of which bytes are missing


def pattern_classes(
    token_ids: xr.DataArray | ArrayLike,
    decode: Any,
    *,
    of: Literal["target", "token"] = "target",
    context: int = 1,
    mask: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Which pattern classes each place belongs to.

    Args:
        token_ids: (sample, token), integers.
        decode: from a list of ids to their text, or a tokenizer with such a method.
        of: "target": at position t the classes of x_{t+1}, which the loss at t is of (the last
            position has none); "token": those of x_t.
        context: how many tokens before a token must match for `induction`; 1 for tokens of
            words, more for bytes, of which pairs recur by chance.
        mask: bool (sample, token), False where there is no token (padding).

    Returns:
        bool (sample, token, class), with the attributes `of` and `context`.

    Raises:
        TypeError: `decode` is not callable and has no method decode.
        ValueError: tokens of another shape, or a setting out of range.
    """
    ids = _labelled(token_ids, "token_ids")
    present = xr.ones_like(ids, dtype=bool) if mask is None else _labelled(mask, "mask")
    if present.shape != ids.shape:
        raise ValueError(f"mask has shape {present.shape}, token_ids {ids.shape}; give one shape.")
    if of not in ("target", "token"):
        raise ValueError(f"of must be 'target' or 'token', got {of!r}.")
    if context < 1:
        raise ValueError(f"context must be at least 1 token, got {context}.")
    found = np.zeros((*ids.shape, len(CLASSES)), bool)
    for at, (row, real) in enumerate(zip(ids.values, present.values.astype(bool), strict=True)):
        tokens = row[real].tolist()
        found[at, real] = _classes(tokens, token_texts(tokens, decode), context)
    if of == "target":
        found = np.concatenate([found[:, 1:], np.zeros_like(found[:, :1])], axis=1)
    return xr.DataArray(
        found,
        dims=("sample", "token", "class"),
        coords={**ids.coords, "class": list(CLASSES)},
        name="pattern_class",
        attrs={"of": of, "context": context},
    )


def token_texts(tokens: Sequence[int], decode: Any) -> list[str]:
    """The text each token adds to those before it; "" for a byte that completes no character.

    Decoding a token by itself would lose the space before a word in some tokenizers, and the
    characters of several bytes.

    Raises:
        TypeError: `decode` is not callable and has no method decode.
    """
    text_of = as_decode(decode)
    texts = []
    for t in range(len(tokens)):
        before = list(tokens[max(0, t - _WINDOW) : t])
        known = text_of(before).rstrip(_CUT) if before else ""
        whole = text_of([*before, tokens[t]])
        if not whole.startswith(known):  # a tokenizer that tidies spaces away
            known, whole = "", text_of([tokens[t]])
        texts.append(whole[len(known) :].rstrip(_CUT))
    return texts


def as_decode(decode: Any) -> Decode:
    """The function from ids to text of a tokenizer, or the function itself.

    Raises:
        TypeError: neither.
    """
    method = getattr(decode, "decode", decode)
    if not callable(method):
        raise TypeError(
            f"decode must be a function from token ids to text, or a tokenizer, got "
            f"{type(decode).__name__}."
        )
    return lambda ids: str(method(list(ids)))


def _labelled(values: xr.DataArray | ArrayLike, what: str) -> xr.DataArray:
    array = values if isinstance(values, xr.DataArray) else np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{what} has shape {array.shape}; it needs two dimensions, sample, token.")
    if not isinstance(array, xr.DataArray):
        return xr.DataArray(array, dims=("sample", "token"))
    if set(array.dims) != {"sample", "token"}:
        raise ValueError(f"{what} has dimensions {array.dims}; it needs ('sample', 'token').")
    return array.transpose("sample", "token")


def _classes(tokens: Sequence[int], texts: Sequence[str], context: int) -> NDArray[np.bool_]:
    columns = {
        "induction": _recurs(tokens, context + 1),
        "repeated": _recurs(tokens, 1),
    } | _of_text(texts)
    return np.array([columns[name] for name in CLASSES], bool).T.reshape(-1, len(CLASSES))


def _recurs(tokens: Sequence[int], length: int) -> list[bool]:
    """Whether the last `length` tokens, ending here, occurred in that order before."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for t in range(len(tokens)):
        ending = tuple(tokens[t - length + 1 : t + 1]) if t >= length - 1 else None
        found.append(ending in seen)
        if ending is not None:
            seen.add(ending)
    return found


def _of_text(texts: Sequence[str]) -> dict[str, list[bool]]:
    text = "".join(texts)
    ends = accumulate(len(piece) for piece in texts)
    spans = [(end - len(piece), end) for piece, end in zip(texts, ends, strict=True)]
    letter = [character.isalpha() or unicodedata.combining(character) > 0 for character in text]
    starts = [here and not (i and letter[i - 1]) for i, here in enumerate(letter)]
    stops = [here and i + 1 < len(text) and not letter[i + 1] for i, here in enumerate(letter)]
    indents = _indents(text)
    category = [unicodedata.category(character) for character in text]

    def holds(flags: Sequence[bool]) -> list[bool]:
        return [any(flags[start:stop]) for start, stop in spans]

    blank = [piece != "" and piece.isspace() for piece in texts]
    indentation = [a and b for a, b in zip(blank, holds(indents), strict=True)]
    newline = ["\n" in piece or "\r" in piece for piece in texts]
    return {
        "word_start": holds(starts),
        "word_end": holds(stops),
        "bracket_open": holds([c == "Ps" for c in category]),
        "bracket_close": holds([c == "Pe" for c in category]),
        "number": holds([character.isdigit() for character in text]),
        "space": [
            b and not n and not i for b, n, i in zip(blank, newline, indentation, strict=True)
        ],
        "newline": newline,
        "indentation": indentation,
        "punctuation": [
            piece.strip() != "" and all(unicodedata.category(c)[0] in "PS" for c in piece.strip())
            for piece in texts
        ],
    }


def _indents(text: str) -> list[bool]:
    """Which characters are spaces or tabs with only such between them and a line break before."""
    flags, at_start = [], False
    for character in text:
        blank = character in " \t"
        flags.append(at_start and blank)
        at_start = character in "\r\n" or (at_start and blank)
    return flags
