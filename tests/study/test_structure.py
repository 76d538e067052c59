"""Structure of a run's responses: what was planted is found and said, noise is not."""

import numpy as np
import pytest
import torch
import xarray as xr

from creode.data import ByteTokenizer, Samples
from creode.structure import pattern_classes
from creode.study.structure import find_structure
from creode.study.texts import NO_TOKEN, Text, token_table, token_texts_of

HEADS = ["l0h0", "l0h1", "l1h0", "l1h1"]


LOG = "2024-03-25 04:30 INFO 17 jobs done in 9 s\n2024-03-26 11:08 WARN 5 jobs late by 42 s\n"
PROSE = "the heads answer to words and to lines of prose, each in a way of its own; "


@pytest.fixture(scope="module")
def texts():
    return [sequences(PROSE, 24), sequences(LOG, 32)]


def sequences(text, length):
    """20 sequences of bytes, each beginning elsewhere in the text."""
    tokens = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    rows = np.stack([np.roll(tokens, -3 * start)[:length] for start in range(20)])
    return Text(Samples(columns={"input_ids": torch.tensor(rows)}, source="made"), ByteTokenizer())


def responses(texts, planted, noise=1.0, seed=0):
    """Replicates (component, sample, token, chain, block), NaN where there is no target."""
    ids = token_table(texts)
    rng = np.random.default_rng(seed)
    signal = np.multiply.outer([1.5, -0.6, 0.3, -1.0], planted)[..., None, None]
    values = signal + noise * rng.normal(size=(4, *ids.shape, 4, 5))
    counted = (ids != NO_TOKEN).shift(token=-1, fill_value=False)
    return xr.DataArray(
        values,
        dims=("component", "sample", "token", "chain", "block"),
        coords={"component": HEADS, "probe": ("sample", ["prose"] * 20 + ["logs"] * 20)},
    ).where(counted)


def numbers_predicted(texts):
    ids = token_table(texts)
    found = pattern_classes(ids, ByteTokenizer(), mask=ids != NO_TOKEN)
    return found.sel({"class": "number"}).values - 0.5


def test_a_planted_mode_is_found_and_said_with_its_probe(texts):
    found = find_structure(responses(texts, numbers_predicted(texts)), texts)
    assert int(found.modes["num_resolved"]) == 1
    words = found.words.set_index(group="group")["description"]
    assert found.words["mode"].values.tolist() == [1, 1]
    ends = {str(name): str(words.sel(group=name).item()) for name in words["group"].values}
    assert "numbers" in ends["mode 1 +"]
    assert "in logs" in ends["mode 1 +"]
    assert "numbers" not in ends["mode 1 −"]
    assert found.notes == ()
    stable = found.clusters.isel(cluster=found.clusters["stable"].values)
    assert any("numbers" in str(text) for text in stable["description"].values)


def test_noise_has_no_mode_no_words_and_no_clusters(texts):
    planted = np.zeros(token_table(texts).shape)
    found = find_structure(responses(texts, planted, seed=1), texts)
    assert int(found.modes["num_resolved"]) == 0
    assert found.words is None
    assert found.clusters is None


def test_a_component_whose_chain_failed_is_left_out_and_it_is_said(texts):
    broken = responses(texts, numbers_predicted(texts))
    broken[{"component": 2, "chain": 1}] = np.nan
    found = find_structure(broken, texts)
    assert found.modes["component"].values.tolist() == ["l0h0", "l0h1", "l1h1"]
    assert int(found.modes["num_resolved"]) == 1
    assert "leave out l1h0" in found.notes[0]


def test_what_cannot_be_looked_for_has_a_reason(texts):
    one = responses(texts, numbers_predicted(texts)).isel(component=[0])
    found = find_structure(one, texts)
    assert found.modes is None
    assert "1 components has no structure" in found.notes[0]
    samples = responses(texts, numbers_predicted(texts)).mean("token")
    found = find_structure(samples, None)
    assert found.modes.sizes["row"] == 40
    assert "no text of tokens" in found.notes[0]


def test_tokens_of_probes_lie_after_each_other_with_their_text(texts):
    table, said = token_table(texts), token_texts_of(texts)
    assert table.shape == said.shape == (40, 32)
    assert (table.values[:20, 24:] == NO_TOKEN).all()
    assert (said.values[:20, 24:] == "").all()
    for sample in (0, 23):
        text = texts[sample // 20].of(sample % 20)
        assert "".join(said.values[sample]) == text
