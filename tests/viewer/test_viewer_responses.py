"""The pieces of a report of responses, without a browser."""

import json
import re

import numpy as np
import pytest
import synthetic_responses as synthetic
import xarray as xr
from test_viewer_page import Page

from creode.viewer import InfluenceQuery, ResponseReport, write_response_report
from creode.viewer.influence import influence_queries, influence_rows
from creode.viewer.response import heat_map, loading_rows, mode_rows, response_rows
from creode.viewer.tokens import MAX_SEQUENCES, left_out, token_view
from creode.viewer.wording import with_error

EVIL = "<img src=x onerror=alert(1)>&{{ 7 * 7 }}</script>"


def unpacked(packed):
    import base64

    levels = np.frombuffer(base64.b64decode(packed["levels"]), "<u2").astype(float)
    low, high = packed["low"], packed["high"]
    values = np.where(levels == 65535, np.nan, low + (high - low) * levels / 65534)
    return values.reshape(packed["shape"])


def test_rows_of_the_heat_map_are_the_stored_numbers():
    response = synthetic.make_response()
    rows = response_rows(response)
    assert len(rows) == response["chi"].size
    for row in rows:
        cell = response.sel(component=row["component"], dataset=row["dataset"])
        if (row["component"], row["dataset"]) == synthetic.FAILED:
            assert (row["chi"], row["chi_text"]) == (None, "–")
            continue
        assert row["chi"] == pytest.approx(float(cell["chi"]), rel=1e-7)
        assert row["chi_text"] == with_error(float(cell["chi"]), float(cell["chi_se"]))
        assert row["significant"] == bool(cell["significant"])
    figure = heat_map(response)
    count = int(response["significant"].sum())
    assert f"{count} of 50 are told from 0" in figure.description
    assert "false-discovery rate of 0.05" in figure.caption


def test_a_response_that_was_not_tested_is_not_said_to_be():
    untested = synthetic.make_response().drop_vars("significant")
    assert {row["significant"] for row in response_rows(untested)} == {None}
    assert "Not tested" in heat_map(untested).caption


def test_rows_of_modes_are_the_stored_numbers():
    modes = synthetic.make_modes()
    assert int(modes["num_resolved"]) == 2  # as planted
    rows = mode_rows(modes)
    assert [row["resolved"] for row in rows] == [True, True, False, False, False]
    for row in rows:
        cell = modes.sel(mode=row["mode"])
        for name in ("singular_value", "noise_floor", "singular_value_low"):
            value = float(cell[name])
            assert row[name] == (pytest.approx(value, rel=1e-7) if np.isfinite(value) else None)
    for row in loading_rows(modes):
        cell = modes.sel(mode=row["mode"], component=row["component"])
        assert row["loading"] == pytest.approx(float(cell["loading"]), rel=1e-7)
        if row["resolved"]:
            reach = 2 * float(cell["loading_se"])
            assert row["high"] - row["low"] == pytest.approx(2 * reach, rel=1e-5)
        else:
            assert row["low"] is None


@pytest.mark.parametrize("of", ["target", "token"])
def test_a_token_is_given_the_value_of_its_place(of):
    tokens, modes = synthetic.make_tokens(), synthetic.make_modes()
    view = token_view(tokens, modes, of)
    names = [one["name"] for one in view["views"]]
    assert names == [*synthetic.COMPONENTS, "mode 1", "mode 2"]  # the resolved ones
    shape = (synthetic.SAMPLES, synthetic.TOKENS)
    for at, name in enumerate(names):
        values = unpacked(view["values"][at]).reshape(shape)
        errors = unpacked(view["errors"][at]).reshape(shape)
        if name.startswith("mode"):
            here = modes.sel(mode=int(name[-1])).set_index(row=["sample", "token"]).unstack("row")
            chi, error = here["score"], here["score_se"]
            chi, error = (x.reindex(token=range(synthetic.TOKENS)).values for x in (chi, error))
        else:
            here = tokens.sel(component=name)
            chi, error = here["chi"].values, here["chi_se"].values
        for shown, stored in ((values, chi), (errors, error)):
            expected = stored
            if of == "target":
                expected = np.roll(stored, 1, axis=1)
                expected[:, 0] = np.nan  # nothing predicts the first
            spread = np.nanmax(stored) - np.nanmin(stored)
            np.testing.assert_allclose(shown, expected, atol=spread / 60_000)
        full = view["views"][at]["full"]
        assert 0.9 < (np.abs(values[np.isfinite(values)]) <= full).mean() < 1
    assert "".join(view["texts"][0]).startswith("def area(width")


