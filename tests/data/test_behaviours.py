"""Behaviours: prompts with a wanted and an unwanted answer, as pairs and as demonstrations."""

import json

import pytest
import torch

from chats import assistant, tokenizer, user
from creode.data import load_behaviour, load_demonstrations, load_preferences
from creode.data.behaviours import load_wanted

ROWS = [
    {"prompt": "2+2=", "wanted": "4", "unwanted": "5", "note": "kept out"},
    {"prompt": "say hello: ", "wanted": "hello", "unwanted": "no"},
]
PAIRS = [{"prompt": r["prompt"], "chosen": r["wanted"], "rejected": r["unwanted"]} for r in ROWS]
CHATS = [
    {"prompt": [user("hi")], "wanted": [assistant("hello")], "unwanted": [assistant("go away")]}
]


def same(one, other):
    assert set(one.columns) == set(other.columns)
    for name, column in one.columns.items():
        torch.testing.assert_close(column, other.columns[name])


@pytest.mark.parametrize("as_file", [True, False])
def test_wanted_answers_are_chosen_and_unwanted_ones_rejected(tmp_path, as_file):
    source = ROWS
    if as_file:
        source = tmp_path / "rows.jsonl"
        source.write_text("\n".join(map(json.dumps, ROWS)))
    made = load_behaviour(source, tokenizer=tokenizer(), length=32)
    same(made, load_preferences(PAIRS, tokenizer=tokenizer(), length=32))
    same(load_behaviour(PAIRS, tokenizer=tokenizer(), length=32), made)
    assert ("rows.jsonl" in made.source) == as_file
    assert len(load_behaviour(ROWS, tokenizer=tokenizer(), limit=1)) == 1


def test_chats_are_read_by_the_template():
    made = load_behaviour(CHATS, tokenizer=tokenizer())
    labels = made.columns["rejected_labels"][0]
    answer = tokenizer().decode(labels[labels >= 0])
    assert answer.startswith("go away")
    assert "hi" not in answer


def test_wanted_answers_are_demonstrations():
    made = load_wanted(ROWS, tokenizer=tokenizer(), length=32)
    demos = [{"prompt": r["prompt"], "completion": r["wanted"]} for r in ROWS]
    same(made, load_demonstrations(demos, tokenizer=tokenizer(), length=32))


@pytest.mark.filterwarnings("ignore::creode.data.ExcludedWarning")
def test_what_cannot_be_asked_is_counted():
    rows = [*ROWS, {"prompt": "x", "wanted": "a", "unwanted": "a"}]
    made = load_behaviour(rows, tokenizer=tokenizer())
    assert made.excluded == {"both answers are the same": (2,)}


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"prompt": "x", "wanted": "a"}, "needs 'prompt', 'wanted' and 'unwanted'"),
        ({"prompt": "x", "wanted": "a", "unwanted": "b", "chosen": "a"}, "the columns are"),
        ({"question": "x", "answer": "b"}, "the columns are"),
    ],
)
def test_other_columns_are_refused(row, match):
    with pytest.raises(ValueError, match=match):
        load_behaviour([row], tokenizer=tokenizer())


def test_wanted_answers_need_their_prompts_apart():
    with pytest.raises(ValueError, match="row 0 has no column 'prompt'"):
        load_wanted([{"wanted": "xa", "unwanted": "xb"}], tokenizer=tokenizer())
