import math

import pytest

from creode.viewer import wording


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (12.3456, 0.5678, "12.35 ± 0.57"),
        (227.49, 3.04, "227.5 ± 3.0"),
        (12345.6, 120.0, "12,346 ± 120"),
        (-1.9, 0.15, "−1.90 ± 0.15"),
        (0.00123, 0.00004, "0.001230 ± 0.000040"),
        (-2.154e-5, 6.2e-6, "(−2.15 ± 0.62) × 10⁻⁵"),
        (3e-8, 2.5e-7, "(0.3 ± 2.5) × 10⁻⁷"),
        (0.5, 2e-9, "0.500000000 ± 0.000000002"),
        (4.0, 0.0, "4.00"),
        (4.0, math.nan, "4.00"),
        (math.nan, 1.0, "–"),
        (math.inf, 1.0, "–"),
    ],
)
def test_a_value_is_written_to_the_place_of_its_error(value, error, text):
    assert wording.with_error(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (5.678, "5.68"), (1234.5, "1,234"), (-31.44, "−31.4"),
     (-4.567e-12, "−4.57 × 10⁻¹²")],
)  # fmt: skip
def test_a_number_has_three_digits_and_a_power_of_ten_only_if_it_is_tiny(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("ok", "total", "text"),
    [
        (1, 1, "The reading can be trusted."),
        (0, 1, "The reading cannot be trusted."),
        (7, 7, "All 7 readings can be trusted."),
        (0, 7, "None of the 7 readings can be trusted."),
        (1234, 1300, "1,234 of 1,300 readings can be trusted."),
    ],
)
def test_the_verdict_counts_readings(ok, total, text):
    assert wording.verdict_sentence(ok, total) == text


def test_reasons_that_differ_in_their_numbers_are_told_once_most_frequent_first():
    rows = [
        {"ok": True, "reasons": ""},
        {"ok": False, "reasons": "λ̂ is −1.9, below 0"},
        {"ok": False, "reasons": "R-hat is 1.31, above 1.05; ESS is 17, below 100"},
        {"ok": False, "reasons": "R-hat is 2e+3, above 1.05"},
    ]
    found = wording.doubts(rows)
    assert [(doubt.reason, len(doubt.readings)) for doubt in found] == [
        ("R-hat is 1.31, above 1.05", 2),
        ("λ̂ is −1.9, below 0", 1),
        ("ESS is 17, below 100", 1),
    ]
    assert found[0].readings == rows[2:]
