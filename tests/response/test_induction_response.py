"""One trained decoder: the head that looks up what followed answers to second copies."""

import pytest

import creode
from creode.response import susceptibility
from creode.testbeds.induction import copies, induction_decoder


@pytest.mark.slow
def test_the_strongest_induction_head_expresses_second_copies():
    net = induction_decoder(seed=100)
    head = max(net.prefix_matching, key=net.prefix_matching.get)
    draws = creode.sample(
        creode.LocalPosterior(
            net.model, net.task, net.data, nbeta=30.0, localization=300.0, component=head
        ),
        copies(net.data),
        sampler=creode.BAOAB(step_size=0.03, friction=20.0),
        chains=4, draws=50, burnin=40, steps_per_draw=3, batch_size=16,
        execution=creode.Execution(mode="sequential"),
    )  # fmt: skip
    chi = susceptibility(draws, by="dataset").isel(component=0)
    assert float(chi["z"].sel(probe="second")) < -4
    assert float(chi["z"].sel(probe="first")) > 4
