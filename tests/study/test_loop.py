"""The whole loop: its configuration, its stages, what it says, going on after interruptions."""

import json
import shutil

import numpy as np
import pytest
from loop_cases import tiny_loop
from pydantic import ValidationError

from creode.demo import DemoConfig
from creode.patterning import SampleWeights
from creode.study.loop import Loop, reachable, run_loop
from creode.study.loop_conclusion import LoopConclusion
from creode.study.loop_config import LoopConfig, load_fields, load_loop, save_loop
from creode.study.loop_proof import WHEN, step_at
from creode.study.writing import one_posterior


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    seen = []
    out = tmp_path_factory.mktemp("loop") / "run"
    loop = run_loop(LoopConfig.model_validate(tiny_loop()), out, on_stage=seen.append)
    assert seen == ["model", "development", "response", "weights", "proof"]
    return LoopConclusion(loop)


def test_a_loop_says_what_formed_what_made_it_and_what_weights_did(finished):
    records = finished.records
    assert {row["probe"] for row in records["formed"]} == {"logs", "brackets"}
    assert all(row["after"] < row["step"] <= row["until"] for row in records["formed"])
    assert {row["component"] for row in records["response"]} == {"l0h0", "l0h1"}
    first, last = records["by_domain"]
    assert (first["domain"], last["domain"]) == ("logs", "brackets")  # nobody told which is which
    assert first["effect"] < -3 * first["effect_se"]
    assert last["effect"] > 3 * last["effect_se"]
    assert {one["domain"] for one in records["samples"]["helpful"][:3]} == {"logs"}
    aims = {(one["direction"], one["observable"]): one for one in records["weights"]}
    assert aims["hasten", "logs"]["wanted"] == -aims["delay", "logs"]["wanted"] < 0
    proofs = {(one["direction"], one["observable"]): one for one in records["proof"]}
    assert proofs["hasten", "logs"]["gap"] < 0 < proofs["delay", "logs"]["gap"]
    assert proofs["hasten", WHEN]["gap"] < proofs["delay", WHEN]["gap"]
    for one in proofs.values():
        assert one["gap"] == pytest.approx(one["patterned"] - one["permuted"])
        assert one["achieved"] == pytest.approx(one["patterned"] - one["uniform"])
    heavy = {(o["direction"], o["domain"]): o["mean_weight"] for o in records["weights_by_domain"]}
    assert heavy["hasten", "logs"] > 1.2
    assert heavy["delay", "logs"] < 0.8
    assert heavy["hasten", "logs"] + heavy["hasten", "brackets"] == pytest.approx(2)
    assert json.loads(finished.save().read_text()) == json.loads(json.dumps(records))


def test_weights_of_the_asked_spread_move_the_behaviour_by_the_asked_change(finished):
    draws = one_posterior(finished.loop.out / "weights", None, None)
    change = reachable(draws, 0.5)
    assert reachable(draws, 0.25) == pytest.approx(change / 2)
    for direction, toward in (("hasten", -1), ("delay", 1)):
        made = finished.loop.made[direction]
        told = made.effect.sel(observable="query")
        assert float(told["wanted"]) == pytest.approx(toward * change)
        assert float(told["fitted"]) == pytest.approx(toward * change, rel=1e-4)
        spread = np.sqrt(((made.weights.values - 1) ** 2).mean())
        assert spread == pytest.approx(0.5, rel=0.1)  # a little more, where some would be negative
        assert spread > 0.5 - 1e-6


def test_arms_of_one_seed_share_the_uniform_model(finished):
    values = [made.proof["value"].sel(arm="uniform") for made in finished.loop.made.values()]
    assert (values[0] == values[1]).all()
    places = {one.name for one in (finished.loop.out / "proof/models").iterdir()}
    assert {"uniform-1", "uniform-2"} <= places
    assert len(places) == 2 * (1 + 2 * 2)  # of each seed: uniform, and two arms a direction


def test_losses_along_the_arms_end_at_what_was_measured(finished):
    for made in finished.loop.made.values():
        end = made.proof["along"].isel(step=-1)
        for probe in ("query", "brackets"):
            assert np.array_equal(end.sel(probe=probe), made.proof["value"].sel(observable=probe))
        assert not any(" at step " in str(name) for name in made.proof["observable"].values)
        level, steps = made.proof.attrs["level"], made.proof["step"].values
        for arm in made.proof["arm"].values:
            losses = made.proof["along"].sel(arm=arm, seed=1, probe="query").values
            when = float(made.proof["value"].sel(arm=arm, seed=1, observable=WHEN))
            if when < steps[-1]:
                assert np.interp(when, steps, losses) == pytest.approx(level)
            else:
                assert (losses[:-1] > level).all()


def kept_bytes(folder):
    """What a loop's later stages leave, but for models, which have their own tests."""
    paths = [path for name in ("weights", "proof") for path in (folder / name).rglob("*")]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if path.is_file() and not {"models", "draws.zarr"} & set(path.parts)
        and path.name not in ("run.json", "report.html")
    }  # fmt: skip


