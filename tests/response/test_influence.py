"""Bayesian influence against the closed form of quadratic losses, and the ways to ask for it."""

import itertools
from importlib import import_module

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
from traced_draws import Losses, rearranged, saved

import creode
from creode.response.influence import influence
from creode.testbeds import quadratic
from oracles import loss_covariance, precision
from saved_draws import study

LOSSES = Losses()
ALL = LOSSES.draws(draws=1000)
DRAWS = saved({"train": ALL, "query": ALL[..., [3, 8, 1]]})
MASK = np.ones((4, 3), dtype=bool)
MASK[1, 2] = MASK[3, :2] = False
TOKENS = saved({"p": ALL[..., :12].reshape(4, 1000, 4, 3)}, {"p": MASK})


def dense(draws=ALL):
    """Cov of every pair, written out."""
    x = draws.astype(np.float32).astype(float)
    x = x - x.mean(1, keepdims=True)
    return np.einsum("cdi,cdj->ij", x, x) / (x.shape[0] * (x.shape[1] - 1))


def assert_within(value, error, exact, *, bound):
    """Within 4 standard errors everywhere, which are themselves at most `bound`."""
    assert (np.abs(value - exact) < 4 * error).all()
    assert (error < bound).all()
    assert (error > 0).all()


def limit_memory(monkeypatch, num_bytes):
    for module in ("factor", "influence"):
        monkeypatch.setattr(import_module(f"creode.response.{module}"), "BUFFER", num_bytes)


def scale(covariance):
    spread = np.sqrt(np.diag(covariance))
    return np.outer(spread, spread)


def test_influence_of_quadratic_losses_is_the_closed_form():
    found = influence(DRAWS, query="query", train="train").block()
    exact = LOSSES.covariance[[3, 8, 1]]
    bound = 0.06 * scale(LOSSES.covariance)[[3, 8, 1]]
    assert_within(found["bif"], found["bif_se"], -exact, bound=bound)
    assert found["bif"].dims == ("query", "train")
    assert found["train"].values.tolist() == list(range(15))


def test_the_correlation_form_is_the_closed_form_too():
    found = influence(DRAWS, query="query", train="train", kind="correlation").block()
    exact = -LOSSES.correlation[[3, 8, 1]]
    itself = np.isclose(exact, -1)
    value, error = (found[name].values for name in ("bif", "bif_se"))
    assert_within(value[~itself], error[~itself], exact[~itself], bound=0.06)
    np.testing.assert_allclose(value[itself], -1, rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_samplers_draws_give_the_closed_form(seed):
    """BAOAB has no bias in positions on a quadratic, so its influence has none either."""
    bed = quadratic(
        [0.5, 1.0, 2.0, 3.0], num_samples=10, gradient_scale=0.5, curvature_scale=0.5, seed=seed
    )
    posterior = creode.LocalPosterior(bed.model, bed.task, bed.data, nbeta=50.0, localization=10.0)
    draws = creode.sample(
        posterior, {"p": bed.data}, traces=("p",), chains=4, draws=800, burnin=200,
        steps_per_draw=8, batch_size=10, seed=seed,
        sampler=creode.BAOAB(step_size=0.1, friction=10.0),
        execution=creode.Execution(mode="vectorised"),
    )  # fmt: skip
    covariance = np.linalg.inv(precision(bed.hessian.numpy(), 50.0, 10.0))
    exact = loss_covariance(bed.gradients.numpy(), bed.curvatures.numpy(), covariance)
    reading = influence(draws, query="p", train="p")
    found = reading.block()
    assert_within(found["bif"], found["bif_se"], -exact, bound=0.08 * scale(exact))
    assert reading.ok, reading.reasons


def test_influence_tends_to_the_damped_influence_function_as_nbeta_grows():
    """nβ Cov − gᵀ(H + γ/nβ)⁻¹g = ½ nβ tr(A P⁻¹ A P⁻¹), which falls as 1/nβ."""
    gaps = []
    for nbeta in (50.0, 500.0, 50_000.0):
        losses = Losses(nbeta=nbeta, gamma=nbeta / 5)  # the same damping γ/nβ at each
        damped = losses.gradients @ np.linalg.solve(
            losses.hessian + 0.2 * np.eye(5), losses.gradients.T
        )
        found = influence(
            saved({"p": losses.draws(draws=2000)}, nbeta=nbeta), query="p", train="p"
        ).block()
        value, error = -nbeta * found["bif"].values, nbeta * found["bif_se"].values
        gaps.append(np.abs(nbeta * losses.covariance - damped).max())
        assert (np.abs(value - damped) < 4 * error + gaps[-1]).all()
        assert (error < 0.05 * scale(damped)).all() or nbeta < 1000
    assert (np.abs(value - damped) < 4 * error + 1e-3).all()  # at the largest nβ, by itself
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=1e-6)


