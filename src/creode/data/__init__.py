"""Data: where samples come from; tokens, domains and mixtures."""

from creode.data import corpus
from creode.data.coerce import as_samples
from creode.data.corpus import load_corpus
from creode.data.loading import load
from creode.data.mixing import mixture
from creode.data.samples import Samples
from creode.data.tokenizer import ByteTokenizer, as_tokenizer

__all__ = [
    "ByteTokenizer",
    "Samples",
    "as_samples",
    "as_tokenizer",
    "corpus",
    "load",
    "load_corpus",
    "mixture",
]
