import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from creode.data import ByteTokenizer
from creode.structure import pattern_classes
from creode.structure.patterns import CLASSES, token_texts

VOCABULARY = ["The", " cat", "s", " (", "big", ")", " ", "  ", "\n", "\n    ", "\t", "12", " 3",
              ",", " the", "'", "é", " +=", "[1", "", " x"]  # fmt: skip


def decode(ids):
    return "".join(VOCABULARY[i] for i in ids)


def ids_of(*pieces):
    return np.array([[VOCABULARY.index(piece) for piece in pieces]])


def places(pieces, name, **settings):
    """The positions of a hand-written text that are of a class."""
    found = pattern_classes(ids_of(*pieces), decode, of="token", **settings)
    return np.flatnonzero(found.sel({"class": name})[0]).tolist()


@pytest.mark.parametrize(
    ("name", "pieces", "expected"),
    [
        ("word_start", ["The", " cat", "s", " (", "big", ")", "12"], [0, 1, 4]),
        ("word_start", ["s", "é", "s", "'", "s"], [0, 4]),  # one word of three letters, then one
        ("word_end", ["The", " cat", "s", " (", "big", ")"], [0, 2, 4]),
        ("word_end", [" cat", "s"], []),  # what follows is not seen
        ("bracket_open", [" (", "big", ")", "[1", "'"], [0, 3]),
        ("bracket_close", [" (", "big", ")", "[1"], [2]),
        ("number", ["12", " 3", "[1", "s", ","], [0, 1, 2]),
        ("space", ["  ", "s", " ", " (", "\n", "\t"], [0, 2]),  # the tab is indentation
        ("newline", ["\n", "s", "\n    ", " "], [0, 2]),
        ("indentation", ["  ", "s", "\n", "\t", " ", " x", "\n    ", " ", ",", "  "], [3, 4, 6, 7]),
        ("punctuation", [",", " (", "'", " +=", "[1", " ", ""], [0, 1, 2, 3]),
        ("repeated", ["s", ",", "s", ",", ",", "12"], [2, 3, 4]),
        ("induction", [" cat", "s", ",", " cat", "s", " x", "s", ","], [4, 7]),
        ("induction", ["s", "s", "s"], [2]),
    ],
)
def test_classes_of_a_text_written_by_hand(name, pieces, expected):
    assert places(pieces, name) == expected


def test_induction_can_ask_for_a_longer_match():
    pieces = ["12", " cat", "s", ",", " x", " cat", "s", "12", " cat", "s"]
    assert places(pieces, "induction") == [6, 8, 9]
    assert places(pieces, "induction", context=2) == [9]
    assert places(pieces, "induction", context=3) == []


def test_the_class_of_a_target_stands_where_it_is_predicted():
    ids = ids_of("The", " (", "12", ")", " cat")
    of_token = pattern_classes(ids, decode, of="token")
    of_target = pattern_classes(ids, decode)
    np.testing.assert_array_equal(of_target[:, :-1], of_token[:, 1:])
    assert not of_target[:, -1].any()
    assert of_target.attrs == {"of": "target", "context": 1}
    assert list(of_target["class"].values) == list(CLASSES)


def test_padding_is_no_token():
    ids = ids_of("s", "", "s", " x", "s")
    mask = np.array([[True, False, True, True, False]])
    found = pattern_classes(ids, decode, of="token", mask=mask)
    assert not found[0, [1, 4]].any()
    assert found.sel({"class": "repeated"})[0].values.tolist() == [False, False, True, False, False]
    # without the padding "ss" is one word
    assert found.sel({"class": "word_start"})[0].values.tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_samples_are_read_apart():
    first, second = ids_of("s", ","), ids_of("s", ",")
    found = pattern_classes(np.concatenate([first, second]), decode, of="token")
    assert not found.sel({"class": ["repeated", "induction"]}).any()


