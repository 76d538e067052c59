"""Pages of real runs made by the command line, as a reader meets them in Chromium."""

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner
from visiting import Visit

from creode.cli import app
from creode.data import load
from creode.viewer.theme import LIGHT
from creode.viewer.wording import short, with_error

SIZES = ("--length", 16, "--limit", 12)
CHAINS = 6  # as many replicates as modes need, if a chain is worth one
SAMPLER = (
    "--nbeta", 30, "--localization", 3e4, "--sampler", "baoab", "--step-size", 3e-3,
    "--sampler-option", "friction=170", "--chains", CHAINS, "--draws", 10, "--burnin", 4,
    "--steps-per-draw", 1, "--batch-size", 8, "--mode", "sequential",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of responses and one of influence, their charts beside the first."""
    folder = tmp_path_factory.mktemp("runs")

    def creode(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result

    creode(
        "train", "--data", "corpus:brackets", *SIZES, "--steps", 8, "--width", 8, "--heads", 2,
        "--layers", 1, "--batch-size", 8, "--checkpoints", 2, "--out", folder / "decoder",
    )  # fmt: skip
    creode(
        "respond", folder / "decoder", "--data", "corpus:brackets", *SIZES, *SAMPLER,
        "--probe", "logs=corpus:logs", "--probe", "own=corpus:brackets", "--component", "heads",
        "--observable", "logs", "--out", folder / "respond",
    )  # fmt: skip
    creode(
        "attribute", folder / "decoder", "--train", "corpus:brackets", "--query", "corpus:logs",
        *SIZES, "--query-limit", 2, *SAMPLER, "--out", folder / "attribution",
    )  # fmt: skip
    shown = creode("view", folder / "respond", "--no-open", "--charts", folder / "charts")
    assert str(folder / "respond/report.html") in shown.stdout
    return folder


@pytest.fixture(scope="module", params=["light", "dark"])
def responses(request, chromium, runs):
    visit = Visit(chromium, runs / "respond/report.html", color_scheme=request.param)
    visit.scheme = request.param
    yield visit
    visit.context.close()


@pytest.fixture(scope="module")
def influence(chromium, runs):
    visit = Visit(chromium, runs / "attribution/report.html", color_scheme="light")
    yield visit
    visit.context.close()


def records(runs, observable):
    found = json.loads((runs / "respond/response.json").read_text())
    return [record for record in found if record["observable"] == observable]


def test_the_pages_ask_for_nothing_and_complain_of_nothing(runs, responses, influence):
    for visit, name in ((responses, "respond"), (influence, "attribution")):
        assert visit.requests == [(runs / name / "report.html").as_uri()]
        assert visit.complaints == []


def test_the_heat_map_is_the_table_of_the_run(runs, responses):
    for observable in ("loss", "logs"):
        responses.page.select_option("#view", observable)
        expected = sorted(short(record["chi_standard"]) for record in records(runs, observable))
        responses.eventually(lambda: sorted(responses.texts("response_heat_map")), expected)
        if responses.scheme == "light":
            told = sum(record["significant"] for record in records(runs, observable))
            assert len(responses.marks("response_heat_map", LIGHT["ink"])) == told
            assert len(responses.marks("response_heat_map", LIGHT["bad"])) == 4  # all in doubt
    told = sum(r["significant"] for name in ("loss", "logs") for r in records(runs, name))
    assert f"{told} of 8 responses are told from 0." in responses.page.inner_text("#found")


def test_pointing_at_a_cell_tells_both_forms(runs, responses):
    page = responses.page
    page.select_option("#view", "loss")
    cell = page.locator('.chart[data-figure="response_heat_map"] .mark-rect.role-mark path').first

    def tells():  # the chart is drawn a moment after the choice: point until it answers
        cell.scroll_into_view_if_needed()
        box = cell.bounding_box()
        for step in (40, 43):
            page.mouse.move(box["x"] + step, box["y"] + box["height"] / 2)
        return page.is_visible("#tooltip")

    responses.eventually(tells, True)
    said = page.inner_text("#tooltip dl")
    record = records(runs, "loss")[0]
    assert with_error(record["chi_standard"], record["chi_standard_se"]) in said
    assert with_error(record["chi"], record["chi_se"]) in said
    page.mouse.move(0, 0)


def test_every_component_has_its_chains_and_verdict(runs, responses):
    page = responses.page
    assert "None of the 2 readings can be trusted." in page.inner_text("#found")
    table = page.inner_text("#diagnostics")
    for record in records(runs, "loss"):
        assert record["component"] in table
        assert record["reasons"].split("; ")[0] in table
    lines = '.chart[data-figure="chain_losses"] .mark-line.role-mark path'
    drawn = []
    for at in ("0", "1"):
        page.select_option("#chain-reading", at)
        responses.eventually(
            lambda: page.get_attribute("#diagnostics [aria-current]", "data-row"), at
        )
        responses.eventually(lambda: page.locator(lines).count(), CHAINS)
        drawn.append(page.locator(lines).first.get_attribute("d"))
        page.wait_for_timeout(300)
        drawn[-1] = page.locator(lines).first.get_attribute("d")
    assert drawn[0] != drawn[1]


def test_the_text_of_the_probes_is_coloured_by_what_is_stored(runs, responses):
    page = responses.page
    units = xr.open_zarr(runs / "respond/response.zarr", consolidated=False)
    options = page.locator("#token-sample option").all_inner_texts()
    assert options == [f"{name} {i}" for name in ("logs", "own") for i in range(12)]
    tokens = load("corpus:brackets", tokenizer="bytes", length=16, limit=12).columns["input_ids"]
    page.select_option("#token-view", label="l0h1")
    page.select_option("#token-sample", label="own 3")
    page.locator("#token-text span").nth(4).hover()
    page.wait_for_selector("#tooltip:not([hidden])")
    ids = [token for token in tokens[3].tolist() if token < 256]
    place = tokens[3].tolist().index(ids[0]) + 4 if len(ids) < 16 else 4
    cell = units.sel(observable="loss", component="l0h1").isel(sample=15, token=place - 1)
    said = page.inner_text("#tooltip dl")
    value, error = float(cell["chi"]), float(cell["chi_se"])
    assert said.startswith("χ")
    shown = parsed(said.split("\n")[1])
    assert shown == (pytest.approx(value, abs=0.06 * error), pytest.approx(error, rel=0.06))
    texts = page.eval_on_selector_all(
        "#token-text span", "found => found.map(span => span.textContent)"
    )
    assert "".join(texts).replace("⏎", "") == bytes(ids).decode()
    page.mouse.move(0, 0)


def parsed(text):
    """Value and error from "v ± e" or "(v ± e) × 10⁻ⁿ"."""
    text = text.replace("−", "-").replace(",", "")
    scale = 1.0
    if "×" in text:
        text, _, power = text.partition(" × 10")
        scale = 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    value, _, error = text.strip("()").partition(" ± ")
    return float(value) * scale, float(error) * scale


def test_the_configuration_and_the_command_are_there(runs, responses):
    page = responses.page
    assert page.inner_text("#command") == f"creode rerun {runs / 'respond'}"
    settings = page.inner_text("#configuration")
    for expected in ("probes.logs.source", "corpus:logs", "schedule.draws", "sampler.step_size"):
        assert expected in settings


def test_queries_show_what_helped_and_harmed_with_errors(runs, influence):
    page = influence.page
    answers = json.loads((runs / "attribution/attribution.json").read_text())
    assert [answer["query"] for answer in answers] == [0, 1]
    for at, answer in enumerate(answers):
        page.select_option("#query", str(at))
        assert page.text_content(".query:visible .query-text") == answer["text"]
        for side in ("helpful", "harmful"):
            items = page.locator(f".query:visible .{side} .samples li")
            said = [text.split("\n") for text in items.all_inner_texts()]
            if not answer[side]:
                assert said == [["None was found."]]
                continue
            for entry, lines in zip(answer[side], said, strict=True):
                star = " ●" if entry["significant"] else ""
                shown = [line for line in lines if line]
                assert shown[0] == with_error(entry["bif"], entry["bif_se"]) + star
                assert shown[1] == f"training sample {entry['train']}"
    assert answers[0]["reasons"].split("; ")[0] in page.inner_text("#diagnostics")
    words = page.inner_text("#words")
    assert "Influence" in words
    assert "susceptibility" not in words


def test_the_charts_are_exported(runs):
    found = {path.name for path in (runs / "charts").iterdir()}
    names = ["response_heat_map_loss", "response_heat_map_logs", "mode_singular_values"]
    names += [f"chain_losses_step_000008_{head}" for head in ("l0h0", "l0h1")]
    modes = xr.open_zarr(runs / "respond/modes.zarr", consolidated=False)
    names += [f"mode_loadings_{k}" for k in modes["mode"].values[modes["resolved"].values]]
    for name in names:
        assert {f"{name}.png", f"{name}.svg"} <= found
    loss = (runs / "charts/response_heat_map_loss.svg").read_text(encoding="utf-8")
    for record in records(runs, "loss"):
        assert short(record["chi_standard"]) in loss
    assert np.all([path.stat().st_size > 1000 for path in (runs / "charts").iterdir()])
