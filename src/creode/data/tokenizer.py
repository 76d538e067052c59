"""From text to token ids, with whatever a document is framed by.

Here: what a tokenizer must offer, a byte-level one that needs no files, reading a tokenizer from a
name, and encoding documents piece by piece.
Not here: reading documents (documents.py), cutting tokens into samples (packing.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from creode.data.documents import Piece

Ids = npt.NDArray[np.int64]
BATCH = 64  # pieces encoded in one call


@dataclass(frozen=True)
class ByteTokenizer:
    """UTF-8 bytes as tokens 0..255 and a token 256 that begins a document."""

    bos_token_id: int = 256
    vocab_size: int = 257

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The token ids of the text, begun by `bos_token_id` unless told otherwise."""
        ids = list(text.encode("utf-8", errors="surrogatepass"))
        return [self.bos_token_id, *ids] if add_special_tokens else ids

    def __len__(self) -> int:
        return self.vocab_size

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes among `ids`; a character that was cut becomes U+FFFD."""
        return bytes(i for i in map(int, ids) if i < 256).decode("utf-8", errors="replace")


class Encoded(NamedTuple):
    """The tokens of one piece of a document."""

    ids: Ids
    starts: bool  # whether a document begins with this piece


class Frame(NamedTuple):
    """What a tokenizer puts around each document."""

    prefix: Ids
    suffix: Ids


def as_tokenizer(tokenizer: Any) -> Any:
    """A tokenizer from what a user gives: an object, `"bytes"`, a hub id or a directory.

    Raises:
        ValueError: none given, or nothing to load under that name.
        TypeError: an object that cannot encode.
    """
    if tokenizer is None:
        raise ValueError(
            "no tokenizer was given and the data is text; pass the one the model was trained with "
            "(an object, a hub id or a directory), or tokenizer='bytes'."
        )
    if isinstance(tokenizer, str) and tokenizer == "bytes":
        return ByteTokenizer()
    if isinstance(tokenizer, str) or hasattr(tokenizer, "__fspath__"):
        return _load(str(tokenizer))
    if not callable(getattr(tokenizer, "encode", None)):
        raise TypeError(
            f"a tokenizer must have an encode method, got {type(tokenizer).__name__}; give a "
            "Hugging Face tokenizer, its hub id or directory, or creode.data.ByteTokenizer()."
        )
    return tokenizer


def _load(name: str) -> Any:
    try:
        from transformers import CONFIG_MAPPING, AutoTokenizer, PreTrainedConfig
    except ImportError as error:
        raise ImportError(
            f"loading the tokenizer {name!r} needs transformers: pip install 'creode[hf]', "
            "or use tokenizer='bytes'."
        ) from error
    kind = _model_type(Path(name))
    # It reads the model's config for a hint at the tokenizer, and warns of models it does not know.
    config = PreTrainedConfig() if kind is not None and kind not in CONFIG_MAPPING else None
    try:
        return AutoTokenizer.from_pretrained(name, config=config)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"no tokenizer could be loaded from {name!r} ({reason}). "
            "Give a hub id, a directory with a tokenizer, or tokenizer='bytes'."
        ) from error


def _model_type(directory: Path) -> str | None:
    """What the model beside a tokenizer says it is; None where there is none, or on a hub."""
    try:
        found = json.loads((directory / "config.json").read_text("utf-8"))["model_type"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) else None


def frame(tokenizer: Any) -> Frame:
    """The special tokens the tokenizer itself puts before and after a document."""
    bare = _encode(tokenizer, ["a"], special=False)[0]
    full = _encode(tokenizer, ["a"], special=True)[0]
    for start in range(len(full) - len(bare) + 1):
        if np.array_equal(full[start : start + len(bare)], bare):
            return Frame(full[:start], full[start + len(bare) :])
    raise ValueError(
        f"{type(tokenizer).__name__}: encoding 'a' with special tokens gives {full.tolist()}, "
        f"without them {bare.tolist()}; the second must lie within the first."
    )


def separated(tokenizer: Any) -> Frame:
    """The frame to tell packed documents apart: the tokenizer's own, else its end token after."""
    own = frame(tokenizer)
    if len(own.prefix) or len(own.suffix):
        return own
    nothing = own.prefix
    end = getattr(tokenizer, "eos_token_id", None)
    if end is not None:
        return Frame(nothing, np.array([end], np.int64))
    begin = getattr(tokenizer, "bos_token_id", None)
    if begin is not None:
        return Frame(np.array([begin], np.int64), nothing)
    raise ValueError(
        f"{type(tokenizer).__name__} has neither an end nor a begin token to put between packed "
        "documents; set tokenizer.eos_token, or use packing='truncate' or 'pad'."
    )


def padding_id(tokenizer: Any) -> int:
    """A token to fill with where nothing is read: padding, end, begin or the first."""
    names = ("pad_token_id", "eos_token_id", "bos_token_id")
    found = (getattr(tokenizer, name, None) for name in names)
    return next((int(i) for i in found if i is not None), 0)


def encode(pieces: Iterable[Piece], tokenizer: Any) -> Iterator[Encoded]:
    """The tokens of each piece, without special tokens, read a batch of pieces at a time."""
    pieces = iter(pieces)
    size = 1  # the first few one by one: a small limit reads no more than it needs
    while batch := list(islice(pieces, size)):
        encoded = _encode(tokenizer, [piece.text for piece in batch], special=False)
        yield from map(Encoded, encoded, (piece.starts for piece in batch))
        size = min(2 * size, BATCH)


def _encode(tokenizer: Any, texts: list[str], *, special: bool) -> list[Ids]:
    if isinstance(tokenizer, ByteTokenizer) and not special:
        raw = (text.encode("utf-8", errors="surrogatepass") for text in texts)
        return [np.frombuffer(data, np.uint8).astype(np.int64) for data in raw]
    if callable(tokenizer):  # Hugging Face: many texts at once; silent about long ones
        rows = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    else:
        rows = [tokenizer.encode(text, add_special_tokens=special) for text in texts]
    return [np.asarray(getattr(row, "ids", row), np.int64) for row in rows]