def test_influence_is_symmetric():
    one = influence(DRAWS, query="query", train="train").block()
    other = influence(DRAWS, query="train", train="query").block()
    for name in ("bif", "bif_se"):
        np.testing.assert_allclose(one[name].values, other[name].values.T, rtol=1e-9)


def test_the_order_of_chains_does_not_matter():
    reading = influence(DRAWS, query="query", train="train")
    turned = influence(rearranged(DRAWS, chain=[2, 0, 3, 1]), query="query", train="train")
    xr.testing.assert_allclose(reading.block(), turned.block(), rtol=1e-9)
    trace = DRAWS["distance_sq"]
    xr.testing.assert_allclose(reading.of(trace), turned.of(trace), rtol=1e-9)


def test_pieces_of_any_size_give_the_same(monkeypatch):
    reading = influence(DRAWS, query="query", train="train")
    whole, top, of = reading.block(), reading.top([3 - 3, 2], k=4), reading.of(DRAWS["loss"])
    for size in (8 * 4 * 1000 * 2, 8 * 4 * 1000 * 7):
        limit_memory(monkeypatch, size)
        pieces = list(reading.chunks())
        assert len(pieces) > 1
        assert max(p.sizes["train"] for p in pieces) <= 7
        joined = xr.combine_by_coords(
            [piece[["bif", "bif_se"]] for piece in pieces], combine_attrs="override"
        )
        xr.testing.assert_allclose(joined[["bif", "bif_se"]], whole[["bif", "bif_se"]], rtol=1e-9)
        xr.testing.assert_allclose(reading.top([0, 2], k=4), top, rtol=1e-9)
        xr.testing.assert_allclose(reading.of(DRAWS["loss"]), of, rtol=1e-9)


def test_a_row_and_a_block_are_parts_of_the_whole():
    reading = influence(DRAWS, query="query", train="train")
    whole = reading.block()
    row = reading.row(2)
    np.testing.assert_allclose(row["bif"], whole["bif"].sel(query=2), rtol=1e-9)
    assert row["bif"].dims == ("train",)
    part = reading.block([2, 0], [14, 3])
    assert part["query"].values.tolist() == [2, 0]
    assert part["train"].values.tolist() == [14, 3]
    np.testing.assert_allclose(
        part["bif_se"], whole["bif_se"].sel(query=[2, 0], train=[14, 3]), rtol=1e-9
    )


def test_the_top_of_a_row_is_its_extremes_with_errors():
    reading = influence(DRAWS, query="query", train="train")
    row = reading.row(1)
    top = reading.top(1, k=3)
    order = np.argsort(row["bif"].values)
    assert top["train"].sel(side="helpful").values.tolist() == order[:3].tolist()
    assert top["train"].sel(side="harmful").values.tolist() == order[::-1][:3].tolist()
    assert top["rank"].values.tolist() == [1, 2, 3]
    most = top.sel(side="helpful", rank=1)
    assert 8 in top["train"].values  # the same sample, under the other probe's name
    assert float(most["bif"]) < 0
    np.testing.assert_allclose(most["z"], most["bif"] / most["bif_se"])
    np.testing.assert_allclose(most["bif_se"], row["bif_se"][int(most["train"])], rtol=1e-9)
    assert bool(most["significant"])
    assert bool(top["ok"])


