"""Demonstrations as samples: which tokens count, what is cut, what is left out and told."""

import json
import warnings

import numpy as np
import pytest
import torch

from chats import MARKED, TEMPLATE, assistant, tokenizer, user
from creode.data import ByteTokenizer, ExcludedWarning, load_demonstrations

IGNORED = -100


def asked(samples, row, tok):
    """The text of the tokens that count."""
    labels = samples.columns["labels"][row]
    return tok.decode(labels[labels != IGNORED])


def said(samples, row, tok):
    mask = samples.columns["attention_mask"][row].bool()
    return tok.decode(samples.columns["input_ids"][row][mask])


def test_only_the_answer_counts_and_it_ends():
    tok = tokenizer()
    rows = [{"prompt": "2+2=", "completion": "4"}, {"prompt": "hello, ", "completion": "you"}]
    samples = load_demonstrations(rows, tokenizer=tok)
    assert [asked(samples, i, tok) for i in range(2)] == ["4</s>", "you</s>"]
    assert [said(samples, i, tok) for i in range(2)] == ["2+2=4</s>", "hello, you</s>"]
    assert samples.columns["row"].tolist() == [0, 1]
    assert not samples.excluded


def test_an_end_that_is_there_is_not_put_twice():
    tok = tokenizer()
    samples = load_demonstrations([{"prompt": "a", "completion": "b</s>"}], tokenizer=tok)
    assert said(samples, 0, tok) == "ab</s>"


def test_a_token_over_the_seam_is_the_answers():
    tok = tokenizer(merges=[("=", "4")])
    samples = load_demonstrations([{"prompt": "2+2=", "completion": "4"}], tokenizer=tok)
    assert asked(samples, 0, tok) == "=4</s>"


@pytest.mark.parametrize("template", [TEMPLATE, MARKED])
def test_every_turn_of_the_assistant_counts(template):
    tok = tokenizer(template)
    chat = [user("hi"), assistant("ho"), user("again"), assistant("no")]
    samples = load_demonstrations([{"messages": chat}], tokenizer=tok)
    assert asked(samples, 0, tok) == "ho</s>no</s>"
    assert said(samples, 0, tok) == "<user>hi</s><assistant>ho</s><user>again</s><assistant>no</s>"


def test_prompt_and_completion_may_be_turns():
    tok = tokenizer()
    row = {"prompt": [user("hi")], "completion": [assistant("ho")]}
    samples = load_demonstrations([row], tokenizer=tok)
    assert asked(samples, 0, tok) == "ho</s>"


def test_the_form_of_from_and_value():
    tok = tokenizer()
    chat = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]
    samples = load_demonstrations([{"conversations": chat}], tokenizer=tok)
    assert asked(samples, 0, tok) == "ho</s>"


def test_bytes_end_with_the_token_that_begins_texts():
    samples = load_demonstrations([{"prompt": "a", "completion": "b"}], tokenizer="bytes")
    begin = ByteTokenizer().bos_token_id
    assert samples.columns["input_ids"].tolist() == [[begin, 97, 98, begin]]
    assert samples.columns["labels"].tolist() == [[IGNORED, IGNORED, 98, begin]]


def test_a_long_row_is_cut_and_told():
    tok = tokenizer()
    rows = [{"prompt": "ab", "completion": "cdefgh"}, {"prompt": "a", "completion": "b"}]
    with pytest.warns(ExcludedWarning, match=r"1 of 2 samples were cut to the length \(row 0\)"):
        samples = load_demonstrations(rows, tokenizer=tok, length=4)
    assert [said(samples, i, tok) for i in range(2)] == ["abcd", "ab</s>"]
    assert asked(samples, 0, tok) == "cd"


def test_what_shows_nothing_is_left_out_and_told():
    tok = tokenizer()
    rows = [
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "completion": " "},
        {"prompt": "a", "completion": None},
        {"prompt": None, "completion": "b"},
        {"prompt": "abcdefgh", "completion": "i"},
    ]
    with pytest.warns(ExcludedWarning) as told:
        samples = load_demonstrations(rows, tokenizer=tok, length=8)
    assert len(samples) == 1
    assert dict(samples.excluded) == {
        "an empty answer": (1, 2),
        "no prompt": (3,),
        "the prompt fills all 8 tokens": (4,),
    }
    assert "4 of 5 rows are left out" in str(told[0].message)
    assert "an empty answer (rows 1, 2)" in str(told[0].message)


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        ([], "no chat in 'messages'"),
        ([user("hi"), assistant("")], "the last turn is empty"),
        ([user("hi")], "the assistant says nothing"),
    ],
)
def test_chats_that_show_nothing(chat, reason):
    rows = [{"messages": chat}, {"messages": [user("hi"), assistant("ho")]}]
    with pytest.warns(ExcludedWarning):
        samples = load_demonstrations(rows, tokenizer=tokenizer())
    assert dict(samples.excluded) == {reason: (0,)}
    assert samples.columns["row"].tolist() == [1]


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(ValueError, match=r"no row can be used: an empty answer \(row 0\)"):
        load_demonstrations([{"prompt": "a", "completion": ""}], tokenizer=tokenizer())


