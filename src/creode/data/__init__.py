"""Data: where samples come from; tokens, domains and mixtures."""

from creode.data import corpus
from creode.data.behaviours import load_behaviour
from creode.data.coerce import as_samples
from creode.data.corpus import load_corpus
from creode.data.demonstrations import load_demonstrations
from creode.data.exclusions import ExcludedWarning
from creode.data.loading import load
from creode.data.mixing import mixture
from creode.data.preferences import load_preferences, swap_answers
from creode.data.samples import Samples
from creode.data.shuffling import shuffle_targets
from creode.data.tokenizer import ByteTokenizer, as_tokenizer

__all__ = [
    "ByteTokenizer",
    "ExcludedWarning",
    "Samples",
    "as_samples",
    "as_tokenizer",
    "corpus",
    "load",
    "load_behaviour",
    "load_corpus",
    "load_demonstrations",
    "load_preferences",
    "mixture",
    "shuffle_targets",
    "swap_answers",
]
