"""The embedded corpus: texts of distinct kinds, split, seeded, from as few files as possible."""

import collections
import hashlib
from itertools import islice

import pytest
import torch

from creode.data import corpus, installed, load_corpus

MADE = ("arithmetic", "brackets", "dialogue", "logs")


def test_every_domain_gives_text_in_both_splits_and_none_in_both():
    assert set(MADE) < set(corpus.domains())
    assert {"code", "docstrings", "reference"} <= set(corpus.domains())
    for domain in corpus.domains():
        some = [set(islice(corpus.documents(domain, split=s), 5)) for s in corpus.SPLITS]
        assert all(some)
        assert not some[0] & some[1]


@pytest.mark.parametrize("domain", ["code", "reference", *MADE])
def test_one_document_in_five_is_held_out(domain):
    held_out = [corpus._split(name) == "test" for name in corpus.DOMAINS[domain].names()]
    assert 0.1 < sum(held_out) / len(held_out) < 0.3


def test_documents_are_those_of_the_split_and_the_seed_orders_them():
    texts = [list(corpus.documents("reference", split=s)) for s in corpus.SPLITS]
    assert sorted(texts[0] + texts[1]) == sorted(installed.topics().values())
    shuffled = [list(corpus.documents("reference", seed=seed)) for seed in (0, 0, 1)]
    assert shuffled[0] == shuffled[1] != shuffled[2] != texts[0]
    assert sorted(shuffled[0]) == sorted(texts[0])


def test_code_and_docstrings_of_a_file_are_in_the_same_split():
    for split in corpus.SPLITS:
        code, docstrings = (
            next(corpus._documents(domain, split, seed=0))[0] for domain in ("code", "docstrings")
        )
        assert code == docstrings


@pytest.mark.parametrize("domain", ["code", "reference", "logs"])
def test_samples_are_text_of_the_domain(domain):
    samples = load_corpus(domain, tokenizer="bytes", length=64, size=40, seed=1)
    assert samples.columns["input_ids"].shape == (40, 64)
    assert list(samples.by_domain()) == [domain]
    texts = list(islice(corpus.documents(domain, seed=1), 20))  # excerpts come in this order
    for ids in samples.columns["input_ids"]:
        for part in bytes(min(i, 255) for i in ids.tolist()).split(
            b"\xff"
        ):  # at a document's begin
            assert any(part in text.encode() for text in texts)


def test_domains_are_in_equal_numbers():
    samples = load_corpus(["logs", "dialogue", "brackets"], tokenizer="bytes", length=16, size=50)
    assert {k: len(v) for k, v in samples.by_domain().items()} == {
        "logs": 17,
        "dialogue": 17,
        "brackets": 16,
    }


def test_seed_and_split_decide_the_samples():
    def ids(**options):
        options = {"tokenizer": "bytes", "length": 32, "size": 20} | options
        return load_corpus(["logs", "reference"], **options).fingerprint()

    assert ids() == ids(seed=0) == ids(split="train")
    assert len({ids(), ids(seed=1), ids(split="test"), ids(length=16)}) == 4


def test_a_few_samples_come_from_many_documents_and_only_those_are_read(monkeypatch):
    read = collections.Counter()
    whole = corpus.DOMAINS["reference"]

    def text(name):
        read[name] += 1
        return whole.text(name)

    domain = whole._replace(text=text)
    monkeypatch.setattr(corpus, "DOMAINS", {**corpus.DOMAINS, "reference": domain})
    load_corpus("reference", tokenizer="bytes", length=128, size=100)
    assert 6 < len(read) < len(whole.names()) / 2
    assert set(read.values()) == {1}


def test_all_samples_are_all_the_text():
    samples = load_corpus("reference", tokenizer="bytes", length=64, split="test")
    size = sum(len(text.encode()) + 1 for text in corpus.documents("reference", split="test"))
    assert len(samples) == size // 64


def test_more_than_the_excerpts_hold_takes_whole_documents():
    size = sum(len(text.encode()) + 1 for text in corpus.documents("reference", split="test")) // 64
    samples = load_corpus("reference", tokenizer="bytes", length=64, split="test", size=size)
    assert len(set(map(tuple, samples.columns["input_ids"].tolist()))) > 0.95 * size
    with pytest.raises(ValueError, match=rf"has {size} samples of 64 tokens .* {size + 1} wanted"):
        load_corpus("reference", tokenizer="bytes", length=64, split="test", size=size + 1)


def test_excerpts_start_at_a_line():
    text = "".join(f"line {i}\n" for i in range(1000))
    starts = set()
    for seed in range(20):
        excerpt = corpus._excerpt(text, 500, str(seed))
        assert len(excerpt) == 500
        assert excerpt.startswith("line ")
        assert "\n" + excerpt in "\n" + text
        starts.add(excerpt[:10])
    assert len(starts) > 10
    assert corpus._excerpt(text, None, "0") == text


def test_domains_have_statistics_of_their_own():
    """A unigram model of bytes per domain tells held-out documents apart."""

    def counts(domain, split):
        size = 60
        ids = load_corpus(domain, tokenizer="bytes", length=256, size=size, split=split)
        return torch.stack([row.bincount(minlength=257) for row in ids.columns["input_ids"]])

    names = ["code", "reference", *MADE]
    models = torch.stack([counts(name, "train").sum(0) + 0.5 for name in names])
    log_probs = (models / models.sum(1, keepdim=True)).log()
    for i, name in enumerate(names):
        guess = (counts(name, "test").float() @ log_probs.T).argmax(1)
        assert (guess == i).float().mean() > 0.6, name


def test_the_fingerprint_is_that_of_the_texts(monkeypatch):
    whole = corpus.fingerprint("reference")
    digest = hashlib.sha256()
    for name, text in installed.topics().items():
        digest.update(f"reference/{name}\0".encode() + text.encode())
    assert whole == digest.hexdigest()
    assert corpus.fingerprint(["logs", "reference"]) == corpus.fingerprint(["reference", "logs"])
    assert len({corpus.fingerprint(name) for name in corpus.domains()}) == len(corpus.domains())
    changed = {**installed.topics(), "assert": "another text"}
    domain = corpus.Domain(lambda: changed, lambda name: changed[name])
    monkeypatch.setattr(corpus, "DOMAINS", {**corpus.DOMAINS, "reference": domain})
    assert corpus.fingerprint("reference") != whole


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_corpus("prose", tokenizer="bytes"), "'prose' is no domain .* code, docstr"),
        (lambda: load_corpus([], tokenizer="bytes"), "name each domain once"),
        (lambda: load_corpus(["logs", "logs"], tokenizer="bytes"), "name each domain once"),
        (lambda: load_corpus("logs", tokenizer="bytes", split="dev"), "splits train and test, got"),
        (lambda: load_corpus("logs", tokenizer=None), "no tokenizer was given"),
        (lambda: load_corpus(["logs", "code"], tokenizer="bytes", size=1), "size=1 is fewer than"),
        (lambda: corpus.fingerprint("prose"), "'prose' is no domain"),
    ],
)
def test_what_the_corpus_does_not_have_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_domain_whose_texts_are_not_installed_is_left_out_and_named(monkeypatch):
    absent = corpus.Domain(dict, str)
    monkeypatch.setattr(corpus, "DOMAINS", {**corpus.DOMAINS, "c": absent})
    assert "c" not in corpus.domains()
    assert corpus.fingerprint() == corpus.fingerprint(corpus.domains())
    with pytest.raises(ValueError, match="installed without the texts of the domain 'c'"):
        load_corpus("c", tokenizer="bytes")