def test_a_unit_does_not_explain_itself_where_the_probes_are_one():
    top = influence(DRAWS, query="train", train="train").top(8, k=15)
    assert 8 not in top["train"].values
    negative = (dense()[8] > 0).sum() - 1
    helpful = top["train"].sel(side="helpful").values
    assert (helpful >= 0).sum() == negative  # no harmful one fills up the list of helpful ones
    assert np.isnan(top["bif"].sel(side="helpful").values[negative:]).all()


def test_an_observable_is_any_trace_of_the_same_draws():
    gap = DRAWS["probes/query/loss"] - DRAWS["probes/train/loss"]
    found = influence(DRAWS, query="query", train="train").of(gap.rename("gap"))
    exact = LOSSES.covariance[[3, 8, 1]].mean(0) - LOSSES.covariance.mean(0)
    spread = np.sqrt(np.diag(LOSSES.covariance))
    assert_within(found["bif"], found["bif_se"], -exact, bound=0.1 * spread * spread.mean())
    assert found.attrs["query"] == "gap"
    direct = -dense()[[3, 8, 1]].mean(0) + dense().mean(0)
    np.testing.assert_allclose(found["bif"], direct, atol=1e-6)


def test_tokens_and_samples_mix():
    tokens = ALL[..., :12].reshape(4, 1000, 4, 3)
    exact = -dense()[:12, :12]
    found = influence(TOKENS, query="p", train="p", by="token").block([(1, 0)])
    assert found["query_token"].item() == 0
    assert list(zip(found["train_sample"].values, found["train_token"].values, strict=True)) == [
        (s, t) for s, t in itertools.product(range(4), range(3)) if MASK[s, t]
    ]
    np.testing.assert_allclose(found["bif"][0], exact[3, MASK.ravel()], atol=1e-7)
    mixed = influence(TOKENS, query="p", train="p", by=("token", "sample")).block([(1, 0)])
    mean = np.where(MASK, tokens, 0).sum(-1) / MASK.sum(-1)
    both = np.concatenate([tokens[:, :, 1, :1], mean], -1)
    np.testing.assert_allclose(mixed["bif"][0], -dense(both)[0, 1:], atol=1e-7)
    top = influence(TOKENS, query="p", train="p", by="token").top((1, 0), k=2)
    assert set(top.data_vars) >= {"train_sample", "train_token", "bif", "z"}


def test_what_shares_nothing_has_no_significant_influence():
    """Queries whose draws are shuffled: rows with any discovery are as rare as the rate says."""
    rng = np.random.default_rng(5)
    rows = []
    for seed in range(6):
        losses = LOSSES.draws(draws=400, seed=seed)
        shuffled = rng.permuted(losses.reshape(1600, 15), axis=0).reshape(4, 400, 15)
        reading = influence(saved({"t": losses, "q": shuffled}), query="q", train="t")
        rows += (
            reading.top(list(range(15)), k=15, fdr=0.05)["significant"]
            .any(("side", "rank"))
            .values.tolist()
        )
    assert np.mean(rows) < 0.15  # 90 rows at 0.05: 4 standard errors above
    assert influence(DRAWS, query="query", train="train").top(0)["significant"].sum() > 5