def test_a_tokenizer_without_a_template_is_refused():
    chat = [{"messages": [user("hi"), assistant("ho")]}]
    with pytest.raises(ValueError, match="has no chat template"):
        load_demonstrations(chat, tokenizer=tokenizer(None))
    with pytest.raises(ValueError, match="ByteTokenizer has no chat template"):
        load_demonstrations(chat, tokenizer="bytes")


def test_a_template_that_rewrites_earlier_turns_is_refused():
    moody = (
        "{% for m in messages %}{% if loop.last %}<{{ m['role'] }}>{{ m['content'] }}"
        "{% else %}x{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    chat = [user("hi"), assistant("ho"), user("so"), assistant("no")]
    with pytest.raises(ValueError, match="writes turn 1 otherwise when others follow"):
        load_demonstrations([{"messages": chat}], tokenizer=tokenizer(moody))


def test_other_columns_are_refused_by_name():
    with pytest.raises(ValueError, match=r"the columns are \['question'\]; demonstrations need"):
        load_demonstrations([{"question": "a"}], tokenizer=tokenizer())
    with pytest.raises(ValueError, match="the prompt is text and the answer a chat"):
        load_demonstrations(
            [{"prompt": "a", "completion": [assistant("b")]}], tokenizer=tokenizer()
        )


def test_principles_are_domains():
    rows = [{"prompt": "a", "completion": "b", "law": law} for law in ("kind", "brief", "kind")]
    samples = load_demonstrations(rows, tokenizer=tokenizer(), principle="law")
    assert samples.domain_names == ("brief", "kind")
    assert samples.domain.tolist() == [1, 0, 1]
    rows[1]["law"] = None
    with pytest.raises(ValueError, match="row 1 names no principle in column 'law'"):
        load_demonstrations(rows, tokenizer=tokenizer(), principle="law")


def test_packed_rows_follow_one_another():
    tok = tokenizer()
    rows = [{"prompt": f"{i}?", "completion": f"{i}!"} for i in range(6)]
    samples = load_demonstrations(rows, tokenizer=tok, packing="pack", length=10)
    whole = "".join(f"{i}?{i}!</s>" for i in range(6))
    assert tok.decode(samples.columns["input_ids"].flatten()) == whole
    assert asked(samples, 0, tok) == "0!</s>1!</s>"
    with pytest.raises(ValueError, match="not enough for one sample of 1000"):
        load_demonstrations(rows, tokenizer=tok, packing="pack", length=1000)
    with pytest.raises(ValueError, match="packed samples hold rows of several principles"):
        load_demonstrations(rows, tokenizer=tok, packing="pack", principle="law")


def test_rows_come_from_files_as_they_are(tmp_path):
    tok = tokenizer()
    chat = [user("hi"), assistant("ho")]
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps({"messages": chat})] * 3))
    samples = load_demonstrations(str(tmp_path / "a.jsonl"), tokenizer=tok, limit=2)
    assert len(samples) == 2
    assert asked(samples, 1, tok) == "ho</s>"
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(ValueError, match="a text file has no columns"):
        load_demonstrations(str(tmp_path / "a.txt"), tokenizer=tok)


def test_a_hugging_face_data_set_is_read_as_it_is():
    datasets = pytest.importorskip("datasets")
    tok = tokenizer()
    rows = datasets.Dataset.from_list([{"messages": [user("hi"), assistant("ho")]}])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExcludedWarning)
        samples = load_demonstrations(rows, tokenizer=tok)
    assert asked(samples, 0, tok) == "ho</s>"


def test_padding_stands_behind_and_does_not_count():
    samples = load_demonstrations(
        [{"prompt": "a", "completion": "b"}, {"prompt": "abc", "completion": "d"}],
        tokenizer=tokenizer(),
    )
    mask = samples.columns["attention_mask"]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert (samples.columns["labels"][mask == 0] == IGNORED).all()
    assert samples.columns["input_ids"].dtype == torch.int64
    assert np.issubdtype(samples.columns["row"].numpy().dtype, np.integer)
