"""Points, references, tuning and summaries of the benchmark of accuracy, and a run of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import accuracy  # noqa: E402
import bad_settings  # noqa: E402
import methods  # noqa: E402
import peer_reading  # noqa: E402
import references  # noqa: E402
import results_of_accuracy  # noqa: E402
import tuning  # noqa: E402
from cases import TESTBEDS, Wanted, cases  # noqa: E402
from networks import shapes  # noqa: E402

from creode.sampling import BAOAB, Calibration  # noqa: E402
from creode.testbeds import normal_crossing, quadratic  # noqa: E402
from oracles import llc_quadratic, reduced_rank_llc  # noqa: E402

NAN = math.nan
SMALL = Wanted(count=3, least=20, most=60, seed=5)


# -- points --------------------------------------------------------------------------------------


@pytest.mark.parametrize("testbed", [name for name in TESTBEDS if name != "nonlinear"])
def test_a_point_is_the_same_whenever_it_is_made_and_a_minimum(testbed):
    case, again = cases(testbed, SMALL)[1], cases(testbed, SMALL)[1]
    for exact in (True, False):
        point, twin = case.make(exact), again.make(exact)
        weights = list(point.model.parameters())
        for one, other in zip(weights, twin.model.parameters(), strict=True):
            assert torch.equal(one, other)
        assert point.data.fingerprint() == twin.data.fingerprint()
        assert sum(weight.numel() for weight in weights) == case.num_weights
        assert point.llc is not None
        losses = point.task(point.model, point.data.columns)
        values = losses if isinstance(losses, torch.Tensor) else losses.values
        gradients = torch.autograd.grad(values.mean(), weights)
        assert max(float(g.abs().max()) for g in gradients) < 1e-4


def test_one_depth_draws_networks_of_two_factors_with_the_truth_of_reduced_rank_regression():
    for case, shape in zip(
        cases("reduced-rank", SMALL), shapes(3, least=20, most=60, seed=5, depth=2), strict=True
    ):
        assert len(shape.widths) == 3
        assert case.make(True).llc == reduced_rank_llc(*shape.widths, shape.rank)


def test_trained_weights_lie_where_the_loss_curves_in_twice_lambda_directions():
    """The rank of the map from weights to end-to-end maps, which no smaller one is near."""
    case = cases("trained", SMALL)[1]
    net = case.make(True)
    assert net.rank == min(net.widths)  # below, λ would depend on where training ends
    weights = [weight.detach().double() for weight in net.model.parameters()]

    def end_to_end(*factors):
        product = factors[0]
        for factor in factors[1:]:
            product = factor @ product
        return product.flatten()

    jacobians = torch.autograd.functional.jacobian(end_to_end, tuple(weights))
    jacobian = torch.cat([block.flatten(1) for block in jacobians], dim=1)
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-4)) == 2 * net.llc
    torch.testing.assert_close(end_to_end(*weights), net.true_map.flatten(), atol=1e-4, rtol=0)


# -- references ----------------------------------------------------------------------------------


def test_the_reference_of_a_quadratic_is_its_closed_form():
    eigenvalues = [0.05, 0.2, 0.8]
    point = quadratic(torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)))
    found = references.by_hmc(point, 20.0, 4.0)
    exact = llc_quadratic(eigenvalues, 20.0, 4.0)
    assert found.ok
    assert found.error < 0.05 * exact
    assert abs(found.value - exact) < 4 * found.error
    assert references.by_quadrature(point, 20.0, 4.0) is None


def test_references_of_monomials_leave_out_weights_that_do_not_count():
    found = references.by_quadrature(normal_crossing((0, 1, 2)), 500.0, 3.0)
    alone = references.by_quadrature(normal_crossing((1, 2)), 500.0, 3.0)
    assert found.value == alone.value
    assert references.by_quadrature(normal_crossing((1, 1, 2)), 500.0, 3.0) is None
    assert references.by_hmc(normal_crossing((1, 2)), 500.0, 0.0) is None  # improper


# -- results -------------------------------------------------------------------------------------


def result(llc: float, exact: float | None = 2.0, **others):
    given = {
        "llc": llc, "llc_se": 0.1, "llc_tethered": llc, "llc_tethered_se": 0.1, "ok": True,
        "testbed": "t", "case": "c", "num_weights": 3, "gradients": "exact", "method": "m",
        "exact": exact, "seconds": 1.0, "evaluations": 10,
    }  # fmt: skip
    return results_of_accuracy.Result(**(given | others))


def test_errors_are_relative_and_a_failure_is_one_of_all_of_it():
    values = [result(2.2), result(1.9), result(NAN, ok=False, exact=3.0), result(4.0, exact=5.0)]
    found = results_of_accuracy.summary(values)
    errors = [0.1, 0.05, 1.0, 0.2]
    assert found["median"] == pytest.approx(np.median(errors))
    assert found["90 %"] == pytest.approx(np.quantile(errors, 0.9))
    assert found["worst"] == 1.0
    assert found["ok"] == 0.75
    # |2.2 − 2| > 1.96 · 0.1, |1.9 − 2| within, the failed one is not, 4 against 5 is not
    assert found["covered"] == 0.25
    assert found["covered, ok"] == pytest.approx(1 / 3)


def test_order_is_kept_by_the_pairs_that_differ_and_did_not_fail():
    values = [result(2.0), result(2.1), result(2.05, exact=3.0), result(NAN, exact=1.0)]
    # of five pairs with different λ, 2.0 < 2.05 is right, 2.1 < 2.05 wrong, three failed
    assert results_of_accuracy.summary(values)["order kept"] == pytest.approx(1 / 5)


def test_a_cancellation_is_no_accuracy_of_the_sampler():
    one = result(2.0, finite=1.6, finite_se=0.05, llc_tethered=2.0)
    assert one.error == 0.0
    assert one.bias == pytest.approx(-0.2)
    assert one.sampler_error == pytest.approx(0.25)
    assert one.covered
    assert not one.finite_covered
    assert replace(one, llc_tethered=1.81).finite_covered  # 0.21 < 1.96 · √(0.1² + 0.05²)


def test_without_lambda_the_exact_value_at_the_same_tether_is_the_truth():
    one = result(3.0, exact=None, finite=2.5, llc_tethered=2.4)
    assert one.error == pytest.approx(-0.04)
    assert one.covered
    unknown = result(3.0, exact=None)
    assert math.isnan(unknown.error)
    assert unknown.covered is None
    assert results_of_accuracy.summary([one, unknown])["median"] == pytest.approx(0.04)


def test_peers_without_a_verdict_have_no_share_of_ok():
    found = results_of_accuracy.summary([result(2.0, ok=None)])
    assert math.isnan(found["ok"])
    assert math.isnan(found["covered, ok"])
    assert found["covered"] == 1.0


def test_lines_come_back_as_the_results_they_were():
    one = result(2.0, finite=1.9, tuned_on=False)
    line = json.dumps(asdict(one))
    more = json.loads(line) | {"benchmark": "accuracy", "seed": 1}
    assert json.dumps(asdict(results_of_accuracy.Result.of(more))) == line


def test_rows_are_in_the_order_of_testbeds_and_of_batch_sizes():
    rows = results_of_accuracy.table(
        [result(2.0, gradients="512"), result(2.0, gradients="64"), result(2.0)]
    ).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["exact", "64", "512"]


# -- methods and tuning --------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [7, 1000, 20_000])
def test_every_method_takes_the_same_number_of_steps(budget):
    lengths = methods.schedule(budget)
    assert lengths["burnin"] + lengths["draws"] * lengths["steps_per_draw"] == budget
    assert lengths["burnin"] >= int(budget * methods.BURNIN_SHARE)


def order(budget: int = 2000, batch_size: int | None = None) -> methods.Order:
    case = cases("reduced-rank", SMALL)[0]
    point = case.make(batch_size is None)
    size = batch_size or len(point.data)
    return methods.Order(case=case, testbed=point, batch_size=size, budget=budget)


def test_the_automatic_method_counts_its_pilot_and_its_companion():
    given = order()
    reading = methods.automatic(given)
    assert 0.8 * given.budget < reading.evaluations <= 1.1 * given.budget
    assert reading.llc_tethered <= reading.llc
    assert reading.llc_tethered_se < reading.llc_se  # which knows of the extrapolation
    assert abs(reading.llc / given.testbed.llc - 1) < 0.2


def test_ours_at_the_settings_of_the_literature_use_them():
    reading = methods.OURS["creode SGLD, literature"](order())
    assert reading.nbeta == pytest.approx(5000 / math.log(5000))
    assert reading.localization == 1.0
    assert reading.evaluations == 2000


STUB = """
import json, sys, torch
for line in sys.stdin:
    order = json.loads(line)
    point = torch.load(order["point"], weights_only=False)
    weights = sum(p.numel() for p in point["model"].parameters())
    if order["method"] == "ends":
        sys.exit("no such method")
    if order["optimizer"].get("lr") == 1.0:
        print(json.dumps({"error": "NaN detected", "nbeta": 3.0}), flush=True)
        continue
    print(json.dumps({"llc_by_chain": [weights, order["burnin"], order["draws"]], "nbeta": 3.0}),
          flush=True)
