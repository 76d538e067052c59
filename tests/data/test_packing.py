"""Packing loses nothing but an incomplete end; cutting and padding keep the first tokens."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from creode.data import ByteTokenizer, load
from creode.data.packing import headed, packed
from creode.data.tokenizer import Encoded, Frame

TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=12)
LENGTH = st.integers(2, 40)
TOKENIZER = ByteTokenizer()


def stream(texts):
    return [i for text in texts if text for i in [256, *text.encode()]]


@settings(max_examples=60, deadline=None)
@given(TEXTS, LENGTH)
def test_packed_samples_joined_are_the_documents(texts, length):
    whole = stream(texts)
    if len(whole) < length:
        with pytest.raises(ValueError, match=r"not enough for one sample|is empty"):
            load(texts, tokenizer="bytes", length=length)
        return
    ids = load(texts, tokenizer="bytes", length=length).columns["input_ids"]
    assert ids.flatten().tolist() == whole[: len(whole) - len(whole) % length]
    rejoined = [*ids.flatten().tolist(), *whole[ids.numel() :]]
    assert rejoined.count(256) == sum(map(bool, texts))
    assert TOKENIZER.decode(rejoined) == "".join(texts)


@settings(max_examples=60, deadline=None)
@given(TEXTS, LENGTH, st.integers(1, 5))
def test_a_limit_gives_the_first_samples(texts, length, limit):
    if len(stream(texts)) < length:
        return
    everything = load(texts, tokenizer="bytes", length=length).columns["input_ids"]
    some = load(texts, tokenizer="bytes", length=length, limit=limit).columns["input_ids"]
    assert torch.equal(some, everything[:limit])


@settings(max_examples=60, deadline=None)
@given(TEXTS, LENGTH)
def test_padding_keeps_the_first_tokens_of_each_document(texts, length):
    if not any(texts):
        return
    columns = load(texts, tokenizer="bytes", length=length, packing="pad").columns
    ids, mask = columns["input_ids"], columns["attention_mask"].bool()
    wanted = [[256, *text.encode()][:length] for text in texts if text]
    assert [row[real].tolist() for row, real in zip(ids, mask, strict=True)] == wanted
    assert (mask[:, :-1] >= mask[:, 1:]).all()  # on the right
    assert ids.shape == (len(wanted), length)


@settings(max_examples=60, deadline=None)
@given(TEXTS, LENGTH)
def test_truncating_keeps_documents_that_are_long_enough(texts, length):
    wanted = [[256, *t.encode()][:length] for t in texts if t and len(t.encode()) + 1 >= length]
    if not wanted:
        return
    columns = load(texts, tokenizer="bytes", length=length, packing="truncate").columns
    assert list(columns) == ["input_ids"]
    assert columns["input_ids"].tolist() == wanted


DOCUMENTS = st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=4))
FRAME = Frame(np.array([70]), np.array([80, 81]))


def pieces(documents):
    for document in documents:
        for i, ids in enumerate(document):
            yield Encoded(np.array(ids, np.int64), starts=i == 0)


def joined(lists):
    return list(chain.from_iterable(lists))


def framed(document):
    return [70, *joined(document), 80, 81]


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(2, 9))
def test_the_frame_goes_around_documents_and_not_around_their_pieces(documents, length):
    whole = joined(map(framed, documents))
    rows = [row.tolist() for row in packed(pieces(documents), FRAME, length)]
    assert joined(rows) == whole[: len(whole) - len(whole) % length]
    assert all(len(row) == length for row in rows)
    heads = [row.tolist() for row in headed(pieces(documents), FRAME, length)]
    assert heads == [framed(document)[:length] for document in documents]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packing": "stack"}, "packing must be one of 'pack', 'truncate', 'pad', got 'stack'"),
        ({"length": 1}, "length must be at least 2 tokens"),
        ({"limit": 0}, "limit must be at least 1 sample, got 0"),
    ],
)
def test_options_that_make_no_samples_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load(["some text"], tokenizer="bytes", **options)


@pytest.mark.parametrize(
    ("texts", "packing", "message"),
    [
        ([], "pack", "data set is empty"),
        (["", ""], "pad", "data set is empty"),
        (["abc", "d"], "pack", "2 documents gave 4 tokens, not enough for one sample of 128"),
        (["abc"], "truncate", "none of 1 document has 128 tokens"),
    ],
)
def test_nothing_to_make_samples_of_is_refused_with_the_reason(texts, packing, message):
    with pytest.raises(ValueError, match=message):
        load(texts, tokenizer="bytes", packing=packing)
