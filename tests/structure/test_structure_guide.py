"""The guide's example does what it says."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs/structure.md"


def test_the_guides_example_finds_what_was_planted(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    names = {}
    exec(compile(example, str(GUIDE), "exec"), names)
    assert int(names["found"]["num_resolved"]) == 1
    groups, classes = names["groups"], names["classes"]
    (stable,) = groups["cluster"].values[groups["stable"].values]
    predicts_number = classes.sel({"class": "number"}).values.ravel()
    assert ((groups["label"].values == stable) == predicts_number).all()
    assert "numbers (100%" in capsys.readouterr().out
