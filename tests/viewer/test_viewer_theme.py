import pytest

from creode.viewer.theme import DARK, HEAT_MIDDLE, LIGHT, chart_config, coloured, role


def rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def luminance(channels):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, two):
    """WCAG 2.2's contrast ratio of two sRGB colours."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_and_text_stand_out_from_the_page(theme):
    paper = rgb(theme["paper"])
    for name in ("ok", "bad", *(f"series{i}" for i in range(6))):
        assert contrast(rgb(theme[name]), paper) >= 3, name
    for name in ("ink", "muted", "link", "bad-text"):
        for ground in ("paper", "surface", "bad-surface"):
            assert contrast(rgb(theme[name]), rgb(theme[ground])) >= 4.5, (name, ground)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_numbers_can_be_read_on_every_colour_of_the_heat_map(theme):
    low, middle, high = (rgb(theme[f"heat{i}"]) for i in range(3))
    for step in range(101):
        at = step / 100
        start, end, part = (low, middle, 2 * at) if at < 0.5 else (middle, high, 2 * at - 1)
        cell = [a + (b - a) * part for a, b in zip(start, end, strict=True)]
        text = theme["heat-text1" if at > HEAT_MIDDLE else "heat-text0"]
        assert contrast(rgb(text), cell) >= 4.5, at


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("end", ["below", "above"])
def test_text_can_be_read_on_every_colour_of_a_signed_value(theme, end):
    middle, last = rgb(theme["middle"]), rgb(theme[end])
    for step in range(101):
        cell = [a + (b - a) * step / 100 for a, b in zip(middle, last, strict=True)]
        assert contrast(rgb(theme["ink"]), cell) >= 4.5, step
    assert contrast(middle, last) >= 1.5  # and the ends can be told from the middle


def test_both_themes_colour_every_role_and_unknown_roles_are_refused():
    assert LIGHT.keys() == DARK.keys()
    with pytest.raises(KeyError, match="'inc'; the roles are paper"):
        role("inc")


def test_colouring_replaces_roles_everywhere_and_nothing_else():
    spec = {"fill": role("ok"), "marks": [{"stroke": [role("bad"), 3, None]}], "text": "role of x"}
    assert coloured(spec, LIGHT) == {
        "fill": LIGHT["ok"],
        "marks": [{"stroke": [LIGHT["bad"], 3, None]}],
        "text": "role of x",
    }
    assert "role:" not in str(coloured(chart_config(), DARK))
