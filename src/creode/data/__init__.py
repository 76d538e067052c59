"""Data: where samples come from; domains and mixtures; weights on samples."""

from creode.data import corpus
from creode.data.coerce import as_samples
from creode.data.corpus import load_corpus
from creode.data.loading import load
from creode.data.mixing import mixture
from creode.data.samples import Samples
from creode.data.tokenizer import ByteTokenizer

__all__ = [
    "ByteTokenizer",
    "Samples",
    "as_samples",
    "corpus",
    "load",
    "load_corpus",
    "mixture",
]
