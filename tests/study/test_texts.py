"""The texts of samples: which part of one is the prompt."""

import pytest
import torch

from creode.data import ByteTokenizer, Samples
from creode.data.demonstrations import IGNORED
from creode.study.texts import Text


def labelled(text, answered):
    """Tokens of a text and the labels of what is answered in it, "-" being no answer."""
    ids = list(text.encode())
    labels = [i if mark != "-" else IGNORED for i, mark in zip(ids, answered, strict=True)]
    return torch.tensor([ids]), torch.tensor([labels])


@pytest.mark.parametrize(
    ("text", "answered", "prompt"),
    [
        ("ask:yes", "----+++", "ask:"),
        ("ask:yes\n", "----+++-", "ask:"),  # what follows the answer is not asked for
        ("a:b c:d", "--+---+", None),  # two answers
        ("ask:yes", "-------", None),
    ],
)
def test_the_prompt_ends_where_the_one_answer_begins(text, answered, prompt):
    ids, labels = labelled(text, answered)
    demonstration = Samples(columns={"input_ids": ids, "labels": labels})
    assert Text(demonstration, ByteTokenizer()).prompt(0) == prompt
    pair = Samples(columns={
        "chosen_input_ids": ids, "chosen_labels": labels,
        "rejected_input_ids": ids, "rejected_labels": labels,
    })  # fmt: skip
    assert Text(pair, ByteTokenizer()).prompt(0) == prompt
    assert Text(pair, ByteTokenizer()).of(0).startswith(prompt or text)


def test_a_plain_text_has_no_prompt():
    ids, _ = labelled("abc", "---")
    assert Text(Samples(columns={"input_ids": ids}), ByteTokenizer()).prompt(0) is None
