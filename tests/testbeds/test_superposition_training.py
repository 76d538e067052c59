from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from torch.func import functional_call, hessian

import creode
from creode.development import Effort, stages
from creode.sampling import sample_exactly
from creode.testbeds import num_corners, shared_polygon, superposition, superposition_run
from creode.testbeds.superposition import SuperpositionModel, expected_loss


def columns(*polar: tuple[float, float]) -> torch.Tensor:
    """W (2, n) of columns given by length and direction in degrees."""
    length, degrees = torch.tensor(polar, dtype=torch.float64).T
    angle = torch.deg2rad(degrees)
    return length * torch.stack([angle.cos(), angle.sin()])


def mean_loss(model: SuperpositionModel) -> torch.Tensor:
    n = model.bias.numel()
    return expected_loss(model, {"inputs": torch.eye(n, dtype=torch.float64)}).mean()


def curvatures(model: SuperpositionModel) -> torch.Tensor:
    """Eigenvalues of the Hessian, ascending."""
    n = model.bias.numel()
    inputs = {"inputs": torch.eye(n, dtype=torch.float64)}

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> torch.Tensor:
            return expected_loss(self.model, inputs).mean()

    def loss(vector: torch.Tensor) -> torch.Tensor:
        weights = {
            "model.weight": vector[: 2 * n].view(2, n),
            "model.bias": vector[2 * n :],
        }
        return functional_call(Loss(), weights, ())

    at = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.linalg.eigvalsh(hessian(loss)(at))


@pytest.mark.parametrize(("corners", "features"), [(2, 6), (3, 6), (4, 6), (3, 8), (4, 5)])
def test_shared_polygons_are_saddles_with_the_loss_of_regular_ones(corners, features):
    model = shared_polygon(corners, num_features=features)
    loss = mean_loss(model)
    regular = superposition(corners, num_features=features, unused="inactive").init_loss
    assert float(loss.detach()) == pytest.approx(regular, rel=1e-12)
    assert regular == pytest.approx((features - corners) / (6 * features), rel=1e-12)
    for slope in torch.autograd.grad(loss, list(model.parameters())):
        assert float(slope.abs().max()) < 1e-14
    # on the kinks of a 4-gon's outputs a Hessian is that of one side alone
    if corners < 4:
        assert float(curvatures(model)[0]) == pytest.approx(-2 / (3 * features), rel=1e-9)


@pytest.mark.parametrize("corners", range(1, 9))
def test_corners_of_a_regular_polygon_are_counted_however_it_is_turned(corners):
    for turn in range(0, 360, 7):
        regular = [(1.0, 360 * i / corners + turn) for i in range(corners)]
        assert num_corners(columns(*regular)) == corners


def test_a_shared_corner_counts_once_and_idle_columns_not_at_all():
    assert num_corners(columns((0.7, 178), (0.7, -178), (1, 0))) == 2
    assert num_corners(columns((0.7, -4), (0.7, 4), (1, 90), (0.1, 200), (0.3, 250))) == 2
    assert num_corners(columns((1, 0), (1, 72), (1, 144), (1, -144), (0.9, -70), (0.9, -74))) == 5
    assert num_corners(columns((0.7, 0), (0.7, 35), (1, 180))) == 2
    assert num_corners(columns((0.7, 0), (0.7, 45), (1, 180))) == 3
    assert num_corners(columns((0.1, 0), (0.2, 90))) == 0


@pytest.mark.parametrize("corners", [2, 3, 4])
def test_corners_of_shared_polygons_are_counted(corners):
    assert num_corners(shared_polygon(corners).weight.detach()) == corners


def test_training_waits_at_a_2_a_3_and_a_4_gon_and_reaches_a_5_gon():
    run = superposition_run(seed=100)
    corners = run.corners
    assert run.steps == tuple(range(0, 961, 30))
    assert run.weight.shape == (33, 2, 6)
    assert run.bias.shape == (33, 6)
    assert all(after in (before, before + 1) for before, after in pairwise(corners))
    assert (corners[0], corners[-1]) == (2, 5)
    for k in (2, 3, 4):
        middle = int(np.median(np.flatnonzero(np.array(corners) == k)))
        assert float(run.loss[middle]) == pytest.approx((6 - k) / 36, abs=0.001)
    # a 5-gon of which one corner is shared, or whose sixth feature is silent, or constant
    silent = superposition(5, unused="inactive").init_loss
    constant = superposition(5, unused="active").init_loss
    assert constant - 1e-6 < float(run.loss[-1]) < 1.02 * silent
    assert bool((run.loss.diff() < 0).all())


def test_checkpoints_hold_the_weights_whose_loss_they_name():
    run = superposition_run(steps=60, seed=100)
    for checkpoint, loss in enumerate(run.loss):
        assert float(mean_loss(run.model(checkpoint)).detach()) == float(loss)
    moved = run.model(0)
    with torch.no_grad():
        moved.weight += 1
    assert float(mean_loss(run.model(0)).detach()) == float(run.loss[0])


