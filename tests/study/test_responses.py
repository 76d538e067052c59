"""Responses of a study: equal to those of its draws, in a table and in a file of units."""

import json

import numpy as np
import pytest
import xarray as xr
from study_cases import tiny_study

from creode.data import load
from creode.response import significant, susceptibility
from creode.study import Readings, Responses, StudyConfig, conclusions, run_study
from creode.viewer.response import heat_map

PROBES = {
    name: {"source": f"corpus:{name}", "length": 16, "limit": 6} for name in ("logs", "brackets")
}


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "respond"
    study = tiny_study(
        models, probes=PROBES, checkpoints=(4, 12), components=("heads",), final_components=(),
        reading="response", observables=("logs",), rate=0.2,
    )  # fmt: skip
    return out, run_study(StudyConfig.model_validate(study), out)


@pytest.fixture(scope="module")
def found(done):
    return conclusions(done[0])


def test_records_are_the_susceptibilities_of_the_draws(done, found):
    _, tree = done
    assert isinstance(found, Responses)
    records = json.loads(found.save().read_text())
    assert len(records) == 2 * 2 * 2 * 2  # checkpoints, observables, heads, probes
    exact = susceptibility(tree, observable="logs", by="dataset", standardise="columns")
    for record in records:
        if record["observable"] != "logs":
            continue
        cell = exact.sel({name: record[name] for name in ("checkpoint", "component", "probe")})
        for name in ("chi", "chi_se", "chi_standard", "chi_standard_se", "p_standard"):
            assert record[name] == pytest.approx(float(cell[name]), rel=1e-9)
        assert record["ok"] is False
        assert "independent" in record["reasons"]
    for flag, name in (("significant", "p_standard"), ("significant_plain", "p")):
        p = xr.DataArray([record[name] for record in records])
        assert [record[flag] for record in records] == significant(p, 0.2).values.tolist()


def test_the_file_of_units_is_chi_of_every_token(done, found):
    out, tree = done
    found.save()
    units = xr.open_zarr(out / "response.zarr", consolidated=False)
    assert units["observable"].values.tolist() == ["loss", "logs"]
    assert units["chi"].dims == ("observable", "checkpoint", "component", "sample", "token")
    for observable in ("loss", "logs"):
        exact = susceptibility(tree, observable=observable)
        for name in ("chi", "chi_se", "p"):
            np.testing.assert_allclose(
                units[name].sel(observable=observable), exact[name], rtol=1e-6
            )
    assert units["probe"].values.tolist() == ["brackets"] * 6 + ["logs"] * 6


def test_the_report_shows_what_the_files_hold(done, found):
    out, tree = done
    records = found.records()
    found.save(records)
    report = found.report()
    assert report.title.startswith("Responses to data of")
    assert report.command == f"creode rerun {out}"
    table = report.response
    assert table["view"].values.tolist() == [
        "loss at step 12", "loss at step 4", "logs at step 12", "logs at step 4",
    ]  # fmt: skip
    for record in records:
        cell = table.sel(
            view=f"{record['observable']} at step {record['checkpoint']}",
            component=record["component"],
            dataset=record["probe"],
        )
        for name in ("chi_standard", "chi_standard_se", "chi", "chi_se", "significant", "ok"):
            assert cell[name].item() == record[name]
    tokens = report.tokens
    exact = susceptibility(tree["step_00000012"])
    xr.testing.assert_allclose(tokens["chi"].drop_vars("sample"), exact["chi"].drop_vars("sample"))
    assert tokens["text"].shape == tokens["chi"].shape[1:]
    logs = load("corpus:logs", tokenizer="bytes", length=16, limit=6).columns["input_ids"]
    said = ["".join(row) for row in tokens["text"].values[6:]]
    assert said == [bytes(t for t in row.tolist() if t < 256).decode() for row in logs]
    stored = xr.open_zarr(out / "modes.zarr", consolidated=False)
    np.testing.assert_array_equal(stored["singular_value"], report.modes["singular_value"])
    assert set(report.traces) == {(step, head) for step in (4, 12) for head in ("l0h0", "l0h1")}
    assert report.llc["ok"].shape == (2, 2)


def test_the_two_chain_form_samples_the_whole_model_besides_and_says_which_it_is(models, tmp_path):
    study = tiny_study(
        models, probes=PROBES, checkpoints="last", components=("heads",), final_components=(),
        reading="response", form="two-chain",
    )  # fmt: skip
    tree = run_study(StudyConfig.model_validate(study), tmp_path / "run")
    parts = {str(p.attrs["component"]): p for p in tree["step_00000012"].children.values()}
    whole = parts.pop("full")
    found = conclusions(tmp_path / "run")
    records = found.records()
    exact = susceptibility(
        parts, form="two-chain", unrestricted=whole, by="dataset", standardise="columns"
    )
    assert [record["form"] for record in records] == ["two-chain"] * 2 * 2
    for record in records:
        cell = exact.sel(component=record["component"], probe=record["probe"])
        for name in ("chi", "chi_se", "chi_standard", "chi_standard_se"):
            assert record[name] == pytest.approx(float(cell[name]), rel=1e-9)
    assert "the whole model: " in records[0]["reasons"]
    report = found.report()
    assert report.response.attrs["form"] == found.by_unit().attrs["form"] == "two-chain"
    assert set(report.response["component"].values) == {"l0h0", "l0h1"}
    assert "Two-chain form" in heat_map(report.response).caption


def test_a_text_that_changed_is_not_shown_and_numbers_are(models, tmp_path):
    (tmp_path / "probe.txt").write_text("a text of some length, which will be another one soon")
    probes = PROBES | {"own": {"source": str(tmp_path / "probe.txt"), "length": 16}}
    study = tiny_study(
        models, probes=probes, checkpoints="last", components=("heads",), final_components=(),
        reading="response",
    )  # fmt: skip
    run_study(StudyConfig.model_validate(study), tmp_path / "run")
    assert conclusions(tmp_path / "run").report().tokens is not None
    (tmp_path / "probe.txt").write_text("something else altogether, and of some length as well")
    report = conclusions(tmp_path / "run").report()
    assert report.tokens is None
    assert report.words is None
    assert report.response["dataset"].values.tolist() == ["brackets", "logs", "own"]
    assert "is not what it was" in " ".join(report.warnings)


def test_a_run_of_learning_coefficients_is_read_as_such(models, tmp_path):
    study = tiny_study(models, checkpoints="last", final_components=())
    run_study(StudyConfig.model_validate(study), tmp_path / "run")
    assert type(conclusions(tmp_path / "run")) is Readings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reading": "response"}, "a response needs data to respond to; give probes"),
        ({"observables": ("code",)}, "mean loss of a probe 'code', and the probes are"),
        ({"rate": 0.0}, "greater than 0"),
        ({"form": "two-chain"}, "form is of susceptibilities, of reading 'response'"),
        (
            {"reading": "response", "probes": PROBES, "form": "two-chain", "components": ("full",)},
            "compares parts with the whole model",
        ),
        ({"reading": "other"}, "'llc', 'response', 'influence', 'development' or 'audit'"),
    ],
)
def test_a_response_that_cannot_be_read_is_refused_at_once(models, changes, message):
    with pytest.raises(ValueError, match=message):
        StudyConfig.model_validate(tiny_study(models, **changes))