"""


def test_a_peer_gets_the_point_and_its_settings_and_its_chains_give_the_error(
    tmp_path, monkeypatch
):
    runner = tmp_path / "stub.py"
    runner.write_text(STUB)
    monkeypatch.setattr(peer_reading, "RUNNER", runner)
    settings = methods.PeerSettings(method="sgld", burnin_share=0.25)
    given = order()
    with peer_reading.Peer(Path(sys.executable), threads=1) as peer:
        reading = methods.of_peer(peer, settings)(given)
        by_chain = [given.case.num_weights, 500, 1500]
        assert reading.llc == pytest.approx(np.mean(by_chain))
        assert reading.llc_se == pytest.approx(np.std(by_chain, ddof=1) / 3**0.5)
        assert reading.ok is None
        wild = methods.PeerSettings(method="sgld", optimizer={"lr": 1.0})
        failed = methods.of_peer(peer, wild)(given)
        assert math.isnan(failed.llc)
        assert failed.reasons == "NaN detected"
        with pytest.raises(RuntimeError, match="no such method"):
            methods.of_peer(peer, methods.PeerSettings(method="ends"))(given)


def test_tuning_finds_the_best_settings_and_leaves_out_steps_beyond_failure():
    seen = []

    def trial(settings, budget):
        step, gamma, nbeta = (settings.optimizer[n] for n in ("lr", "localization", "nbeta"))
        seen.append((step, gamma, nbeta, budget))
        if step > 0.1:
            return [NAN, NAN]
        full = 0.0 if budget == 100 else 0.2 * (gamma == 10.0)  # the share misleads a little
        return [abs(math.log10(step / 0.01)) + abs(nbeta - 7) + 0.1 * (gamma == 1.0) + full] * 2

    grid = tuning.Grid(
        step_sizes=(1.0, 0.1, 0.01, 0.5), localizations=(1.0, 10.0), nbetas=(7.0, 9.0), finalists=2
    )
    best = tuning.tune("sgld", trial, budget=100, grid=grid)
    assert dict(best.optimizer) == {"lr": 0.01, "localization": 10.0, "nbeta": 7.0}
    assert best.init_loss == "all"
    assert not [one for one in seen if one[0] == 1.0]  # 0.5 had failed
    assert len([one for one in seen if one[3] == 100]) == 2
    assert {one[3] for one in seen} == {25, 100}


def test_tuning_counts_a_failure_as_an_error_of_all_of_it():
    errors = {0.1: [0.0, NAN, NAN], 0.2: [0.9, -0.9, 0.9]}
    best = tuning.tune(
        "sgld",
        lambda settings, budget: errors[settings.optimizer["lr"]],
        budget=100,
        grid=tuning.Grid(step_sizes=(0.1, 0.2), localizations=(1.0,), nbetas=(1.0,)),
    )
    assert best.optimizer["lr"] == 0.2
    with pytest.raises(ValueError, match="add smaller steps"):
        tuning.tune("sgld", lambda settings, budget: [NAN], budget=100)


# -- spoilt settings -----------------------------------------------------------------------------


def test_every_way_of_spoiling_differs_from_the_sound_choice():
    point = order().testbed
    chosen = Calibration(
        nbeta=100.0, localization=5.0, step_size=0.01, relative_step=1.0, friction=3.0,
        burnin=300, draws=400, steps_per_draw=3, curvature=2.0, noise=0.0, information=None,
        pilot_evaluations=9,
    )  # fmt: skip
    ways = {bad.name: bad for bad in bad_settings.spoilt(point, chosen)}
    assert len(ways) == 7
    assert ways["step × 100"].kernel == BAOAB(step_size=1.0, friction=3.0)
    assert ways["no warm-up"].burnin == 0
    assert ways["ten draws"].draws == 10
    moved = ways["γ = 0 at a non-minimum"]
    assert moved.localization == 0.0
    data = point.data.columns
    losses = [float(point.task(m, data).values.mean()) for m in (point.model, moved.model)]
    assert losses[1] > losses[0] + 0.01


def test_the_table_of_spoilt_settings_counts_the_verdicts():
    records = [
        {"setting": "a", "ok": True, "llc": 2.2, "exact": 2.0},
        {"setting": "a", "ok": True, "llc": 1.4, "exact": 2.0},
        {"setting": "a", "ok": False, "llc": 9.0, "exact": 2.0},
        {"setting": "b", "ok": False, "llc": NAN, "exact": None},
    ]
    rows = accuracy.bad_table(records).splitlines()[2:]
    assert rows == ["| a | 3 | 2 | -30% |", "| b | 1 | 0 | – |"]


@pytest.mark.slow
def test_the_benchmark_of_accuracy_prints_a_line_for_every_reading_and_a_table(tmp_path):
    lines = tmp_path / "lines.jsonl"
    command = [sys.executable, BENCHMARKS / "accuracy.py", "--quick", "--no-peers"]
    command += ["--testbeds", "reduced-rank", "normal-crossing", "bad", "--out", lines]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    readings = [record for record in records if record["benchmark"] == "accuracy"]
    assert len(readings) == 2 * 2 * 2 * len(methods.OURS)  # testbeds, gradients, points
    known = [r for r in readings if r["num_weights"] < 3 and math.isfinite(r["nbeta"])]
    assert known
    assert all(record["finite_source"] == "quadrature" for record in known)
    bad = [record for record in records if record["benchmark"] == "accuracy bad"]
    assert len(bad) >= 4 * 7  # of up to eight points, some of which the pilot may refuse
    assert len(bad) % 7 == 0
    again = [sys.executable, BENCHMARKS / "accuracy.py", "--table", lines]
    shown = subprocess.run(again, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() in done.stdout
