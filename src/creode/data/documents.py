"""Documents as a stream of pieces of text.

Here: the pieces, the documents in text files, and those in one column of rows.
Not here: finding files (files.py), reading rows (tables.py, hub.py), tokenising (tokenizer.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import fsspec

PIECE = 1 << 16  # characters of a text file read at a time; cut at the end of a line


class Piece(NamedTuple):
    """Some text of a document. Pieces follow each other without a gap."""

    text: str
    starts: bool  # whether a document begins here


def from_texts(texts: Iterable[str]) -> Iterator[Piece]:
    """Each text that is not empty as a document."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"document {i} is {type(text).__name__}; give a string.")
        if text:
            yield Piece(text, True)


def from_rows(rows: Iterable[Mapping[str, Any]], column: str, source: str) -> Iterator[Piece]:
    """The text in `column` of each row as a document; empty ones are left out.

    Raises:
        ValueError: a row without that column, or without text in it.
    """
    for number, row in enumerate(rows, 1):
        if column not in row:
            raise ValueError(
                f"{source}: row {number} has no column {column!r}; its columns are "
                f"{', '.join(sorted(map(str, row))) or 'none'}. Name one of them with text=..."
            )
        text = row[column]
        if not isinstance(text, str):
            raise ValueError(
                f"{source}: column {column!r} of row {number} holds {type(text).__name__}, "
                "not text. Name the column of text with text=..., or drop such rows."
            )
        if text:
            yield Piece(text, True)


def from_files(paths: Iterable[str]) -> Iterator[Piece]:
    """Each text file as a document, read a piece at a time.

    Raises:
        ValueError: a file that is not UTF-8.
    """
    for path in paths:
        starts = True
        with fsspec.open(path, "rt", encoding="utf-8", newline="", compression="infer") as file:
            try:
                while text := file.read(PIECE):
                    yield Piece(text + file.readline(PIECE), starts)
                    starts = False
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x}: "
                    f"{error.reason}). Convert it to UTF-8, or leave it out."
                ) from error
