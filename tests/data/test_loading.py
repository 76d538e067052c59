"""load: the same documents from every format, only as far as needed, and errors that say why."""

import csv
import gzip
import json

import pytest
import torch

import creode.data.documents
import creode.data.tables
from creode.data import ByteTokenizer, load

TEXTS = ["first text\nof two lines", "second, with a comma", 'third "quoted" — naïve']
ROWS = [{"text": text, "label": i} for i, text in enumerate(TEXTS)]


def jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_csv(path, rows=ROWS):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(path, rows=ROWS):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def gzipped(path, rows=ROWS):
    path.write_bytes(gzip.compress(jsonl(path, rows).read_bytes()))
    return path


def one_text_each(path, rows=ROWS):
    (path / "deep").mkdir(parents=True)
    for i, row in enumerate(rows):
        (path / "deep" / f"{i}.txt").write_bytes(row["text"].encode())
    (path / "NOTES").write_text("not a text file by its name")
    return path


def shards(path, rows=ROWS):
    path.mkdir()
    jsonl(path / "a.jsonl", rows[:1])
    jsonl(path / "b.jsonl", rows[1:])
    return path


def in_memory(path, rows=ROWS):
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def saved(path, rows=ROWS):
    in_memory(path, rows).save_to_disk(path)
    return path


def streamed(path, rows=ROWS):
    return in_memory(path, rows).to_iterable_dataset()


SOURCES = {
    "strings": lambda path, rows=ROWS: [row["text"] for row in rows],
    "data.jsonl": jsonl,
    "data.json": jsonl,
    "data.csv": as_csv,
    "data.parquet": parquet,
    "data.jsonl.gz": gzipped,
    "texts": one_text_each,
    "shards": shards,
    "saved": saved,
    "hf": in_memory,
    "stream": streamed,
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("limit", [None, 2])
def test_every_source_gives_the_same_samples(tmp_path, name, limit):
    source = SOURCES[name](tmp_path / name)
    wanted = [i for text in TEXTS for i in [256, *text.encode()]]
    samples = load(source, tokenizer="bytes", length=8, limit=limit)
    count = len(wanted) // 8 if limit is None else limit
    assert samples.columns["input_ids"].flatten().tolist() == wanted[: 8 * count]
    again = load(source, tokenizer=ByteTokenizer(), length=8, limit=limit)
    assert again.fingerprint() == samples.fingerprint()


@pytest.mark.parametrize("name", ["data.jsonl", "data.csv", "data.parquet", "texts", "hf"])
def test_a_path_may_be_a_string_or_a_path_and_is_named_in_the_source(tmp_path, name):
    source = SOURCES[name](tmp_path / name)
    if name == "hf":
        assert load(source, tokenizer="bytes", length=8).source == "Dataset of text"
        return
    samples = load(str(source), tokenizer="bytes", length=8)
    assert samples.source == f"{source} (train)" == load(source, tokenizer="bytes", length=8).source


def test_a_limit_reads_only_what_it_needs(tmp_path):
    """What follows the needed rows is not even JSON; a text file is read by the piece."""
    path = tmp_path / "long.jsonl"
    good = json.dumps({"text": "x" * 100}) + "\n"
    path.write_text(good * 200 + "not json\n")
    assert len(load(path, tokenizer="bytes", length=50, limit=20)) == 20
    with pytest.raises(ValueError, match="line 201: not JSON"):
        load(path, tokenizer="bytes", length=50)
    text = tmp_path / "long.txt"
    text.write_bytes(b"a line of text\n" * 100_000 + b"\xff")
    assert len(load(text, tokenizer="bytes", length=50, limit=20)) == 20


def test_the_pieces_of_a_large_text_file_are_one_document(tmp_path, monkeypatch):
    text = "".join(f"line {i} — ä\n" for i in range(200)) + "no line end"
    (tmp_path / "a.txt").write_bytes(text.encode())
    whole = load(tmp_path / "a.txt", tokenizer="bytes", length=16).columns["input_ids"]
    monkeypatch.setattr(creode.data.documents, "PIECE", 37)
    pieces = load(tmp_path / "a.txt", tokenizer="bytes", length=16).columns["input_ids"]
    assert torch.equal(whole, pieces)
    assert (whole == 256).sum() == 1
    bare = [256, *text.encode()]
    assert whole.flatten().tolist() == bare[: len(bare) // 16 * 16]


def test_line_ends_of_a_text_file_are_kept(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")
    ids = load(tmp_path / "a.txt", tokenizer="bytes", length=8).columns["input_ids"]
    assert ids[0].tolist() == [256, *b"a\r\nb\rc\n"]


def test_the_column_of_text_is_named(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"body": "some text", "text": "other"}])
    ids = load(path, tokenizer="bytes", text="body", length=10).columns["input_ids"]
    assert ByteTokenizer().decode(ids[0]) == "some text"


@pytest.mark.parametrize("form", ["folders", "names", "saved", "dict"])
def test_splits_are_told_apart(tmp_path, form):
    splits = {"train": "train text", "test": "words for tests"}
    source = tmp_path / "data"
    source.mkdir()
    if form in ("saved", "dict"):
        datasets = pytest.importorskip("datasets")
        parts = {name: datasets.Dataset.from_dict({"text": [t]}) for name, t in splits.items()}
        source = datasets.DatasetDict(parts)
        if form == "saved":
            source.save_to_disk(tmp_path / "data")
            source = tmp_path / "data"
    for name, text in splits.items():
        if form == "folders":
            (source / name).mkdir()
            (source / name / "a.txt").write_text(text)
        if form == "names":
            jsonl(source / f"{name}-00000.jsonl", [{"text": text}])
    for name, text in splits.items():
        ids = load(source, split=name, tokenizer="bytes", length=64, packing="pad").columns
        assert ByteTokenizer().decode(ids["input_ids"][0]) == text
    with pytest.raises(ValueError, match=r"(no split|for the split) '?validation'?.*test, train"):
        load(source, split="validation", tokenizer="bytes")


@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "saved", "hf", "stream"])
@pytest.mark.parametrize("limit", [None, 2])
def test_columns_of_numbers_are_taken_as_they_are(tmp_path, name, limit):
    rows = [{"input_ids": [i, i + 1], "y": float(i) / 2} for i in range(3)]
    columns = load(SOURCES[name](tmp_path / name, rows), text=None, limit=limit).columns
    assert columns["input_ids"].tolist() == [[0, 1], [1, 2], [2, 3]][:limit]
    assert columns["input_ids"].dtype == torch.int64
    assert columns["y"].tolist() == [0.0, 0.5, 1.0][:limit]
    assert columns["y"].dtype == torch.float32


