"""The embedded corpus: texts of distinct kinds that any installation of Python has.

Here: its domains, their documents and splits, samples of them, and a fingerprint.
Not here: where the texts come from (installed.py, generated.py).

Python's own texts change with its version: keep `fingerprint` beside results that must be repeated
elsewhere. A document belongs to the split `test` by the hash of its name, one in five; code and
docstrings of one file fall in the same split.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from creode.data import generated, installed
from creode.data.documents import from_texts
from creode.data.mixing import mixture
from creode.data.packing import check_packing, packed, stacked
from creode.data.samples import Samples
from creode.data.tokenizer import as_tokenizer, encode, separated

SPLITS = ("train", "test")
EXCERPT = 2048  # characters of one document that a sample set takes before it takes whole ones


class Domain(NamedTuple):
    """A kind of text."""

    names: Callable[[], Iterable[str]]  # of its documents, in a fixed order
    text: Callable[[str], str]  # of a document by its name; may be empty


def _numbered() -> list[str]:
    return [f"{number:04d}" for number in range(generated.DOCUMENTS)]


def _generated(kind: str, name: str) -> str:
    return generated.generate(kind, int(name))


DOMAINS: Mapping[str, Domain] = {
    "code": Domain(installed.python_files, lambda name: installed.module(name).code),
    "docstrings": Domain(installed.python_files, lambda name: installed.module(name).docstrings),
    "reference": Domain(installed.topics, lambda name: installed.topics()[name]),
    "c": Domain(installed.header_files, installed.header),
    **{kind: Domain(_numbered, partial(_generated, kind)) for kind in generated.KINDS},
}


def domains() -> tuple[str, ...]:
    """The domains this installation has texts for."""
    return tuple(name for name, domain in DOMAINS.items() if domain.names())


def documents(domain: str, *, split: str = "train", seed: int | None = None) -> Iterator[str]:
    """The texts of a domain and split, read one by one; in an order drawn by `seed` if given.

    Raises:
        ValueError: a domain or a split that does not exist.
    """
    for _, text in _documents(domain, split, seed):
        yield text


def load_corpus(
    domains: str | Sequence[str],
    *,
    tokenizer: Any,
    length: int = 128,
    size: int | None = None,
    seed: int = 0,
    split: str = "train",
) -> Samples:
    """Samples of the embedded corpus, in equal numbers of each domain, with their domains.

    Args:
        domains: names among `domains()`.
        tokenizer: as in `creode.data.load`; "bytes" needs nothing.
        length: tokens of a sample.
        size: samples in all; a domain gives size/len(domains), the first ones one more where that
            is no whole number. None: every text.
        seed: draws documents, excerpts and order.
        split: "train" or "test".

    Returns:
        The column `input_ids` (size, length). Few samples come from excerpts of many documents,
        not from a few whole ones; only as many documents are read as are needed.

    Raises:
        ValueError: a domain or split that does not exist, or one with too little text.
    """
    names = [domains] if isinstance(domains, str) else list(domains)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"name each domain once, among {_known()}; got {names}.")
    check_packing("pack", length, size)
    tokenizer = as_tokenizer(tokenizer)
    parts = {}
    for i, name in enumerate(names):
        count = None if size is None else (size - i - 1) // len(names) + 1
        if count == 0:
            raise ValueError(
                f"size={size} is fewer than one sample for each of {len(names)} domains."
            )
        parts[name] = _samples(name, tokenizer, length, count, seed, split)
    samples = mixture(parts, seed=seed)
    return Samples(
        columns=samples.columns,
        source=f"corpus:{','.join(names)} ({split})",
        domain=samples.domain,
        domain_names=samples.domain_names,
    )


def fingerprint(domains: str | Sequence[str] | None = None) -> str:
    """SHA-256 over the texts of the domains (all there are by default), a few of those made."""
    if domains is None:
        domains = [name for name, domain in DOMAINS.items() if domain.names()]
    names = [domains] if isinstance(domains, str) else domains
    digest = hashlib.sha256()
    for name in sorted(names):
        domain = _domain(name)
        some = 16 if name in generated.KINDS else None
        for document in islice(domain.names(), some):
            digest.update(f"{name}/{document}\0".encode())
            digest.update(_raw(name, document))
    return digest.hexdigest()


def _known() -> str:
    return ", ".join(domains())


def _domain(name: str) -> Domain:
    if name not in DOMAINS:
        raise ValueError(f"{name!r} is no domain of the embedded corpus; there are {_known()}.")
    if not DOMAINS[name].names():
        raise ValueError(
            f"this Python was installed without the texts of the domain {name!r}; "
            f"there are {_known()}."
        )
    return DOMAINS[name]


def _documents(name: str, split: str, seed: int | None) -> Iterator[tuple[str, str]]:
    """Names and texts; the order depends on a document's name alone, not on the others."""
    if split not in SPLITS:
        raise ValueError(f"the embedded corpus has the splits train and test, got {split!r}.")
    domain = _domain(name)
    kept = [document for document in domain.names() if _split(document) == split]
    if seed is not None:
        kept.sort(key=lambda document: _hash(f"{seed}/{document}"))
    for document in kept:
        if text := domain.text(document):
            yield document, text


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _split(document: str) -> str:
    return "test" if int.from_bytes(_hash(document)[:4], "big") % 5 == 0 else "train"


def _samples(
    name: str, tokenizer: Any, length: int, count: int | None, seed: int, split: str
) -> Samples:
    found = 0
    for window in (EXCERPT, None) if count is not None else (None,):
        texts = (
            _excerpt(text, window, f"{seed}/{document}")
            for document, text in _documents(name, split, seed)
        )
        rows = packed(encode(from_texts(texts), tokenizer), separated(tokenizer), length)
        ids = stacked(rows, length, count)
        if len(ids) == count or (count is None and len(ids)):
            return Samples(columns={"input_ids": ids}, source=f"corpus:{name} ({split})")
        found = len(ids)
    raise ValueError(
        f"the corpus domain {name!r} has {found} samples of {length} tokens in the split "
        f"{split!r}, {count if count is not None else 'at least 1'} wanted; lower size or length."
    )


def _excerpt(text: str, window: int | None, seed: str) -> str:
    """About `window` characters of the text from the start of a line drawn by `seed`."""
    if window is None or len(text) <= window:
        return text
    start = random.Random(seed).randrange(len(text) - window + 1)
    start = text.rfind("\n", 0, start) + 1
    return text[start : start + window]


def _raw(name: str, document: str) -> bytes:
    if name in ("code", "docstrings"):  # hashed as they lie on disk: no need to take them apart
        return installed.python_files()[document].read_bytes()
    return DOMAINS[name].text(document).encode()