def test_features_leave_their_corner_at_the_rate_of_the_saddle():
    """Gradient descent multiplies their distance by 1 + ε 2/(3n) a step while it is small."""
    run = superposition_run(steps=60, every=30, learning_rate=0.2, seed=100)
    apart = run.weight[:, 1, :, None] - run.weight[:, 1, None, :]  # (T, n, n)
    i, j = torch.triu_indices(6, 6, 1)
    same, small = (i - j) % 2 == 0, apart[0, i, j].abs() < 1e-4
    pairs = apart[:, i, j][:, same & small]
    assert pairs.shape[1] >= 2
    rate = (1 + 0.2 / 9) ** 30
    torch.testing.assert_close(
        pairs[1:] / pairs[:-1], torch.full_like(pairs[1:], rate), rtol=0.02, atol=0
    )


def test_displacements_differ_by_orders_of_magnitude_and_between_seeds():
    start = shared_polygon(2).weight.detach()
    moved = [superposition_run(steps=30, seed=seed).weight[0] - start for seed in (0, 0, 1)]
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
    size = moved[0].norm(dim=0).log10()
    expected = torch.tensor([-2.5, -6.0, -9.5, -13.0, -13.5, -13.5], dtype=torch.float64)
    torch.testing.assert_close(size, expected, rtol=0, atol=1.5)


def posterior(model: SuperpositionModel) -> creode.LocalPosterior:
    """With a tether that holds draws at the saddles: γ is above nβ/9."""
    data = {"inputs": torch.eye(6, dtype=torch.float64)}
    return creode.LocalPosterior(model, expected_loss, data, nbeta=100.0, localization=20.0)


def drawn(model: SuperpositionModel, draws: int, step_size: float = 0.095) -> xr.DataTree:
    return creode.sample(
        posterior(model),
        sampler=creode.BAOAB(step_size=step_size, friction=4.5),
        chains=64, draws=draws, burnin=40, steps_per_draw=4, batch_size=6,
        execution=creode.Execution(mode="vectorised"),
    )  # fmt: skip


def test_llc_rises_where_the_polygon_gets_a_corner():
    run = superposition_run(steps=240, seed=101)
    assert run.corners == (2, 2, 2, 3, 3, 3, 3, 3, 3)
    read = [creode.llc(drawn(run.model(checkpoint), 12)) for checkpoint in range(9)]
    table = xr.concat(read, "checkpoint")[["llc", "llc_se"]].assign_coords(checkpoint=[*run.steps])
    table["loss"] = ("checkpoint", run.loss.numpy())
    found = stages(table, effort=Effort(chains=2, burnin=20, sweeps=50))
    assert found["stage_kind"].values.tolist() == ["plateau", "rise", "plateau"]
    assert found["stage_type"].values[1] == "A"
    assert run.steps[1] < float(found["stage_midpoint"][1]) <= run.steps[4]


@pytest.mark.parametrize("corners", [2, 3])
def test_llc_at_a_saddle_is_that_of_exact_draws(corners):
    model = shared_polygon(corners)
    reading = creode.llc(drawn(model, 50))
    exact = creode.llc(
        sample_exactly(posterior(model), chains=64, draws=50, burnin=40, trajectory=4)
    )
    error = float(reading["llc_se"] ** 2 + exact["llc_se"] ** 2) ** 0.5
    assert abs(float(reading["llc"] - exact["llc"])) < 4 * error < 0.25
    assert not reading["ok"]
    assert "draws reach a loss below that of w*" in str(reading["reasons"].values)


def test_llc_of_a_regular_polygon_is_half_its_rank_where_the_tether_is_weak():
    testbed = superposition(5)
    draws = creode.sample(
        creode.LocalPosterior(
            testbed.model, testbed.task, testbed.data, nbeta=1e5, localization=30.0
        ),
        sampler=creode.BAOAB(step_size=0.004, friction=45.0),
        chains=64, draws=20, burnin=600, steps_per_draw=10, batch_size=6,
        execution=creode.Execution(mode="vectorised"),
    )  # fmt: skip
    reading = creode.llc(draws)
    assert testbed.llc == 7
    assert abs(float(reading["llc"]) - 7) < 4 * float(reading["llc_se"]) < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_features": 2}, "num_features ≥ 3, got 2"),
        ({"steps": 100, "every": 30}, "multiple of every ≥ 1, got 100 and 30"),
        ({"every": 0}, "got 960 and 0"),
    ],
)
def test_refuses_runs_without_a_shared_corner_or_a_last_checkpoint(arguments, message):
    with pytest.raises(ValueError, match=message):
        superposition_run(**arguments)


@pytest.mark.parametrize(("corners", "features"), [(1, 6), (5, 6), (4, 3)])
def test_refuses_shared_polygons_that_are_not_critical(corners, features):
    with pytest.raises(ValueError, match=f"at most n={features} features, got {corners}"):
        shared_polygon(corners, num_features=features)


def test_diverging_training_says_so():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        superposition_run(learning_rate=50.0)