def test_bytes_make_up_characters_and_words():
    text = "né (ü)\n\tx=1"
    tokenizer = ByteTokenizer()
    ids = np.array([tokenizer.encode(text)])
    texts = token_texts(ids[0].tolist(), tokenizer)
    assert "".join(texts) == text
    assert texts[:5] == ["", "n", "", "é", " "]  # the beginning, and the first byte of é, are ""
    found = pattern_classes(ids, tokenizer, of="token")

    def said(name):
        return [texts[t] for t in np.flatnonzero(found.sel({"class": name})[0])]

    assert said("word_start") == ["n", "ü", "x"]
    assert said("word_end") == ["é", "ü", "x"]
    assert said("bracket_open") == ["("]
    assert said("bracket_close") == [")"]
    assert said("newline") == ["\n"]
    assert said("indentation") == ["\t"]
    assert said("number") == ["1"]
    assert said("punctuation") == ["(", ")", "="]


@given(st.text(max_size=40))
def test_token_texts_of_bytes_are_the_text(text):
    tokenizer = ByteTokenizer()
    text = text.encode("utf-8", errors="replace").decode().replace("\ufffd", "?")
    ids = tokenizer.encode(text)
    assert "".join(token_texts(ids, tokenizer)) == text


def test_an_accent_apart_from_its_letter_does_not_cut_the_word():
    pieces = ["e", "\u0301", "te", " "]
    found = pattern_classes([[0, 1, 2, 3]], lambda ids: "".join(pieces[i] for i in ids), of="token")
    assert found.sel({"class": "word_start"})[0].values.tolist() == [1, 0, 0, 0]
    assert found.sel({"class": "word_end"})[0].values.tolist() == [0, 0, 1, 0]


class TidyTokenizer:
    """Loses the space before the first word of what it decodes, as some do, and tidies " ,"."""

    pieces = ("▁the", "▁cat", "▁,", "s", "▁", ",")

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids).replace("▁", " ").lstrip().replace(" ,", ",")


def test_the_space_before_a_word_is_kept_where_decoding_alone_would_lose_it():
    assert token_texts([0, 1, 3, 1], TidyTokenizer()) == ["the", " cat", "s", " cat"]
    assert token_texts([0, 2, 1], TidyTokenizer()) == ["the", ",", " cat"]
    assert token_texts([0, 4, 5, 1], TidyTokenizer()) == ["the", " ", ",", " cat"]


def test_a_hugging_face_tokenizer_serves(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    from tokenizers import decoders, models, pre_tokenizers

    raw = tokenizers.Tokenizer(
        models.WordLevel({"Ġthe": 0, "Ġcat": 1, "the": 2, "Ċ": 3, "?": 4}, unk_token="?")
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw)
    ids = tokenizer("the cat\nthe cat")["input_ids"]
    assert ids == [2, 1, 3, 2, 1]
    found = pattern_classes([ids], tokenizer, of="token")
    assert found.sel({"class": "word_start"})[0].values.tolist() == [1, 1, 0, 1, 1]
    assert found.sel({"class": "word_end"})[0].values.tolist() == [1, 1, 0, 1, 0]
    assert found.sel({"class": "induction"})[0].values.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pattern_classes([1, 2], decode), ValueError, r"shape \(2,\); it needs two"),
        (lambda: pattern_classes([[1]], 3), TypeError, "or a tokenizer, got int"),
        (lambda: pattern_classes([[1]], decode, context=0), ValueError, "at least 1 token, got 0"),
        (
            lambda: pattern_classes([[1]], decode, of="x"),
            ValueError,
            "'target' or 'token', got 'x'",
        ),
        (
            lambda: pattern_classes([[1]], decode, mask=[[True, True]]),
            ValueError,
            r"mask has shape \(1, 2\), token_ids \(1, 1\)",
        ),
        (
            lambda: pattern_classes(xr.DataArray([[1]], dims=("a", "b")), decode),
            ValueError,
            r"dimensions \('a', 'b'\); it needs \('sample', 'token'\)",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
