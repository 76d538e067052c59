"""Mixtures: exact proportions, no repetition, the same for the same seed."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from creode.data import as_samples, mixture


def part(start, size):
    return as_samples({"x": torch.arange(start, start + size)})


A, B, C = part(0, 60), part(100, 30), part(200, 10)
PARTS = {"a": A, "b": B, "c": C}


def counts(samples):
    return {name: len(part) for name, part in samples.by_domain().items()}


def test_without_proportions_a_mixture_is_everything_once():
    samples = mixture(PARTS)
    assert sorted(samples.columns["x"].tolist()) == [*range(60), *range(100, 130), *range(200, 210)]
    assert counts(samples) == {"a": 60, "b": 30, "c": 10}
    assert samples.domain_names == ("a", "b", "c")


def test_labels_go_with_their_samples():
    samples = mixture(PARTS, size=50, seed=3)
    assert torch.equal(samples.columns["x"] // 100, samples.domain)
    assert counts(samples) == {"a": 30, "b": 15, "c": 5}
    assert not torch.equal(samples.domain, samples.domain.sort().values)


@pytest.mark.parametrize(
    ("proportions", "size", "wanted"),
    [
        ({"a": 1, "b": 1, "c": 1}, None, {"a": 10, "b": 10, "c": 10}),
        ({"a": 0.6, "b": 0.3, "c": 0.1}, None, {"a": 60, "b": 30, "c": 10}),
        ({"a": 3, "b": 1, "c": 0}, None, {"a": 60, "b": 20}),
        ({"a": 1, "b": 1, "c": 1}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 0.5, "b": 0.3, "c": 0.2}, 9, {"a": 4, "b": 3, "c": 2}),
    ],
)
def test_proportions_are_met(proportions, size, wanted):
    assert counts(mixture(PARTS, proportions=proportions, size=size)) == wanted


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_counts_add_up_and_are_within_one_of_their_share(weights, size, seed):
    parts = {str(i): part(1000 * i, 60) for i in range(len(weights))}
    proportions = {str(i): weight for i, weight in enumerate(weights)}
    samples = mixture(parts, proportions=proportions, size=size, seed=seed)
    assert len(samples) == size == len(set(samples.columns["x"].tolist()))
    got = counts(samples)
    for i, weight in enumerate(weights):
        assert abs(got.get(str(i), 0) - Fraction(weight * size, sum(weights))) < 1


def test_the_seed_decides_all():
    first, again, other = (mixture(PARTS, size=20, seed=seed) for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    state = torch.get_rng_state()
    mixture(PARTS, size=20)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_sample_of_a_domain_may_be_drawn():
    seen = set()
    for seed in range(40):
        seen |= set(mixture({"c": C}, size=3, seed=seed).columns["x"].tolist())
    assert seen == set(range(200, 210))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixture({}), "needs at least one domain"),
        (lambda: mixture(PARTS, size=0), "mixture of 0 samples"),
        (lambda: mixture(PARTS, proportions={"a": 1}), "name a and the domains are a, b, c"),
        (lambda: mixture({"a": A}, proportions={"a": 0}), "with a positive sum"),
        (lambda: mixture(PARTS, proportions={"a": 2, "b": 1, "c": -1}), "numbers ≥ 0 with"),
        (lambda: mixture({"a": A}, proportions={"a": float("nan")}), "must be numbers ≥ 0, got"),
        (lambda: mixture({"a": A}, proportions={"a": float("inf")}), "must be numbers ≥ 0, got"),
        (lambda: mixture(PARTS, size=101), "'a' has 60 samples and 61 are needed for 101"),
        (
            lambda: mixture(PARTS, proportions={"a": 1, "b": 1, "c": 1}, size=60),
            "'c' has 10 samples and 20 are needed",
        ),
        (
            lambda: mixture({"a": A, "b": {"x": torch.zeros(3)}}),
            r"'a' and 'b' have different columns: x \(\) torch.int64, and x \(\) torch.float32",
        ),
        (
            lambda: mixture({"a": A, "b": {"x": torch.zeros(3, 2).long()}}),
            r"different columns: x \(\) torch.int64, and x \(2,\)",
        ),
    ],
)  # fmt: skip
def test_what_is_no_mixture_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
