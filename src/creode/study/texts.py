"""The text of a study's probes, read again and checked to be what the run was made with.

Here: tokens and what turns them into text, of each probe of a run; of several as one table.
Not here: what is said about a text (structure.py, attribution.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from creode.data import ByteTokenizer, Samples, as_tokenizer
from creode.data.demonstrations import IGNORED
from creode.structure.patterns import token_texts
from creode.study.config import DataConfig, StudyConfig, own_tokenizer

NO_TOKEN = -1
REJECTED = " ✗ "  # between a pair's chosen answer and its rejected one


@dataclass(frozen=True)
class Text:
    """Samples of tokens with what turns them into text."""

    samples: Samples
    tokenizer: Any

    @property
    def ids(self) -> np.ndarray[Any, Any]:
        """The tokens (sample, token), of pairs the chosen side's; NO_TOKEN where there is none."""
        return self._side("chosen_" if self._pairs else "")

    def of(self, sample: int) -> str:
        """The text of one sample; of a pair, prompt and chosen answer, then the rejected answer."""
        text = self._decoded(self.ids[sample])
        if not self._pairs:
            return text
        answer = self.samples.columns["rejected_labels"][sample].numpy() != IGNORED
        rejected = self._side("rejected_")[sample]
        return f"{text}{REJECTED}{self._decoded(np.where(answer, rejected, NO_TOKEN))}"

    def prompt(self, sample: int) -> str | None:
        """What comes before the answer; None where no answer is marked, or more than one is."""
        name = "chosen_labels" if self._pairs else "labels"
        if name not in self.samples.columns:
            return None
        answer = np.flatnonzero(self.samples.columns[name][sample].numpy() != IGNORED)
        if not len(answer) or answer[-1] - answer[0] + 1 != len(answer):
            return None
        return self._decoded(self.ids[sample][: answer[0]])

    @property
    def _pairs(self) -> bool:
        return "input_ids" not in self.samples.columns

    def _side(self, side: str) -> np.ndarray[Any, Any]:
        columns = self.samples.columns
        ids = columns[f"{side}input_ids"].numpy()
        mask = f"{side}attention_mask"
        return np.where(columns[mask].numpy() != 0, ids, NO_TOKEN) if mask in columns else ids

    def _decoded(self, ids: np.ndarray[Any, Any]) -> str:
        text: str = self.tokenizer.decode(ids[ids != NO_TOKEN].tolist())
        return text


class Texts(NamedTuple):
    """The texts of a run's probes, and why some are missing."""

    found: Mapping[str, Text]
    missing: Mapping[str, str]


def texts_of(study: StudyConfig, fingerprints: Mapping[str, str], probes: Sequence[str]) -> Texts:
    """The texts of some probes.

    Args:
        study: what the run was asked for.
        fingerprints: of the probes, when the run was made.
        probes: names.
    """
    checkpoint = study.series()[0]
    model = study.model if checkpoint is None else checkpoint.path
    found, missing = {}, {}
    for name in probes:
        text = _text(study, study.probes[name], model, fingerprints[name])
        if isinstance(text, Text):
            found[name] = text
        else:
            missing[name] = text
    return Texts(found, missing)


def token_table(texts: Sequence[Text]) -> xr.DataArray:
    """Tokens (sample, token) of several probes after each other; NO_TOKEN where there is none."""
    longest = max(text.ids.shape[1] for text in texts)
    padded = [
        np.pad(ids, ((0, 0), (0, longest - ids.shape[1])), constant_values=NO_TOKEN)
        for ids in (text.ids for text in texts)
    ]
    return xr.DataArray(np.concatenate(padded), dims=("sample", "token"))


def token_texts_of(texts: Sequence[Text]) -> xr.DataArray:
    """What each token adds to the text before it, (sample, token), "" where there is none."""
    table = token_table(texts)
    found = np.full(table.shape, "", dtype=object)
    samples = [(text.tokenizer, ids) for text in texts for ids in text.ids]
    for row, (tokenizer, ids) in zip(found, samples, strict=True):
        real = np.flatnonzero(ids != NO_TOKEN)
        row[real] = token_texts(ids[real].tolist(), tokenizer)
    return table.copy(data=found)


def is_bytes(text: Text) -> bool:
    """Whether a token is a byte of the text."""
    return isinstance(text.tokenizer, ByteTokenizer)


def _text(
    study: StudyConfig, config: DataConfig, model: Path | str, fingerprint: str
) -> Text | str:
    """The text of a probe, or why there is none."""
    try:
        samples = study.load(config, model)
    except (ValueError, OSError, ImportError) as error:
        return str(error)
    if samples.fingerprint() != fingerprint:
        return f"{config.source} is not what it was when the run was made."
    if not {"input_ids", "chosen_input_ids"} & samples.columns.keys():
        return f"{config.source} holds no text."
    return Text(samples, as_tokenizer(config.tokenizer or own_tokenizer(model)))
