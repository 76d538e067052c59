"""The page as a reader meets it, in Chromium, from a file and with no network."""

import itertools
import re

import numpy as np
import pytest
import synthetic_report
from synthetic_report import CHECKPOINTS, COMPONENTS, DIVERGED, HEADS, NOT_OK, UNMIXED
from visiting import DESK, Visit, rgb

from creode.viewer import write_report
from creode.viewer.theme import DARK, LIGHT
from creode.viewer.wording import number

PARTS = [name for name in COMPONENTS if name not in HEADS]


@pytest.fixture(scope="module")
def light(chromium, page_path):
    visit = Visit(chromium, page_path, color_scheme="light")
    yield visit
    visit.context.close()


@pytest.fixture
def visit(light):
    """The light page, as it opens: the full model at the last checkpoint, on a desk."""
    light.page.set_viewport_size(DESK)
    light.page.select_option("#reading-checkpoint", "50000")
    light.page.select_option("#reading-component", "full")
    light.page.mouse.move(0, 0)
    return light


def test_the_page_asks_for_nothing_and_complains_of_nothing(visit, page_path):
    assert visit.requests == [page_path.as_uri()]
    assert visit.complaints == []


def test_the_verdict_can_be_read(visit):
    assert visit.page.inner_text(".verdict") == "116 of 120 readings can be trusted."
    assert "R-hat is 1.31, above 1.05" in visit.page.inner_text(".doubts")


def test_every_reading_is_drawn_and_doubtful_ones_differ_in_shape_and_colour(visit):
    total = {
        name: len(CHECKPOINTS) * len(group) for name, group in (("heads", HEADS), ("parts", PARTS))
    }
    doubtful = {"heads": 2, "parts": 2}
    for group, count in total.items():
        figure = f"llc_along_training_{group}"
        dots, crosses = visit.marks(figure, LIGHT["ok"]), visit.marks(figure, LIGHT["bad"])
        assert len(dots) == count - doubtful[group]
        assert len(crosses) == doubtful[group]  # the one without a value too, on the axis
        assert all("A" in outline for outline in dots)  # arcs
        assert not any("A" in outline for outline in crosses)  # corners
    visit.eventually(lambda: len(visit.marks("llc_ranked_heads", LIGHT["ok"])), 7)
    assert len(visit.marks("llc_ranked_heads", LIGHT["bad"])) == 1


def test_each_probe_is_shown_beside_the_posteriors_own_data(visit):
    for colour in ("series0", "series1", "series2"):  # data, code, prose; l0h3 is not ok
        visit.eventually(lambda c=colour: len(visit.marks("llc_on_probes_heads", LIGHT[c])), 7)
        assert len(visit.marks("llc_on_probes_parts", LIGHT[colour])) == len(PARTS)
    assert len(visit.marks("llc_on_probes_heads", LIGHT["bad"])) == 3


def test_the_heat_map_shows_the_value_of_each_head(visit, report):
    values = report.llc["llc"].sel(checkpoint=50_000)
    expected = sorted(number(float(values.sel(component=name))) for name in HEADS)
    visit.eventually(lambda: sorted(visit.texts("llc_by_layer_and_head")), expected)


def test_numbers_in_the_table_are_those_of_the_results(visit, report):
    rows = visit.page.eval_on_selector_all(
        "#diagnostics tbody tr:not(.reason)",
        """found => found.map(row => ({
            name: row.querySelector("th").textContent,
            values: [...row.querySelectorAll("data")].map(cell => cell.value),
            texts: [...row.querySelectorAll("data")].map(cell => cell.textContent),
        }))""",
    )
    assert [row["name"] for row in rows] == COMPONENTS
    columns = ["llc", "llc_variance", "ess", "rhat", "virial", "temperature"]
    for row in rows:
        cell = report.llc.sel(checkpoint=50_000, component=row["name"])
        exact = np.array([float(cell[name]) for name in columns])
        np.testing.assert_allclose([float(value) for value in row["values"]], exact, rtol=1e-7)
        for text, value in zip(row["texts"], exact, strict=True):
            first, _, error = text.replace(",", "").partition(" ± ")
            assert float(first) == pytest.approx(value, abs=0.51 * place(first))
            assert error == "" or place(first) <= float(error)
        assert place(row["texts"][3]) == 0.001  # R-hat


def place(text):
    """The value of the last digit of a number."""
    return 10.0 ** -len(text.partition(".")[2])


