import numpy as np
import pytest

from creode.diagnostics import virial
from saved_draws import NBETA, quadratic_tree, sgld_on_a_quadratic

H = np.array([0.5, 2.0, 4.0, 8.0])


def test_virial_of_discretised_sgld_on_a_quadratic():
    gamma, eps = 10.0, 2e-3
    w = sgld_on_a_quadratic(H, gamma=gamma, step_size=eps, draws=5000)
    out = virial(quadratic_tree(w, H, gamma=gamma)["virial"])
    exact = np.mean(1 / (1 - eps * (NBETA * H + gamma) / 4))
    assert abs(float(out.virial) - exact) < 4 * float(out.virial_se)
    assert float(out.virial_se) < 0.02
    assert exact > 1.08  # not 1: the estimate is of the chain as discretised


def test_virial_of_a_direction_that_has_not_spread_is_its_share():
    gamma, eps = 10.0, 1e-4
    w = sgld_on_a_quadratic(H, gamma=gamma, step_size=eps, draws=5000)
    w[..., 0] = 0.0
    out = virial(quadratic_tree(w, H, gamma=gamma)["virial"])
    assert float(out.virial) == pytest.approx(3 / 4, abs=5 * float(out.virial_se) + 0.005)