def test_the_embedded_corpus_by_name():
    samples = load("corpus:arithmetic,logs", tokenizer="bytes", length=32, limit=10, split="test")
    assert samples.columns["input_ids"].shape == (10, 32)
    assert {name: len(part) for name, part in samples.by_domain().items()} == {
        "arithmetic": 5,
        "logs": 5,
    }
    with pytest.raises(ValueError, match="packing='pad' is not offered"):
        load("corpus:logs", tokenizer="bytes", packing="pad")


def written(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: p / "no.jsonl", FileNotFoundError, r"no file or directory .*no.jsonl"),
        (lambda p: "./no/where", FileNotFoundError, r"no file or directory ./no/where"),
        (lambda p: written(p / "a.bin", b"x"), ValueError, r"unknown format; .* \.txt, \.jsonl"),
        (lambda p: p, ValueError, "no file in this directory ends in one of"),
        (lambda p: written(p / "a.jsonl", b""), ValueError, "data set is empty"),
        (lambda p: written(p / "a.jsonl", b"\n \n"), ValueError, "data set is empty"),
        (lambda p: written(p / "a.txt", b""), ValueError, "data set is empty"),
        (lambda p: written(p / "a.jsonl", b'{"text": "x"}\n{"te'), ValueError, "line 2: not JSON"),
        (lambda p: written(p / "a.jsonl", b'{"text": "\xff"}'), ValueError, "line 1: not JSON"),
        (lambda p: written(p / "a.jsonl", b"\n[1]"), ValueError, "line 2: a JSON list, not an obj"),
        (
            lambda p: written(p / "a.jsonl", b'{"body": "x", "id": 1}'),
            ValueError,
            r"row 1 has no column 'text'; its columns are body, id. Name one of them with text=",
        ),
        (
            lambda p: written(p / "a.jsonl", b'{"text": "x"}\n{"text": null}'),
            ValueError,
            "column 'text' of row 2 holds NoneType, not text",
        ),
        (lambda p: written(p / "a.csv", b"a,b\n1,2\n"), ValueError, "columns are a, b"),
        (lambda p: written(p / "a.csv", b"text,b\nx\n"), ValueError, r"line 2: .* \(text, b\)"),
        (lambda p: written(p / "a.csv", b"text,b\nx,y,z\n"), ValueError, "line 2: the number of f"),
        (lambda p: written(p / "a.csv", b'text\n"x'), ValueError, r"near line \d: not CSV"),
        (lambda p: written(p / "a.csv", b"text\n\xff\n"), ValueError, r"near line \d: not CSV"),
        (lambda p: written(p / "a.parquet", b"no"), ValueError, "is not a Parquet file"),
        (
            lambda p: written(p / "a.txt", b"caf\xe9!"),
            ValueError,
            r"a.txt is not UTF-8 text \(byte 0xe9",
        ),
        (lambda p: ["text", 3], TypeError, "document 1 is int; give a string"),
        (lambda p: 3, TypeError, "cannot load int; give a path, a hub id, strings"),
        (lambda p: in_memory(p).remove_columns("text"), ValueError, "row 1 has no column 'text'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        load(make(tmp_path), tokenizer="bytes")


def test_a_directory_of_several_formats_is_refused(tmp_path):
    written(tmp_path / "a.txt", b"x")
    jsonl(tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match="mixes the formats jsonl, text"):
        load(tmp_path, tokenizer="bytes")


@pytest.mark.parametrize("name", ["data.jsonl", "texts", "saved"])
def test_a_split_that_nothing_names_is_refused(tmp_path, name):
    source = SOURCES[name](tmp_path / name)
    with pytest.raises(ValueError, match="no split 'test'"):
        load(source, split="test", tokenizer="bytes")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"x": 1}, {"y": 1}], r"row 2 has the columns \['y'\], the first row \['x'\]"),
        ([{"x": [1]}, {"x": [1, 2]}], "column 'x' cannot become a tensor"),
        ([], "data set is empty; give at least one row"),
    ],
)
def test_columns_that_are_not_numbers_are_refused(tmp_path, lines, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load(jsonl(tmp_path / "a.jsonl", lines), text=None)
    with pytest.raises(ValueError, match="a text file has no columns of numbers"):
        load(written(tmp_path / "a.txt", b"x"), text=None)


class Hub:
    """Stands in for the package datasets: keeps what was asked for."""

    def __init__(self, answer):
        self.answer, self.asked = answer, None

    def load_dataset(self, *args, **kwargs):
        self.asked = (args, kwargs)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("limit", [None, 2])
def test_a_hub_id_goes_to_the_hub_and_streams_when_limited(monkeypatch, limit):
    hub = Hub(in_memory(None))
    monkeypatch.setattr("creode.data.hub._datasets", lambda source: hub)
    samples = load(
        "owner/name@abc", config="small", split="test", tokenizer="bytes", length=8, limit=limit
    )
    assert samples.source == "owner/name@abc (test)"
    streaming = limit is not None
    keywords = {"split": "test", "revision": "abc", "streaming": streaming}
    assert hub.asked == (("owner/name", "small"), keywords)


def test_a_name_the_hub_does_not_know_is_refused(monkeypatch):
    hub = Hub(ValueError("Unknown split.\nlong trace"))
    monkeypatch.setattr("creode.data.hub._datasets", lambda source: hub)
    with pytest.raises(ValueError, match=r"'owner/name' is neither .* \(Unknown split.\)\. Check"):
        load("owner/name", tokenizer="bytes")


def test_text_is_read_without_the_optional_packages(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "a.jsonl")
    table = tmp_path / "a.parquet"
    table.write_bytes(b"")
    for name in ("datasets", "transformers", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert len(load(path, tokenizer="bytes", length=8)) > 2
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'creode\[hf\]'"):
        load(table, tokenizer="bytes")
    with pytest.raises(ImportError, match=r"needs the package datasets: pip install"):
        load("owner/name", tokenizer="bytes")
    with pytest.raises(ImportError, match=r"tokenizer 'owner/name' needs transformers"):
        load(path, tokenizer="owner/name")
