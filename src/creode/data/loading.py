"""Samples from whatever holds text: a data set of the hub, files, strings, the embedded corpus.

Here: the one call that finds, reads, tokenises and packs, only as far as it must.
Not here: each of these steps (opening.py, documents.py, tokenizer.py, packing.py); demonstrations
and preferences (demonstrations.py, preferences.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from creode.data.coerce import as_samples, is_hugging_face
from creode.data.corpus import load_corpus
from creode.data.documents import from_files, from_rows, from_texts
from creode.data.files import Files
from creode.data.opening import open_source, source_name
from creode.data.packing import (
    Packing,
    check_packing,
    packed,
    padded,
    stacked,
    stacked_with_mask,
    truncated,
)
from creode.data.samples import Samples
from creode.data.tokenizer import Encoded, as_tokenizer, encode, frame, padding_id, separated

CORPUS = "corpus:"


def load(
    source: str | os.PathLike[str] | Iterable[str] | Any,
    *,
    split: str = "train",
    text: str | None = "text",
    tokenizer: Any = None,
    length: int = 128,
    packing: Packing = "pack",
    limit: int | None = None,
    config: str | None = None,
) -> Samples:
    """Samples of `length` tokens from text, or columns of numbers as they are.

    Args:
        source: a file or directory (.txt, .jsonl, .csv, .parquet, also compressed or behind a URL),
            a data set saved to disk, a data set of the hub (`owner/name` or `owner/name@revision`),
            `corpus:` and domains of the embedded corpus joined by commas, a Hugging Face data set,
            or strings. A text file is one document, a row of a table is one.
        split: which split; the embedded corpus has train and test.
        text: the column that holds the text. None: the columns hold numbers of one shape per row
            and become the samples' columns, with nothing tokenised.
        tokenizer: a Hugging Face tokenizer, its hub id or directory, a `ByteTokenizer`, or "bytes".
        length: tokens of a sample.
        packing: "pack" joins documents end to end, each in the special tokens its tokenizer frames
            it with or else followed by the end token, and cuts the stream, dropping only an
            incomplete last sample; "truncate" takes the first tokens of each document and leaves
            shorter ones out; "pad" takes the first tokens of each and pads on the right, with the
            column `attention_mask`.
        limit: how many samples at most; no more is read than they need.
        config: the configuration of a data set of the hub, where it has several.

    Returns:
        The column `input_ids` (N, length), int64, and `attention_mask` when padded.

    Raises:
        FileNotFoundError: a path with nothing there.
        ValueError: unknown formats, missing splits or columns, broken files, nothing to read.
    """
    check_packing(packing, length, limit)
    name = source_name(source, split)
    if isinstance(source, str) and source.startswith(CORPUS):
        if packing != "pack":
            raise ValueError(f"the embedded corpus is packed; packing={packing!r} is not offered.")
        domains = source.removeprefix(CORPUS).split(",")
        return load_corpus(domains, tokenizer=tokenizer, length=length, size=limit, split=split)
    if text is None:
        return _numbers(open_source(source, split, config, limit), name, limit)
    tokenizer = as_tokenizer(tokenizer)
    opened = open_source(source, split, config, limit)
    if isinstance(opened, Files):
        pieces = from_files(opened.paths)
    elif _is_strings(source):
        pieces = from_texts(opened)
    else:
        if is_hugging_face(opened) and text in (opened.column_names or ()):
            opened = opened.select_columns([text])
        pieces = from_rows(opened, text, name)
    tally = _Tally()
    encoded = tally.counting(encode(pieces, tokenizer))
    columns = {}
    if packing == "pad":
        kept = padded(encoded, frame(tokenizer), length)
        ids, mask = stacked_with_mask(kept, length, limit, padding_id(tokenizer))
        columns["attention_mask"] = mask
    elif packing == "truncate":
        ids = stacked(truncated(encoded, frame(tokenizer), length), length, limit)
    else:
        ids = stacked(packed(encoded, separated(tokenizer), length), length, limit)
    if not len(ids) or not tally.tokens:
        raise ValueError(f"{name}: {tally.why_nothing(packing, length, tokenizer)}")
    return Samples(columns={"input_ids": ids, **columns}, source=name)


@dataclass
class _Tally:
    """What went by on the way to samples, to say why there are none."""

    documents: int = 0
    tokens: int = 0

    def counting(self, pieces: Iterator[Encoded]) -> Iterator[Encoded]:
        for piece in pieces:
            self.documents += piece.starts
            self.tokens += len(piece.ids)
            yield piece

    def why_nothing(self, packing: Packing, length: int, tokenizer: Any) -> str:
        documents = f"{self.documents} document{'s' if self.documents != 1 else ''}"
        if not self.documents:
            return "the data set is empty; give at least one document with text."
        if not self.tokens:
            return (
                f"the tokenizer {type(tokenizer).__name__} made no token of {documents}; "
                "check that it was trained and covers this text."
            )
        if packing == "pack":
            return (
                f"{documents} gave {self.tokens} tokens, not enough for one sample of {length}; "
                "use a smaller length, or packing='pad'."
            )
        if packing == "truncate":
            return (
                f"none of {documents} has {length} tokens; use a smaller length, or packing='pad'."
            )
        return f"none of {documents} has two tokens, to predict one from the other; give more text."


def _is_strings(source: Any) -> bool:
    return not (isinstance(source, str | os.PathLike) or is_hugging_face(source))


def _numbers(opened: Any, name: str, limit: int | None) -> Samples:
    """The rows' columns as they are."""
    if isinstance(opened, Files):
        raise ValueError(
            f"{name}: a text file has no columns of numbers; leave text out, or give a table."
        )
    if is_hugging_face(opened) and hasattr(opened, "__len__"):
        kept = opened if limit is None else opened.select(range(min(limit, len(opened))))
        return Samples(columns=as_samples(kept).columns, source=name)
    table = list(islice(opened, limit))
    if not table:
        raise ValueError(f"{name}: the data set is empty; give at least one row.")
    first = table[0]
    for number, row in enumerate(table, 1):
        if row.keys() != first.keys():
            raise ValueError(
                f"{name}: row {number} has the columns {sorted(row)}, the first row "
                f"{sorted(first)}; with text=None every row needs the same."
            )
    columns = {key: [row[key] for row in table] for key in first}
    return Samples(columns=as_samples(columns).columns, source=name)
