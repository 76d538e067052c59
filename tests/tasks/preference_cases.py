"""Pairs of very different length, and one answer at a time by the slow way."""

import torch

from chats import tokenizer
from creode.data import load_preferences

PAIRS = [
    {"prompt": "2+2=", "chosen": "4", "rejected": "about five, and perhaps a little more"},
    {"prompt": "say hello to everybody here: ", "chosen": "hello, all of you", "rejected": "no"},
    {"prompt": "x", "chosen": "yy", "rejected": "z"},
]


def pairs(**options):
    return load_preferences(PAIRS, tokenizer=tokenizer(), **options)


def answer_alone(model, samples, row, side):
    """log p of an answer, nats, from its own unpadded tokens, one token after the other."""
    ids, mask, labels = (
        samples.columns[f"{side}_{name}"][row] for name in ("input_ids", "attention_mask", "labels")
    )
    ids, labels = ids[mask.bool()], labels[mask.bool()]
    logits = model(ids[None])
    logits = getattr(logits, "logits", logits)[0]
    total = logits.new_zeros(())
    for t in range(1, len(ids)):
        if labels[t] != -100:
            total = total + torch.log(torch.softmax(logits[t - 1], -1)[ids[t]])
    return total