def test_a_mode_without_places_is_no_view():
    modes = synthetic.make_modes().drop_vars(["sample", "token"])
    names = [one["name"] for one in token_view(synthetic.make_tokens(), modes, "token")["views"]]
    assert names == synthetic.COMPONENTS


def test_many_sequences_are_cut_alike_in_every_probe_and_it_is_said(tmp_path):
    tokens = xr.concat([synthetic.make_tokens()] * 10, "sample")
    probe = ["code"] * 50 + ["prose"] * 10
    tokens = tokens.assign_coords(sample=np.arange(60), probe=("sample", probe))
    view = token_view(tokens, None, "target")
    assert len(view["texts"]) == MAX_SEQUENCES
    assert view["samples"] == [
        *(f"code {i}" for i in range(MAX_SEQUENCES - 10)), *(f"prose {i}" for i in range(10)),
    ]  # fmt: skip
    assert left_out(tokens, None) == 60 - MAX_SEQUENCES
    report = ResponseReport(title="many", tokens=tokens)
    html = write_response_report(report, tmp_path / "many.html").read_text(encoding="utf-8")
    assert "12 more sequences are not in this page" in html


def test_a_page_of_sixteen_heads_and_long_probes_stays_below_ten_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    shape = (16, 3 * 128, 128)
    dims = ("component", "sample", "token")
    tokens = xr.Dataset(
        {
            "chi": (dims, rng.normal(size=shape)),
            "chi_se": (dims, rng.gamma(2, size=shape)),
            "text": (dims[1:], np.full(shape[1:], " token", dtype=object)),
        },
        coords={
            "component": [f"l{i // 8}h{i % 8}" for i in range(16)],
            "sample": np.arange(shape[1]),
            "probe": ("sample", np.repeat(["a", "b", "c"], 128)),
        },
    )
    few = tokens.isel(sample=slice(4))
    size = {
        name: write_response_report(
            ResponseReport(title="size", tokens=part), tmp_path / f"{name}.html"
        ).stat().st_size
        for name, part in {"all": tokens, "few": few}.items()
    }  # fmt: skip
    assert size["all"] < 10e6
    assert size["all"] - size["few"] < 6.5e6
    long = tokens.isel(token=np.zeros(4096, int), sample=slice(40))
    assert len(token_view(long, None, "token")["texts"]) == 15


def test_standardised_values_come_first_and_one_view_at_a_time():
    plain = synthetic.make_response()
    twice = plain.assign(chi_standard=10 * plain["chi"], chi_standard_se=10 * plain["chi_se"])
    other = twice.assign(chi_standard=-twice["chi_standard"], significant=~plain["significant"])
    response = xr.concat([twice, other], "view")
    response = response.assign_coords(view=["loss", "logs"])
    rows = response_rows(response)
    assert [row["view"] for row in rows] == ["loss"] * 50 + ["logs"] * 50
    cell = plain.isel(component=0, dataset=1)
    value, error = float(cell["chi"]), float(cell["chi_se"])
    assert rows[1]["chi"] == pytest.approx(10 * value, rel=1e-7)
    assert rows[1]["chi_text"] == with_error(10 * value, 10 * error)
    assert rows[1]["plain_text"] == with_error(value, error)
    assert "Standardised χ" in heat_map(response).title
    assert "more than the others" in heat_map(response).caption
    assert rows[51]["chi"] == -rows[1]["chi"]
    assert rows[51]["significant"] is not rows[1]["significant"]


def samples(values, errors):
    return xr.Dataset(
        {
            "influence": ("rank", values),
            "influence_se": ("rank", errors),
            "text": ("rank", [f"sample {i}" for i in range(len(values))]),
        }
    )


