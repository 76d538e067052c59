from math import comb

import numpy as np
import pytest
import xarray as xr

from creode.structure import describe, extremes, pattern_classes
from creode.structure.descriptions import _fisher, _log_odds

WORDS = ["alpha", " beta", " (", ")", "\n", "7", " gamma", "delta"]


def decode(ids):
    return "".join(WORDS[i] for i in ids)


def rows_of(token_ids):
    """The coordinates of every place of a probe as rows."""
    sample, token = np.indices(token_ids.shape)
    return {"sample": ("row", sample.ravel()), "token": ("row", token.ravel())}


def labelled(values, token_ids):
    return xr.DataArray(np.asarray(values).ravel(), dims="row", coords=rows_of(token_ids))


@pytest.fixture
def probe():
    ids = np.random.default_rng(0).integers(len(WORDS), size=(40, 20))
    return xr.DataArray(ids, dims=("sample", "token"))


def test_counts_odds_and_errors_are_those_of_the_table(probe):
    classes = pattern_classes(probe, decode, of="token")
    in_group = np.random.default_rng(1).random(probe.shape) < 0.3
    out = describe(labelled(np.where(in_group, 4, -1), probe.values), probe, classes, decode)
    has = probe.values == 6
    a, b = (has & in_group).sum(), (~has & in_group).sum()
    c, d = (has & ~in_group).sum(), (~has & ~in_group).sum()
    here = out.sel(group=4).isel(feature=out["token_id"].values.tolist().index(6))
    assert int(here["count"]) == a
    assert float(here["share"]) == pytest.approx(a / (a + b))
    cells = np.array([a, b, c, d]) + 0.5
    assert float(here["log_odds"]) == pytest.approx(
        np.log(cells[0] * cells[3] / cells[1] / cells[2])
    )
    assert float(here["log_odds_se"]) == pytest.approx(np.sqrt((1 / cells).sum()))
    numbers = out.sel(group=4, feature="number")
    assert int(numbers["count"]) == ((probe.values == 5) & in_group).sum()
    assert str(numbers["kind"].item()) == "class"
    assert int(out["size"].sel(group=4)) == in_group.sum()


def test_what_was_planted_is_said_and_the_rest_is_not(probe):
    classes = pattern_classes(probe, decode, of="token")
    labels = np.full(probe.shape, -1)
    opening = probe.values == 2
    labels[opening] = 0
    labels[probe.values == 5] = 1
    out = describe(labelled(labels, probe.values), probe, classes, decode)
    words = [str(text) for text in out["description"].values]
    assert words[0].startswith("opening brackets (100%, odds × ")
    assert "' (' (100%" in words[0]
    assert "numbers (100%" in words[1]
    assert "'7' (100%" in words[1]
    assert "'7'" not in words[0]
    assert "closing" not in words[0] + words[1]
    rich = out["significant"] & (out["log_odds"] > 0)
    assert set(out["feature"].values[rich.sel(group=0)]) == {"bracket_open", "punctuation", "' ('"}


def test_a_target_is_described_where_it_is_predicted(probe):
    labels = np.full(probe.shape, -1)
    labels[:, :-1][probe.values[:, 1:] == 5] = 0  # places that predict a "7"
    out = describe(labelled(labels, probe.values), probe, pattern_classes(probe, decode), decode)
    share = out["share"].sel(group=0)
    assert float(share.sel(feature="number")) == 1
    assert float(share.sel(feature="'7'")) == 1
    last = labelled(np.where(np.arange(20) == 19, 0, -1) * np.ones((40, 1), int), probe.values)
    out = describe(last, probe, pattern_classes(probe, decode), decode)
    assert int(out["count"].sum()) == 0  # the last place predicts nothing


def test_random_groups_are_rarely_given_a_feature(probe):
    rng = np.random.default_rng(2)
    classes = pattern_classes(probe, decode, of="token")
    alarms = 0
    for _ in range(60):
        labels = labelled(rng.integers(-1, 3, size=probe.shape), probe.values)
        out = describe(labels, probe, classes, decode, false_discovery=0.1)
        alarms += bool(out["significant"].any())
        if not out["significant"].any():
            assert all("nothing more frequent" in str(d) for d in out["description"].values)
    assert alarms <= 14  # 0.1 of 60, and the chance of 15 is below 0.001


def test_the_order_of_rows_does_not_matter(probe):
    rng = np.random.default_rng(3)
    labels = labelled(rng.integers(-1, 2, size=probe.shape), probe.values)
    classes = pattern_classes(probe, decode, of="token")
    out = describe(labels, probe, classes, decode)
    other = describe(labels.isel(row=rng.permutation(labels.size)), probe, classes, decode)
    xr.testing.assert_identical(out, other)