def test_what_is_missing_is_done_again_with_the_same_bytes_and_nothing_else(finished):
    out = finished.loop.out
    before = kept_bytes(out)
    assert any(name.endswith("patterned-2.json") for name in before)
    for path in (out / "proof").glob("arms/*/patterned-2.json"):
        path.unlink()
    for name in ("weights/hasten.parquet", "losses.json"):
        (out / name).unlink()
    shutil.rmtree(out / "proof/hasten.zarr")
    trained = []
    loop = run_loop(
        finished.loop.config, out, on_progress=lambda what, done, total: trained.append(what)
    )
    assert set(trained) == {"arms of hasten", "arms of delay"}
    assert kept_bytes(out) == before
    assert LoopConclusion(loop).records == finished.records


@pytest.mark.slow
def test_an_interrupted_loop_goes_on_and_ends_the_same(finished, tmp_path):
    config, out = finished.loop.config, tmp_path / "again"

    class Stopped(Exception):  # noqa: N818 - no error
        pass

    def stop_in(stage, calls):
        seen = {"stage": None, "calls": 0}

        def on_stage(name):
            seen.update(stage=name, calls=0)

        def on_progress(*_):
            seen["calls"] += 1
            if seen["stage"] == stage and seen["calls"] == calls:
                raise Stopped

        return {"on_stage": on_stage, "on_progress": on_progress}

    for stage, calls in (("model", 15), ("development", 100), ("weights", 40), ("proof", 4)):
        with pytest.raises(Stopped):
            run_loop(config, out, **stop_in(stage, calls))
    again = LoopConclusion(run_loop(config, out))
    assert again.records == finished.records
    assert kept_bytes(out) == kept_bytes(finished.loop.out)


def test_finished_weights_are_those_that_training_takes(finished):
    for direction in ("hasten", "delay"):
        kept = SampleWeights.load(finished.loop.out / f"weights/{direction}.parquet")
        kept.check_data(finished.data)


def test_a_directory_of_another_study_is_refused(finished):
    other = tiny_loop(training=tiny_loop()["training"] | {"learning_rate": 2e-2})
    with pytest.raises(ValueError, match="learning_rate"):
        run_loop(LoopConfig.model_validate(other), finished.loop.out)


def test_a_loop_opens_from_its_directory(finished, tmp_path):
    assert Loop.open(finished.loop.out).config == LoopConfig.model_validate(tiny_loop())
    with pytest.raises(ValueError, match=r"holds no loop: there is no study\.yaml"):
        Loop.open(tmp_path)


def test_the_step_at_a_level_lies_between_measurements():
    steps, losses = [0, 10, 20], [4.0, 2.0, 1.0]
    assert step_at(3.0, steps, losses) == 5.0
    assert step_at(1.5, steps, losses) == 15.0
    assert step_at(5.0, steps, losses) == 0.0
    assert step_at(0.5, steps, losses) == 20.0  # not reached: the last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"behavior": "logs"}, "behavior"),
        ({"training": {"steps": 40, "epochs": 2}}, "training.epochs"),
        ({"behaviour": "poems"}, "is none of the probes, logs, brackets"),
        ({"decoder": None}, "give decoder, a new model's shape, or checkpoints"),
        ({"checkpoints": "runs/model"}, "give decoder, a new model's shape, or checkpoints"),
        ({"decoder": {"width": 9, "heads": 2}}, "9 is not divisible by num_heads 2"),
        ({"proof": {"seeds": [0, 1]}}, "hold seed 0, of the model that is read"),
        ({"proof": {"seeds": 1}}, "at least 2 different seeds"),
        ({"weights": {"keep": ["poems"]}}, "keep names poems"),
        ({"weights": {"keep": ["logs"]}}, "keep names logs"),
        ({"weights": {"directions": ["hurry"]}}, "'hasten' or 'delay'"),
        ({"training": {"steps": 40, "optimizer": "Magic"}}, "'Magic' is not a one-gradient"),
        (
            {"sampling": tiny_loop()["sampling"] | {"sampler": {"name": "baoab"}}},
            "needs step_size, friction",
        ),
        ({"development": {"checkpoints": [1, 2]}}, "stages need at least 6 checkpoints"),
        ({"probes": {"train": {"source": "x"}}, "behaviour": "train"}, "cannot be named train"),
    ],
)
def test_mistakes_are_found_before_any_work(changes, message):
    with pytest.raises(ValidationError) as error:
        LoopConfig.model_validate(tiny_loop(**changes))
    found = str(error.value).replace("\n", ".")
    assert message in found


def test_a_study_is_read_back_from_its_file(tmp_path):
    config = LoopConfig.model_validate(tiny_loop())
    assert load_loop(save_loop(config, tmp_path / "study.yaml")) == config
    (tmp_path / "study.json").write_text(json.dumps(tiny_loop()))
    assert load_loop(tmp_path / "study.json") == config
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="holds no fields of a study"):
        load_fields(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match=r"broken\.yaml cannot be read"):
        load_fields(tmp_path / "broken.yaml")


@pytest.mark.parametrize("quick", [True, False])
def test_the_demos_are_studies_that_a_file_repeats(quick, tmp_path):
    config = DemoConfig(quick=quick, seed=3).loop()
    assert load_loop(save_loop(config, tmp_path / "study.yaml")) == config
    assert 3 not in config.proof.seeds
    steps = config.development.checkpoints
    assert set(steps) <= set(config.training.checkpoints)