def test_choosing_a_reading_changes_charts_table_and_verdict(visit, report):
    def traces():
        return visit.page.inner_html('.chart[data-figure="chain_losses"]')

    before = traces()
    visit.page.select_option("#reading-checkpoint", str(UNMIXED[0]))
    visit.page.select_option("#reading-component", UNMIXED[1])
    assert visit.page.inner_text("#chosen-name") == "l1h2 at step 5,000"
    assert NOT_OK[UNMIXED] in visit.page.inner_text("#chosen-verdict")
    assert visit.page.inner_text("#diagnostics tr.reason") == NOT_OK[UNMIXED]
    current = visit.page.inner_text('#diagnostics tr[aria-current="true"]')
    assert current.startswith("l1h2")
    assert "1.315" in current
    visit.eventually(lambda: traces() != before, True)
    assert visit.page.input_value("#components-checkpoint") == "5000"
    values = report.llc["llc"].sel(checkpoint=5_000)
    expected = sorted(number(float(values.sel(component=name))) for name in HEADS)
    visit.eventually(lambda: sorted(visit.texts("llc_by_layer_and_head")), expected)


def test_each_chain_has_its_line_and_a_diverged_chain_ends(visit):
    lines = '.chart[data-figure="chain_losses"] .mark-line path'

    def points():
        outlines = visit.page.eval_on_selector_all(
            lines, "found => found.map(path => path.getAttribute('d'))"
        )
        return [len(re.findall("[ML]", outline)) for outline in outlines]

    visit.eventually(points, [200, 200, 200, 200])
    visit.page.select_option("#reading-checkpoint", str(DIVERGED[0]))
    visit.page.select_option("#reading-component", DIVERGED[1])
    visit.eventually(points, [200, 200, 70, 200])
    assert visit.page.inner_text("#chosen-verdict").startswith("✕ No λ̂. Cannot be trusted: chain 2")


def test_next_in_doubt_goes_through_all_and_links_of_the_headline_lead_there(visit):
    seen = []
    for _ in NOT_OK:
        visit.page.click("#next-doubt")
        seen.append(visit.page.inner_text("#chosen-name"))
    assert len(set(seen)) == len(NOT_OK)
    visit.page.click(".doubts a >> text=l1 mlp at step 100")
    assert visit.page.inner_text("#chosen-name") == "l1 mlp at step 100"


def test_pointing_at_a_step_marks_it_on_every_chart_along_training(visit, report):
    chart = visit.page.locator('.chart[data-figure="llc_along_training_heads"]')
    chart.scroll_into_view_if_needed()
    dot = chart.locator(f'.mark-symbol path[fill="{LIGHT["ok"]}"]').nth(4)  # l0h0, step 1,000
    box = dot.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2 - 1, box["y"] + 20)
    visit.page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + 22)
    visit.page.wait_for_selector("#tooltip:not([hidden])")
    assert visit.page.inner_text("#tooltip strong") == "l0h0 at step 1,000"
    here = report.llc["llc"].sel(checkpoint=1_000)
    for group, names in (("heads", HEADS), ("parts", PARTS)):
        figure = f"llc_along_training_{group}"
        visit.eventually(lambda figure=figure: len(visit.texts(figure)), len(names))
        said = visit.texts(figure)
        for text, name in zip(said, names, strict=True):
            first = text.partition(" ± ")[0]
            assert float(first) == pytest.approx(float(here.sel(component=name)), rel=0.02)
    for i in range(3):  # on the training loss and both held-out losses
        assert len(visit.marks("loss_along_training", LIGHT[f"series{i}"])) == 1


def test_a_chart_can_be_saved_and_the_command_copied(visit, report):
    with visit.page.expect_download() as saved:
        visit.page.click('[data-save="svg"][data-figure="llc_ranked_heads"]')
    assert saved.value.suggested_filename == "llc_ranked_heads.svg"
    assert saved.value.path().read_text(encoding="utf-8").startswith("<svg")
    with visit.page.expect_download() as saved:
        visit.page.click('[data-save="png"][data-figure="llc_ranked_heads"]')
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.page.click("#copy")
    visit.page.wait_for_selector("#copied:has-text('Copied')")
    assert visit.page.evaluate("navigator.clipboard.readText()") == report.command


def test_the_command_is_copied_where_the_clipboard_is_closed_to_pages(visit, report):
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.page.evaluate(
        """async () => {
            await navigator.clipboard.writeText("something else");
            navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"));
        }"""
    )
    visit.page.click("#copy")
    visit.page.wait_for_selector("#copied:has-text('Copied')")
    assert visit.page.evaluate("navigator.clipboard.readText()") == report.command