def test_rows_may_be_a_part_and_are_found_by_their_labels(probe):
    named = probe.assign_coords(sample=np.arange(100, 140))
    classes = pattern_classes(named, decode, of="token")
    rows = xr.DataArray(
        [0, 0, -1, -1],
        dims="row",
        coords={"sample": ("row", [100, 139, 120, 121]), "token": ("row", [3, 4, 5, 6])},
    )
    out = describe(rows, named, classes, decode)
    expected = sum(int(probe[s, t]) in (2, 3) for s, t in ((0, 3), (39, 4)))
    brackets = out["count"].sel(group=0, feature=["bracket_open", "bracket_close"]).sum()
    assert int(brackets) == expected
    assert (out["kind"] == "class").all()  # no token occurs often enough to be tested
    with pytest.raises(ValueError, match="a row lies at sample 100, which token_ids do not have"):
        describe(rows, probe, pattern_classes(probe, decode, of="token"), decode)
    with pytest.raises(ValueError, match=r"lack the coordinates \['token'\]"):
        describe(rows.drop_vars("token"), named, classes, decode)


def test_tokens_of_the_same_text_are_told_apart():
    ids = xr.DataArray(np.repeat([[0, 1, 2]], 10, axis=0), dims=("sample", "token"))
    texts = ["same", "same", ""]
    classes = pattern_classes(ids, lambda i: "".join(texts[k] for k in i), of="token")
    labels = labelled(np.zeros(ids.shape, int), ids.values)
    out = describe(labels, ids, classes, lambda i: "".join(texts[k] for k in i))
    tokens = out["feature"].values[out["kind"].values == "token"]
    assert list(tokens) == ["'same' (0)", "'same' (1)", "token 2"]


def exact_tail(k, size, total, rows):
    """Twice the smaller tail of the hypergeometric distribution, by counting."""
    ways = [comb(total, i) * comb(rows - total, size - i) for i in range(min(size, total) + 1)]
    above, below = sum(ways[k:]), sum(ways[: k + 1])
    return min(1.0, 2 * min(above, below) / comb(rows, size))


@pytest.mark.parametrize(("k", "size", "total"), [(0, 6, 9), (5, 6, 9), (3, 12, 5), (6, 6, 9)])
def test_fishers_test_is_that_of_counting(k, size, total):
    p_value = _fisher(np.array([[k]]), np.array([[size]]), np.array([total]), 30)
    assert float(p_value[0, 0]) == pytest.approx(exact_tail(k, size, total, 30), rel=1e-9)


def test_the_interval_of_log_odds_holds_the_truth():
    rng = np.random.default_rng(4)
    inside, outside, repetitions = 80, 400, 4000
    count = rng.binomial(inside, 0.3, repetitions)
    total = count + rng.binomial(outside, 0.1, repetitions)
    value, error = _log_odds(count, inside, total, inside + outside)
    truth = np.log(0.3 / 0.7) - np.log(0.1 / 0.9)
    assert 0.93 <= (np.abs(value - truth) < 1.96 * error).mean() <= 0.975


def test_the_extremes_of_a_mode_are_its_ends():
    score = np.random.default_rng(5).standard_normal((2, 50))
    found = xr.Dataset({"score": (("mode", "row"), score)}, coords={"mode": [1, 2]})
    groups = extremes(found, 2, share=0.1)
    order = np.argsort(score[1])
    assert set(np.flatnonzero(groups == "mode 2 −")) == set(order[:5])
    assert set(np.flatnonzero(groups == "mode 2 +")) == set(order[-5:])
    assert (groups == "").sum() == 40
    with pytest.raises(ValueError, match=r"mode 3 was not found; known: \[1, 2\]"):
        extremes(found, 3)
    with pytest.raises(ValueError, match=r"share=0.001 of 50 rows is 0"):
        extremes(found, 1, share=0.001)


def test_the_extremes_can_be_described(probe):
    classes = pattern_classes(probe, decode, of="token")
    score = (probe.values == 3).ravel() + 0.1 * np.random.default_rng(6).random(probe.size)
    found = xr.Dataset(
        {"score": (("mode", "row"), score[None])}, coords={"mode": [1], **rows_of(probe.values)}
    )
    out = describe(extremes(found, 1, share=0.05), probe, classes, decode)
    assert "closing brackets (100%" in str(out["description"].sel(group="mode 1 +").item())
