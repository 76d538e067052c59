import numpy as np
import pytest

from creode.response.significance import significant


def test_the_step_up_procedure_by_hand():
    # p of normal z: 0.0027, 0.0124, 0.0455, 0.13; at 0.06 of 4: limits 0.015, 0.03, 0.045, 0.06
    z = np.array([3.0, -2.5, 2.0, 1.5, np.nan])
    found = significant(z, freedom=10**6, fdr=0.06)
    assert found.tolist() == [True, True, False, False, False]
    # the third passes its own limit and takes the second, which missed its own, along
    z = np.array([2.3, -2.2, 2.1])
    assert significant(z, freedom=10**6, fdr=0.04).all()
    assert not significant(z[:2], freedom=10**6, fdr=0.02).any()


def test_few_degrees_of_freedom_ask_for_more():
    z = np.array([2.5])
    assert significant(z, freedom=10**6, fdr=0.05).all()
    assert not significant(z, freedom=3, fdr=0.05).any()


def test_noise_gives_no_more_rows_with_discoveries_than_asked_for():
    z = np.random.default_rng(0).standard_t(31, size=(4000, 50))
    found = significant(z, freedom=31, fdr=0.1).any(1).mean()
    assert found == pytest.approx(0.1, abs=0.02)


def test_a_rate_is_a_share():
    with pytest.raises(ValueError, match=r"fdr must lie between 0 and 1, got 5"):
        significant(np.zeros(3), freedom=3, fdr=5)
