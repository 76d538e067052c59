"""From the tokens of documents to samples of one length.

Here: packing documents end to end, cutting each to a length, padding each to a length; all read
only as far as the samples asked for.
Not here: tokenising (tokenizer.py).
Dimensions: N samples, T tokens of a sample (`length`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from creode.data.tokenizer import Encoded, Frame, Ids

Packing = Literal["pack", "truncate", "pad"]


def check_packing(packing: str, length: int, limit: int | None) -> None:
    """Refuse a packing, a length or a limit that makes no samples."""
    if packing not in get_args(Packing):
        raise ValueError(
            f"packing must be one of {', '.join(map(repr, get_args(Packing)))}, got {packing!r}."
        )
    if length < 2:
        raise ValueError(f"length must be at least 2 tokens, to predict one; got {length}.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 sample, got {limit}; leave it out for all.")


def packed(pieces: Iterable[Encoded], frame: Frame, length: int) -> Iterator[Ids]:
    """Samples (T,) cut from the documents laid end to end, each in its frame; no token is skipped.

    The samples joined are the stream of documents but for its last tokens, too few for a sample.
    """
    waiting: list[Ids] = []
    count = 0
    for ids in _framed(pieces, frame):
        waiting.append(ids)
        count += len(ids)
        if count < length:
            continue
        stream = np.concatenate(waiting)
        full = count - count % length
        yield from stream[:full].reshape(-1, length)
        waiting, count = [stream[full:]], count - full


def _framed(pieces: Iterable[Encoded], frame: Frame) -> Iterator[Ids]:
    inside = False
    for piece in pieces:
        if piece.starts:
            if inside:
                yield frame.suffix
            yield frame.prefix
            inside = True
        yield piece.ids
    if inside:
        yield frame.suffix


def headed(pieces: Iterable[Encoded], frame: Frame, length: int) -> Iterator[Ids]:
    """The first `length` tokens of each document in its frame, fewer where it is shorter."""
    current: list[Ids] = []
    count = 0
    for piece in pieces:
        if piece.starts:
            if current:
                yield np.concatenate([*current, frame.suffix])[:length]
            current, count = [frame.prefix], len(frame.prefix)
        if count < length:
            current.append(piece.ids)
            count += len(piece.ids)
    if current:
        yield np.concatenate([*current, frame.suffix])[:length]


def truncated(pieces: Iterable[Encoded], frame: Frame, length: int) -> Iterator[Ids]:
    """The first T tokens of each document that has as many; shorter ones are left out."""
    return (ids for ids in headed(pieces, frame, length) if len(ids) == length)


def padded(pieces: Iterable[Encoded], frame: Frame, length: int) -> Iterator[Ids]:
    """The first tokens of each document, at most T; one token predicts nothing and is left out."""
    return (ids for ids in headed(pieces, frame, length) if len(ids) > 1)


def stacked(rows: Iterable[Ids], length: int, limit: int | None) -> Tensor:
    """The first `limit` rows of T tokens each, (N, T)."""
    kept = list(islice(rows, limit))
    return torch.from_numpy(np.array(kept, np.int64).reshape(-1, length))


def stacked_with_mask(
    rows: Iterable[Ids], length: int, limit: int | None, fill: int
) -> tuple[Tensor, Tensor]:
    """The first `limit` rows filled on the right to T tokens, and 1 where a token is; (N, T)."""
    kept = list(islice(rows, limit))
    ids = np.full((len(kept), length), fill, np.int64)
    mask = np.zeros((len(kept), length), np.int64)
    for i, row in enumerate(kept):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
