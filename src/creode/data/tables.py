"""Rows of table files: JSON lines, CSV and Parquet, read as they are needed.

Here: one reader per format, each a stream of rows from column name to value.
Not here: finding files (files.py), Hugging Face data sets (hub.py), text files (documents.py).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import fsspec

Row = Mapping[str, Any]


def rows(paths: Iterable[str], kind: str) -> Iterator[Row]:
    """The rows of the files, one file after the other; `kind` is a key of `READERS`."""
    for path in paths:
        yield from READERS[kind](path)


def _json_lines(path: str) -> Iterator[Row]:
    with fsspec.open(path, "rb", compression="infer") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error}). "
                    "Each line must hold one JSON object."
                ) from error
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {number}: a JSON {type(row).__name__}, not an object. "
                    'Each line must hold one JSON object, for example {"text": "..."}.'
                )
            yield row


def _csv(path: str) -> Iterator[Row]:
    with fsspec.open(path, "rt", encoding="utf-8", newline="", compression="infer") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}, line {reader.line_num}: the number of fields is not that "
                        f"of the header ({', '.join(reader.fieldnames or ())}). Mend the line."
                    )
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}, near line {reader.line_num}: not CSV ({error}). "
                "Give UTF-8 with a header line and comma-separated, double-quoted fields, "
                "or JSON lines."
            ) from error


def _parquet(path: str) -> Iterator[Row]:
    try:
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid
    except ImportError as error:
        raise ImportError(
            f"reading {path} needs pyarrow: pip install 'creode[hf]', or convert it to JSON lines."
        ) from error
    with fsspec.open(path, "rb") as file:
        try:
            table = pq.ParquetFile(file)
        except ArrowInvalid as error:
            raise ValueError(
                f"{path} is not a Parquet file ({error}). Check that it was written whole."
            ) from error
        for batch in table.iter_batches(batch_size=256):
            yield from batch.to_pylist()


READERS: Mapping[str, Callable[[str], Iterator[Row]]] = {
    "jsonl": _json_lines,
    "csv": _csv,
    "parquet": _parquet,
}
