"""Boundaries of curves that are known."""

import numpy as np
import pytest

from creode.development.regimes import boundaries

CELLS = 2000
PLACES = (np.arange(CELLS) + 0.5) / CELLS
GAP = 1 / 60
HALF = np.arccosh(np.sqrt(2.0)) * 2  # a logistic's rate is half its peak so many widths away


def logistic_rate(place, width):
    return 1 / (4 * width * np.cosh((PLACES - place) / (2 * width)) ** 2)


def line_rate(corners, heights):
    rate = np.diff(np.interp(np.arange(CELLS + 1) / CELLS, corners, heights)) * CELLS
    return rate, np.array(corners[1:-1])


def found(rate, kinks=(), **more):
    out = boundaries(rate, np.asarray(kinks, float), gap=GAP, **more)
    assert out == sorted(out)
    return [b.kind for b in out], np.array([b.place for b in out])


@pytest.mark.parametrize("sign", [1, -1])
def test_steps_have_edges_where_the_rate_is_half_of_its_peak(sign):
    kinds, places = found(sign * (logistic_rate(0.3, 0.02) + 0.5 * logistic_rate(0.7, 0.03)))
    assert kinds == ["onset", "end", "onset", "end"]
    exact = [0.3 - 0.02 * HALF, 0.3 + 0.02 * HALF, 0.7 - 0.03 * HALF, 0.7 + 0.03 * HALF]
    np.testing.assert_allclose(places, exact, atol=1 / CELLS)


def test_a_straight_ramp_has_its_corners():
    kinds, places = found(*line_rate([0, 0.3, 0.6, 1], [0, 0, 1, 1]))
    assert kinds == ["onset", "end"]
    np.testing.assert_allclose(places, [0.3, 0.6], atol=1 / CELLS)


def test_rates_of_one_sign_part_at_kinks_also_when_they_only_grow():
    rate, corners = line_rate([0, 0.3, 0.7, 1], [0, 0.2, 0.9, 2.2])
    kinds, places = found(rate, corners)
    assert kinds == ["kink", "kink"]
    np.testing.assert_allclose(places, corners, atol=1 / CELLS)


def test_a_parabola_and_a_triangle_turn_once():
    for rate, kinks in ((0.8 - 2 * PLACES, ()), line_rate([0, 0.4, 1], [0, 1, 0.3])):
        for sign, kind in ((1, "maximum"), (-1, "minimum")):
            kinds, places = found(sign * rate, kinks)
            assert kinds == [kind]
            assert places == pytest.approx(0.4, abs=1 / CELLS)


def test_between_a_rise_and_a_fall_lies_a_plateau_only_if_the_curve_rests():
    kinds, places = found(logistic_rate(0.25, 0.02) - logistic_rate(0.75, 0.02))
    assert kinds == ["onset", "end", "onset", "end"]
    assert places[1:3] == pytest.approx([0.25 + 0.02 * HALF, 0.75 - 0.02 * HALF], abs=1 / CELLS)
    kinds, places = found(logistic_rate(0.4, 0.03) - logistic_rate(0.6, 0.03))
    assert kinds == ["onset", "maximum", "end"]
    assert places[1] == pytest.approx(0.5, abs=1 / CELLS)


@pytest.mark.parametrize(
    "rate",
    [np.ones(CELLS), np.zeros(CELLS), 1 + 2 * PLACES, np.exp(-2 * PLACES), -PLACES, 3 - PLACES**2],
)
def test_a_trend_that_changes_gradually_has_no_boundary(rate):
    assert found(rate)[0] == []


def test_small_movements_do_not_count():
    wiggle = 0.02 * logistic_rate(0.8, 0.01)
    kinds, _ = found(logistic_rate(0.3, 0.02) - wiggle)
    assert kinds == ["onset", "end"]
    assert found(logistic_rate(0.3, 0.02), least=2.0)[0] == []


def test_time_reversed_swaps_onset_and_end():
    rate = (
        logistic_rate(0.3, 0.02) + 0.5 * logistic_rate(0.7, 0.03) - 1.2 * logistic_rate(0.9, 0.02)
    )
    kinds, places = found(rate)
    swapped = {"onset": "end", "end": "onset"}
    reversed_kinds, reversed_places = found(-rate[::-1])
    assert reversed_kinds == [swapped.get(k, k) for k in kinds][::-1]
    np.testing.assert_allclose(reversed_places, 1 - places[::-1], atol=1 / CELLS)
