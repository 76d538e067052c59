"""Pairs as samples: which tokens are the answers, what is left out and told, what is swapped."""

import pytest
import torch

from chats import assistant, tokenizer, user
from creode.data import ExcludedWarning, load_preferences, swap_answers

IGNORED = -100


def sides(samples, row, tok):
    """Of each side: all text, and that of the answer."""
    out = []
    for side in ("chosen", "rejected"):
        ids, mask, labels = (
            samples.columns[f"{side}_{name}"][row]
            for name in ("input_ids", "attention_mask", "labels")
        )
        out.append((tok.decode(ids[mask.bool()]), tok.decode(labels[labels != IGNORED])))
    return out


def pair(prompt="2+2=", chosen="4", rejected="five"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_text_with_a_prompt():
    tok = tokenizer()
    samples = load_preferences([pair()], tokenizer=tok)
    assert sides(samples, 0, tok) == [("2+2=4</s>", "4</s>"), ("2+2=five</s>", "five</s>")]
    assert samples.columns["chosen_input_ids"].shape == samples.columns["rejected_labels"].shape


def test_text_that_holds_its_prompt():
    tok = tokenizer()
    rows = [{"chosen": "Q: a A: yes", "rejected": "Q: a A: no"}]
    samples = load_preferences(rows, tokenizer=tok)
    assert sides(samples, 0, tok)[0] == ("Q: a A: yes</s>", "yes</s>")


@pytest.mark.parametrize("explicit", [True, False])
def test_chats(explicit):
    tok = tokenizer()
    head, answers = [user("hi")], ([assistant("ho")], [assistant("bah")])
    row = {"chosen": answers[0], "rejected": answers[1], "prompt": head}
    if not explicit:
        row = {"chosen": head + answers[0], "rejected": head + answers[1]}
    samples = load_preferences([row], tokenizer=tok)
    assert sides(samples, 0, tok) == [
        ("<user>hi</s><assistant>ho</s>", "ho</s>"),
        ("<user>hi</s><assistant>bah</s>", "bah</s>"),
    ]


def test_a_token_over_the_seam_of_one_answer_is_of_both():
    tok = tokenizer(merges=[("=", "4")])
    samples = load_preferences([pair()], tokenizer=tok)
    assert [answer for _, answer in sides(samples, 0, tok)] == ["=4</s>", "=five</s>"]


def test_what_says_nothing_is_left_out_and_told():
    tok = tokenizer()
    rows = [
        pair(),
        pair(rejected="4"),
        pair(chosen=""),
        pair(rejected=None),
        {"prompt": "a", "chosen": "b"},
        pair(prompt="much too long"),
        pair(prompt=None),
        pair(chosen="aaaaaaab", rejected="aaaaaaac"),
    ]
    with pytest.warns(ExcludedWarning, match="7 of 8 rows are left out"):
        samples = load_preferences(rows, tokenizer=tok, length=9)
    assert dict(samples.excluded) == {
        "both answers are the same": (1,),
        "an empty chosen answer": (2,),
        "no rejected answer": (3, 4),
        "the prompt fills all 9 tokens": (5,),
        "no prompt": (6,),
        "both answers are the same in the first 9 tokens": (7,),
    }
    assert samples.columns["row"].tolist() == [0]


def test_same_answers_are_told_as_such_however_long_the_prompt():
    rows = [pair(), pair(prompt="much too long", chosen="a", rejected="a")]
    with pytest.warns(ExcludedWarning):
        samples = load_preferences(rows, tokenizer=tokenizer(), length=9)
    assert dict(samples.excluded) == {"both answers are the same": (1,)}


def test_the_same_answer_at_the_head_of_both():
    rows = [{"chosen": "a b", "rejected": "a b"}, {"chosen": "a b", "rejected": "a c"}]
    with pytest.warns(ExcludedWarning):
        samples = load_preferences(rows, tokenizer=tokenizer())
    assert dict(samples.excluded) == {"both answers are the same": (0,)}


def test_long_answers_are_cut_or_left_out():
    tok = tokenizer()
    rows = [pair(), pair(chosen="a very long answer")]
    with pytest.warns(ExcludedWarning, match=r"1 of 2 samples were cut to the length \(row 1\)"):
        samples = load_preferences(rows, tokenizer=tok, length=9)
    assert sides(samples, 1, tok)[0] == ("2+2=a ver", "a ver")
    with pytest.warns(ExcludedWarning, match=r"longer than 9 tokens \(row 1\)"):
        samples = load_preferences(rows, tokenizer=tok, length=9, too_long="leave out")
    assert len(samples) == 1
    with pytest.raises(ValueError, match="too_long must be 'cut' or 'leave out', got 'drop'"):
        load_preferences(rows, tokenizer=tok, too_long="drop")


def test_wrong_columns_and_forms():
    tok = tokenizer()
    with pytest.raises(ValueError, match=r"the columns are \['text'\]; preferences need"):
        load_preferences([{"text": "a"}], tokenizer=tok)
    with pytest.raises(ValueError, match="one answer is text and the other a chat"):
        load_preferences([{"chosen": "a", "rejected": [assistant("b")]}], tokenizer=tok)
    with pytest.raises(ValueError, match="has no chat template"):
        load_preferences([pair([user("a")], [assistant("b")], [assistant("c")])], tokenizer="bytes")
    with pytest.raises(ValueError, match="each needs 'role' and 'content'"):
        load_preferences([pair([{"who": "a"}], [assistant("b")], [assistant("c")])], tokenizer=tok)


def test_margins_and_principles():
    rows = [pair() | {"margin": 0.5, "law": "brief"}, pair() | {"margin": 2.0, "law": "kind"}]
    samples = load_preferences(rows, tokenizer=tokenizer(), principle="law")
    assert samples.columns["margin"].tolist() == [0.5, 2.0]
    assert samples.domain_names == ("brief", "kind")
    with pytest.raises(ValueError, match="some rows have a margin and some have none"):
        load_preferences([rows[0], pair()], tokenizer=tokenizer())


def test_swapping_exchanges_whole_answers():
    tok = tokenizer()
    more = {"margin": 1.0, "law": "kind"}
    rows = [pair() | more, pair(chosen="yes") | more]
    samples = load_preferences(rows, tokenizer=tok, principle="law")
    swapped = swap_answers(samples, torch.tensor([False, True]))
    assert sides(swapped, 0, tok) == sides(samples, 0, tok)
    assert sides(swapped, 1, tok) == sides(samples, 1, tok)[::-1]
    assert swapped.columns["margin"].tolist() == [1.0, -1.0]
    assert swapped.columns["row"].tolist() == [0, 1]
    assert swapped.domain_names == ("kind",)
    with pytest.raises(ValueError, match="which must be bool"):
        swap_answers(samples, torch.tensor([0, 1]))
