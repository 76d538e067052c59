"""Which names are formats, paths and splits."""

import pytest

from creode.data.files import find, format_of, looks_like_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text"),
        ("A.TXT", "text"),
        ("x/y.jsonl.gz", "jsonl"),
        ("a.ndjson.xz", "jsonl"),
        ("a.csv.bz2", "csv"),
        ("s3://b/a.parquet", "parquet"),
        ("a.gz", None),
        ("a", None),
        ("txt", None),
    ],
)
def test_a_format_is_told_by_the_name(name, kind):
    assert format_of(name) == kind


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("owner/name", False),
        ("name", False),
        ("owner/name@main", False),
        ("./name", True),
        ("/a", True),
        ("~/a", True),
        ("a/b/c", True),
        ("s3://a/b", True),
        ("name.jsonl", True),
        ("owner/name.csv", True),
    ],
)
def test_paths_are_told_from_hub_ids(name, is_path):
    assert looks_like_path(name) == is_path


def test_files_of_a_split_in_order(tmp_path):
    names = ["train-1.csv", "train-0.csv", "val/x.csv", "a_dev.csv", "testing.csv", "retrained.csv"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    def found(split):
        paths = find(str(tmp_path), split).paths
        return [path.removeprefix(f"file://{tmp_path}/") for path in paths]

    assert found("train") == ["train-0.csv", "train-1.csv"]
    assert found("validation") == ["a_dev.csv", "val/x.csv"]
    assert found("test") == ["testing.csv"]


def test_the_folders_above_the_directory_name_no_split(tmp_path):
    root = tmp_path / "test" / "data"
    root.mkdir(parents=True)
    (root / "a.txt").write_text("x")
    assert len(find(str(root), "train").paths) == 1
