import struct
import xml.etree.ElementTree as ET

import pytest
import synthetic_report
from synthetic_report import HEADS, UNMIXED

from creode.viewer import export_charts
from creode.viewer.export import _file_name
from creode.viewer.theme import LIGHT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def small():
    """Two checkpoints of the heads, one not ok, with the chains of one reading."""
    llc = synthetic_report.make_llc().sel(checkpoint=[1_000, 5_000], component=HEADS)
    trace = synthetic_report.make_trace(5.0, UNMIXED, seed=0)
    return synthetic_report.make_report(
        llc=llc, llc_on={}, training=None, traces={UNMIXED: trace}, title="small"
    )


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    return export_charts(small, tmp_path_factory.mktemp("charts"), formats=("svg",))


def texts(root):
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def fills(root, colour):
    return [path for path in root.iter(f"{SVG}path") if path.get("fill") == colour]


def test_every_chart_becomes_a_file(written):
    assert [path.name for path in written] == [
        "llc_along_training_heads.svg",
        "llc_by_layer_and_head.svg",
        "llc_ranked_heads.svg",
        "chain_losses_step_005000_l1h2.svg",
        "chain_running_llc_step_005000_l1h2.svg",
        "chain_autocorrelation_step_005000_l1h2.svg",
    ]


def test_a_chart_has_its_title_and_as_many_marks_as_readings(written):
    root = ET.parse(written[0]).getroot()
    assert "LLC of attention heads" in texts(root)
    assert set(HEADS) <= set(texts(root))
    dots = [path for path in fills(root, LIGHT["ok"]) if "A" in path.get("d")]
    assert len(dots) == 2 * len(HEADS) - 1
    assert len(fills(root, LIGHT["bad"])) == 1


def test_components_are_sorted_by_value(written, small):
    shown = [text for text in texts(ET.parse(written[2]).getroot()) if text in HEADS]
    last = small.llc["llc"].sel(checkpoint=5_000)
    assert shown == sorted(HEADS, key=lambda name: -float(last.sel(component=name)))


def test_each_chain_has_a_line(written):
    root = ET.parse(written[3]).getroot()
    lines = {path.get("stroke") for path in root.iter(f"{SVG}path") if path.get("fill") != "none"}
    strokes = [path.get("stroke") for path in root.iter(f"{SVG}path")]
    assert {LIGHT[f"series{i}"] for i in range(4)} <= {*strokes, *lines}


def test_a_png_has_twice_the_size_of_the_svg(small, tmp_path):
    llc = small.llc.sel(checkpoint=5_000, component=HEADS[:2], drop=False)
    one = synthetic_report.make_report(llc=llc, llc_on={}, training=None, traces={})
    for path in export_charts(one, tmp_path):
        if path.suffix == ".png":
            data = path.read_bytes()
            assert data.startswith(b"\x89PNG\r\n\x1a\n")
            width, height = struct.unpack(">II", data[16:24])
            svg = ET.parse(path.with_suffix(".svg")).getroot()
            assert width == pytest.approx(2 * float(svg.get("width")), abs=2)
            assert height == pytest.approx(2 * float(svg.get("height")), abs=2)
    assert len(list(tmp_path.iterdir())) == 4


def test_an_unknown_format_is_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(ValueError, match="unknown chart format 'pdf'; choose among png, svg"):
        export_charts(small, tmp_path / "out", formats=("svg", "pdf"))
    assert not (tmp_path / "out").exists()


def test_file_names_keep_readings_apart():
    keys = [(None, "l0 mlp"), (10, "l0 mlp"), (10, "*.attn"), (10, "/.attn"), (100, "l0 mlp")]
    names = [_file_name(*key) for key in keys]
    assert len(set(names)) == len(names)
    assert names[:2] == ["l0_mlp", "step_000010_l0_mlp"]
    assert not any("/" in name for name in names)