def test_everything_has_a_name_for_who_does_not_see_it(visit):
    unnamed = visit.page.evaluate(
        """() => [
            ...[...document.querySelectorAll(".chart")].filter(chart =>
                chart.getAttribute("role") !== "img" || !(chart.ariaLabel ?? "").length),
            ...[...document.querySelectorAll("select")].filter(pick => !pick.labels.length),
            ...[...document.querySelectorAll("button, a")].filter(item =>
                !(item.ariaLabel ?? item.textContent).trim()),
            ...[...document.querySelectorAll("table")].filter(table =>
                [...table.rows].slice(1).some(row => row.className !== "reason"
                    && row.cells[0].scope !== "row")
                || [...table.rows[0].cells].some(cell => cell.scope !== "col")),
        ].map(item => item.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []
    assert visit.page.get_attribute("html", "lang") == "en"
    levels = visit.page.eval_on_selector_all("h1,h2,h3", "found => found.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_scrolls_sideways(visit, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    widest = """Math.max(...[...document.querySelectorAll(".chart")].map(chart =>
        (chart.querySelector("svg")?.width.baseVal.value ?? 9999) - chart.clientWidth))"""
    visit.eventually(lambda: visit.page.evaluate(widest) <= 1, True)  # drawn anew for the width
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_turns_dark_and_light_with_the_reader(visit):
    def ground():
        return visit.page.evaluate("getComputedStyle(document.body).backgroundColor")

    for scheme, theme, other in (("dark", DARK, LIGHT), ("light", LIGHT, DARK)):
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.wait_for_selector(
            f'.chart[data-figure="chain_autocorrelation"] path[stroke="{theme["series0"]}"]',
            state="attached",
        )
        assert ground() == rgb(theme["paper"])
        assert len(visit.marks("llc_ranked_heads", theme["ok"])) == 7
        assert visit.marks("llc_ranked_heads", other["ok"]) == []
    assert visit.complaints == []


def test_one_reading_without_checkpoints_is_a_page_too(chromium, tmp_path):
    one = synthetic_report.make_llc().sel(checkpoint=50_000, component="full", drop=True)
    trace = synthetic_report.make_trace(212.0, (50_000, "full"), seed=0)
    report = synthetic_report.make_report(
        llc=one, llc_on={}, training=None, traces={(None, "full"): trace}
    )
    visit = Visit(chromium, write_report(report, tmp_path / "one.html"))
    assert visit.page.inner_text(".verdict") == "The reading can be trusted."
    assert visit.page.locator("#diagnostics tbody tr").count() == 1
    assert visit.page.locator("figure svg").count() == 3
    assert visit.page.locator("select").count() == 0
    assert visit.complaints == []
    visit.context.close()


@pytest.mark.slow
def test_a_study_with_gaps_shows_what_there_is(chromium, report, tmp_path):
    last = (50_000, "l1h2")
    sparse = synthetic_report.make_report(
        llc=synthetic_report.make_sparse(),
        llc_on={},
        traces={last: report.traces[last]},
    )
    visit = Visit(chromium, write_report(sparse, tmp_path / "sparse.html"))
    page = visit.page
    assert page.inner_text(".verdict") == "20 of 21 readings can be trusted."
    assert page.is_visible("#no-chains")  # of the full model no chains are stored
    assert not page.is_visible("#chain-figures")
    assert len(visit.marks("llc_along_training_parts", LIGHT["ok"])) == len(CHECKPOINTS)

    page.select_option("#reading-checkpoint", "1000")
    assert page.inner_text("#chosen-notes") == "Note: more draws would help."
    assert page.locator("#diagnostics tbody tr").count() == 1
    heads = page.locator("#figure-llc_by_layer_and_head .where")
    assert heads.inner_text().strip() == "at step 50,000"  # where heads can be compared
    visit.eventually(lambda: len(visit.texts("llc_by_layer_and_head")), len(HEADS))

    page.select_option("#reading-component", "l1h2")  # was not read at step 1,000
    assert page.inner_text("#chosen-name") == "l1h2 at step 50,000"
    assert page.is_visible("#chain-figures")
    assert not page.is_visible("#no-chains")
    page.select_option("#reading-checkpoint", "200")  # nor at 200, where the full model was
    assert page.inner_text("#chosen-name") == "full at step 200"
    assert visit.complaints == []
    visit.context.close()
