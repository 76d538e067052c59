"""Supervised fine-tuning against transformers' own loss and gradient, and what it refuses."""

import pytest
import torch

from chats import assistant, llama, tokenizer, user
from creode.data import load_demonstrations
from creode.tasks import SFT, validate

CHATS = [
    {"messages": [user("hi"), assistant("ho"), user("once more, please"), assistant("no")]},
    {"messages": [user("a rather long question?"), assistant("yes")]},
]


@pytest.mark.parametrize("length", [1024, 20])
@pytest.mark.filterwarnings("ignore::creode.data.ExcludedWarning")
def test_loss_and_gradient_are_those_of_transformers(length):
    tok = tokenizer()
    samples = load_demonstrations(CHATS, tokenizer=tok, length=length)
    model = llama(len(tok))
    batch = dict(samples.columns)
    losses = SFT()(model, batch)
    ours = losses.values.sum() / losses.mask.sum()
    gradient = torch.autograd.grad(ours, list(model.parameters()))
    theirs = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    ).loss
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    for mine, other in zip(
        gradient, torch.autograd.grad(theirs, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=0)
    validate(SFT(), model, samples)


def test_unmarked_answers_are_refused():
    tok = tokenizer()
    samples = load_demonstrations(CHATS, tokenizer=tok)
    model = llama(len(tok))
    bare = {name: c for name, c in samples.columns.items() if name != "labels"}
    with pytest.raises(ValueError, match="SFT needs a column 'labels'"):
        validate(SFT(), model, type(samples)(columns=bare))
    labels = samples.columns["labels"].clone()
    labels[1] = -100
    with pytest.raises(ValueError, match="sample 1 has no answer"):
        validate(SFT(), model, type(samples)(columns=bare | {"labels": labels}))
