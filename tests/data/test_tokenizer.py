"""Tokenizers: bytes there and back, and the special tokens of Hugging Face ones kept as theirs."""

import logging
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creode.data import ByteTokenizer, load
from creode.data.tokenizer import as_tokenizer, frame, padding_id, separated


def fast(template=None, **special):
    """A byte-level Hugging Face tokenizer without merges: a token a byte, in another order."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: i for i, symbol in enumerate([*alphabet, "<s>", "</s>", "<pad>"])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    if template:
        tokens = [("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
        core.post_processor = processors.TemplateProcessing(single=template, special_tokens=tokens)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **special)


S, E, P = 256, 257, 258


@settings(deadline=None)
@given(st.text())
def test_bytes_go_there_and_back(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id == 256
    assert ids[1:] == list(text.encode()) == tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert max(ids) < tokenizer.vocab_size == len(tokenizer)


def test_a_lone_surrogate_does_not_stop_the_reading():
    tokenizer = ByteTokenizer()
    assert len(tokenizer.encode("a\ud800b")) == 6
    ids = load(["a\ud800b"], tokenizer=tokenizer, length=6).columns["input_ids"][0]
    assert ids.tolist() == tokenizer.encode("a\ud800b")


@pytest.mark.parametrize(
    ("make", "own", "apart"),
    [
        (ByteTokenizer, ([256], []), ([256], [])),
        (lambda: fast("<s> $A", bos_token="<s>", eos_token="</s>"), ([S], []), ([S], [])),
        (lambda: fast("<s> $A </s>", bos_token="<s>"), ([S], [E]), ([S], [E])),
        (lambda: fast(bos_token="<s>", eos_token="</s>"), ([], []), ([], [E])),
        (lambda: fast(bos_token="<s>"), ([], []), ([S], [])),
    ],
)
def test_documents_are_framed_as_the_tokenizer_does_or_else_by_its_end_token(make, own, apart):
    tokenizer = make()
    assert tuple(ids.tolist() for ids in frame(tokenizer)) == own
    assert tuple(ids.tolist() for ids in separated(tokenizer)) == apart


def test_without_an_end_token_documents_cannot_be_told_apart():
    with pytest.raises(ValueError, match=r"neither an end nor a begin token.*'truncate' or 'pad'"):
        load(["some text"], tokenizer=fast(), length=4)
    assert len(load(["some text"], tokenizer=fast(), length=4, packing="truncate")) == 1


def test_a_hugging_face_tokenizer_gives_its_own_ids():
    texts = ["naïve — text", "b", "a longer document than the others"]
    tokenizer = fast("<s> $A", bos_token="<s>", pad_token="<pad>")
    columns = load(texts, tokenizer=tokenizer, length=16, packing="pad").columns
    theirs = tokenizer(texts, padding="max_length", truncation=True, max_length=16)
    assert columns["input_ids"].tolist() == theirs["input_ids"]
    assert columns["attention_mask"].tolist() == theirs["attention_mask"]
    whole = list(chain.from_iterable(tokenizer(texts)["input_ids"]))
    packed = load(texts, tokenizer=tokenizer, length=8).columns["input_ids"].flatten().tolist()
    assert packed == whole[: len(whole) // 8 * 8]


def test_a_core_tokenizer_gives_the_same_ids_as_its_wrapper():
    wrapper = fast("<s> $A", bos_token="<s>")
    one = load(["some text"], tokenizer=wrapper, length=4).columns["input_ids"]
    other = load(["some text"], tokenizer=wrapper.backend_tokenizer, length=4).columns["input_ids"]
    assert one.tolist() == other.tolist()


def test_a_tokenizer_is_loaded_from_a_directory(tmp_path):
    tokenizer = fast("<s> $A", bos_token="<s>")
    tokenizer.save_pretrained(tmp_path)
    one = load(["some text"], tokenizer=tokenizer, length=4).columns["input_ids"]
    for name in (tmp_path, str(tmp_path)):
        assert load(["some text"], tokenizer=name, length=4).columns["input_ids"].equal(one)


def test_padding_is_the_padding_token_or_one_that_is_there():
    assert padding_id(fast(pad_token="<pad>", eos_token="</s>")) == P
    assert padding_id(fast(eos_token="</s>", bos_token="<s>")) == E
    assert padding_id(ByteTokenizer()) == 256
    assert padding_id(fast()) == 0


def test_documents_of_one_token_have_nothing_to_predict():
    with pytest.raises(ValueError, match="none of 2 documents has two tokens"):
        load(["a", "b"], tokenizer=fast(), packing="pad")
    columns = load(["a", "bc"], tokenizer=fast(), length=4, packing="pad").columns
    assert columns["attention_mask"].tolist() == [[1, 1, 0, 0]]


class Mute:
    bos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [0] if add_special_tokens else []


class Odd:
    def encode(self, text, add_special_tokens=True):
        return [1, 2] if add_special_tokens else [3]


@pytest.mark.parametrize("packing", ["pack", "truncate", "pad"])
def test_a_tokenizer_that_yields_nothing_is_refused(packing):
    with pytest.raises(ValueError, match="Mute made no token of 9 documents"):
        load(["text"] * 9, tokenizer=Mute(), length=2, packing=packing)


@pytest.mark.parametrize(
    ("tokenizer", "error", "message"),
    [
        (None, ValueError, "no tokenizer was given and the data is text"),
        (7, TypeError, "must have an encode method, got int"),
        ("./no/such/dir", ValueError, "no tokenizer could be loaded from './no/such/dir'"),
        (Odd(), ValueError, r"Odd: encoding 'a' .* gives \[1, 2\], without them \[3\]"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tokenizer, error, message):
    with pytest.raises(error, match=message):
        load(["text"], tokenizer=tokenizer)


def test_the_name_of_the_byte_tokenizer():
    assert as_tokenizer("bytes") == ByteTokenizer()
    assert np.array_equal(frame(ByteTokenizer()).prefix, [256])


@pytest.mark.parametrize("kind", ["creode-decoder", "llama", None])
def test_a_tokenizer_beside_any_model_loads_without_a_word(kind, tmp_path, caplog):
    before = fast(eos_token="</s>")
    before.save_pretrained(tmp_path)
    if kind is not None:
        (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        after = as_tokenizer(str(tmp_path))
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records
    assert after.encode("a b") == before.encode("a b")
    assert after.eos_token_id == before.eos_token_id
