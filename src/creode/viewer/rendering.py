"""Pages as one HTML file that needs nothing else: no network, no server, no other file.

Here: what every page needs: the template language, the drawing library, data as script, writing.
Not here: what a page holds (page.py, response_page.py), its markup, look and behaviour (template/).
The same results give the same bytes, so a page carries no time of writing.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from creode.viewer.theme import DARK, LIGHT


def write_page(html: str, path: str | Path) -> Path:
    """Write a page to `path`, replacing a file that is there only once it is complete.

    Returns:
        The path of the page.
    Raises:
        ValueError: the path does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a report is an HTML file, got {str(path)!r}; end the path in .html.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(html, encoding="utf-8")
    return partial.replace(path)


def rendered(name: str, data: Mapping[str, Any], *, script: str | None = None, **words: Any) -> str:
    """The page of the template `name`.html, given data and words.

    Its style is every page's; its script is `name`.js, unless another is named.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["css"] = _css_variables
    return environment.get_template(f"{name}.html").render(
        light=LIGHT,
        dark=DARK,
        style=template("report.css"),
        library=_library(),
        script=template("drawing.js") + template(f"{script or name}.js"),
        data=_as_script({"themes": {"light": LIGHT, "dark": DARK}, **data}),
        **words,
    )


def settings(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of a nested configuration."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from settings(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value, default=str, ensure_ascii=False)


def made_by(attrs: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """What made a result, from its attributes, as labels and values."""
    labels = {
        "creode_version": "creode",
        "model_fingerprint": "model",
        "data_fingerprint": "data",
    }
    return [(label, str(attrs[name])) for name, label in labels.items() if name in attrs]


def template(name: str) -> str:
    """The text of a file of template/."""
    return (files("creode.viewer") / "template" / name).read_text(encoding="utf-8")


def _as_script(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in, nor be read as markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _css_variables(theme: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


@functools.cache
def _library() -> str:
    """The drawing library (Vega, through Vega-Embed), compressed: it is most of the page."""
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return base64.b64encode(gzip.compress(script.encode("utf-8"), mtime=0)).decode("ascii")