def test_bars_reach_from_the_value_two_errors_either_way():
    (query,) = influence_queries(
        [
            InfluenceQuery(
                text="a  question\nof two lines",
                helpful=samples([-0.5, -0.1, np.nan], [0.05, 0.1, np.nan]),
                harmful=samples([1.0], [0.125]),
            )
        ]
    )
    assert query["label"] == "a question of two lines"
    helpful, harmful = (side["rows"] for side in query["sides"])
    (row,) = harmful
    assert (row["bar"], row["low"], row["high"]) == (80, 60, 100)  # 1.25 is the farthest
    assert (helpful[0]["bar"], helpful[0]["low"], helpful[0]["high"]) == (40, 32, 48)
    assert helpful[0]["value_text"] == "−0.500 ± 0.050"
    assert (helpful[1]["low"], helpful[1]["high"]) == (0, 24)
    assert (helpful[2]["bar"], helpful[2]["value_text"]) == (0, "–")
    assert influence_rows(samples([0.0], [0.0]), 1.0)[0]["bar"] == 0


def test_the_page_has_a_section_for_each_part_and_none_for_others(tmp_path):
    everything = write_response_report(synthetic.make_report(), tmp_path / "all.html")
    page = Page(everything.read_text(encoding="utf-8"))
    parts = ["found", "response", "modes", "groups", "tokens", "influence"]
    assert page.ids("section") == [*parts, "configuration", "repeat", "words"]
    assert "2 modes stand above the noise." in page.text
    assert "opening brackets" in page.text
    assert re.search(r"10 components · 5 data sets · \d+ tokens · 6 samples", page.text)
    alone = ResponseReport(title="one", response=synthetic.make_response())
    page = Page(write_response_report(alone, tmp_path / "one.html").read_text(encoding="utf-8"))
    assert page.ids("section") == ["found", "response", "words"]
    assert "select" not in [tag for tag, _ in page.elements]
    queries = ResponseReport(title="asked", queries=synthetic.make_queries()[:1])
    page = Page(write_response_report(queries, tmp_path / "asked.html").read_text(encoding="utf-8"))
    assert page.ids("section") == ["found", "influence", "words"]
    assert "1 query to the training data." in page.text


def test_every_word_of_the_user_is_shown_as_text(tmp_path):
    response = synthetic.make_response().isel(dataset=[0, 1])
    response = response.assign_coords(dataset=["code", EVIL])
    made = synthetic.make_tokens()
    evil = np.full(made["text"].shape, EVIL, dtype=object)
    tokens = made.assign(text=made["text"].copy(data=evil))
    evil = samples([-1.0], [0.1]).assign(text=("rank", [EVIL]))
    words = xr.Dataset(
        {"description": ("group", [EVIL]), "size": ("group", [3])}, coords={"group": [EVIL]}
    )
    report = synthetic.make_report(
        title=EVIL, response=response, tokens=tokens, words=words, warnings=[EVIL],
        queries=[InfluenceQuery(text=EVIL, helpful=evil, harmful=evil)],
    )  # fmt: skip
    html = write_response_report(report, tmp_path / "evil.html").read_text(encoding="utf-8")
    page = Page(html)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "img" not in [tag for tag, _ in page.elements]
    assert page.text.count(EVIL) >= 7
    data = json.loads(page.scripts["data"])
    assert data["datasets"]["response"]["dataset"][1] == EVIL
    assert data["tokens"]["texts"][0][0] == EVIL


def test_the_same_report_gives_the_same_bytes(tmp_path):
    one, two = (
        write_response_report(synthetic.make_report(), tmp_path / name).read_bytes()
        for name in ("one.html", "two.html")
    )
    assert one == two


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"response": synthetic.make_response().drop_vars("chi_se")},
            "response lacks chi_se",
        ),
        (
            {"response": synthetic.make_response().expand_dims(chain=2)},
            r"chi of response has dimensions \('chain', 'component', 'dataset'\)",
        ),
        ({"tokens": synthetic.make_response()}, "chi of tokens has dimensions|tokens lacks"),
        ({"modes": synthetic.make_response()}, "modes lacks singular_value, noise_floor"),
        ({"words": synthetic.make_response()}, "words lacks description, size"),
        ({"of": "next"}, "'target' or 'token', got 'next'"),
        ({"response": None, "modes": None, "tokens": None, "queries": ()}, "nothing to show"),
    ],
)
def test_what_cannot_be_shown_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        synthetic.make_report(**changes)


def test_a_query_needs_its_samples():
    with pytest.raises(ValueError, match="harmful of a query lacks text"):
        InfluenceQuery(
            text="x", helpful=samples([1.0], [1.0]), harmful=samples([1.0], [1.0]).drop_vars("text")
        )