def test_the_table_holds_every_pair_or_the_top(tmp_path, monkeypatch):
    reading = influence(DRAWS, query="query", train="train")
    whole = reading.block()
    limit_memory(monkeypatch, 8 * 4 * 1000 * 2)
    table = pq.read_table(reading.to_parquet(tmp_path / "new" / "all.parquet"))
    assert table.column_names == ["query", "train", "bif", "bif_se", "z"]
    assert table.num_rows == 45
    frame = table.to_pandas().set_index(["query", "train"]).sort_index()
    np.testing.assert_allclose(frame["bif"], whole["bif"].values.ravel(), rtol=1e-9)
    np.testing.assert_allclose(frame["z"], frame["bif"] / frame["bif_se"])
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert about["ok"] == "True"
    assert about["nbeta"] == "50.0"
    top = pq.read_table(reading.to_parquet(tmp_path / "top.parquet", queries=[1], top=2))
    rows = top.to_pandas()
    assert rows["side"].tolist() == ["helpful"] * 2 + ["harmful"] * 2
    assert rows["rank"].tolist() == [1, 2, 1, 2]
    assert rows["train"].tolist() == reading.top(1, k=2)["train"].values.ravel().tolist()
    assert not list(tmp_path.rglob("*.partial"))


def test_a_failed_chain_gives_nothing_and_says_so():
    broken = ALL[:, :200].copy()
    broken[2, 150:] = np.nan
    draws = saved({"p": broken}, failed_at=np.array([-1, -1, 900, -1]))
    reading = influence(draws, query="p", train="p")
    found = reading.top(0, k=2)
    assert not bool(found["ok"])
    assert "chain 2 became non-finite at step 900" in found["reasons"].item()
    assert np.isnan(found["bif"]).all()
    assert (found["train"] == -1).all()
    assert np.isnan(reading.of(draws["distance_sq"])["bif"]).all()
    # a chain that failed after its last draw is not believed either
    after = saved({"p": ALL[:, :200]}, failed_at=np.array([-1, -1, 900, -1]))
    assert np.isnan(influence(after, query="p", train="p").block()["bif"]).all()


def test_a_chain_that_never_moved_leaves_no_error():
    still = ALL[:, :200].copy()
    still[1] = still[1, :1]
    distance = np.random.default_rng(0).random((4, 200))
    distance[1] = 1.0
    found = influence(saved({"p": still}, distance_sq=distance), query="p", train="p").row(0)
    assert "chain 1 never moved" in found["reasons"].item()
    assert np.isfinite(found["bif"]).all()
    assert np.isnan(found["bif_se"]).all()


def test_doubts_name_the_probe_they_are_about():
    drifting = ALL + np.linspace(0, 3, 1000)[None, :, None]
    reading = influence(saved({"t": ALL, "q": drifting}), query="q", train="t")
    assert not reading.ok
    assert reading.reasons.startswith("on 'q': ")
    assert "on 't'" not in reading.reasons
    alone = influence(saved({"q": drifting}), query="q", train="q")
    assert "on 'q'" not in alone.reasons


def test_with_the_loss_switched_off_the_reading_is_a_control():
    found = influence(saved({"p": ALL}, nbeta=0.0), query="p", train="p").row(0)
    assert found["notes"].item().startswith("a control: nβ is 0")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: influence(DRAWS, query="query", train="train", kind="cosine"), "got 'cosine'"),
        (lambda: influence(DRAWS, query="nobody", train="train"), "'nobody' is not a probe"),
        (
            lambda: influence(study({"/model/full": DRAWS}), query="query", train="train"),
            r"'model'|not a probe",
        ),
        (lambda: influence(DRAWS, query="query", train="train").top(3), r"is not in 0\.\.2"),
        (lambda: influence(DRAWS, query="query", train="train").top(0, k=0), "k must be at least"),
        (
            lambda: influence(DRAWS, query="query", train="train").of(DRAWS["loss"][:, :9]),
            r"4 chains of 9 draws and the traces 4 of 1000",
        ),
        (
            lambda: influence(DRAWS, query="query", train="train").of(DRAWS["loss"][0]),
            r"an array over \(chain, draw\), got \('draw',\)",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_callers_draws_are_left_as_they_came():
    before = DRAWS.copy(deep=True)
    influence(DRAWS, query="query", train="train").top(0)
    xr.testing.assert_identical(DRAWS, before)
