"""The commands as a user meets them: what they print, where, and their exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import xarray as xr
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from creode.cli import app, console

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "attribute", "audit", "calibrate", "components", "demo", "develop", "llc", "pattern",
    "plan", "rerun", "respond", "run", "shift", "train", "view",
)  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


TRAIN = ("train", "--data", "corpus:brackets", "--length", 16, "--limit", 64, "--steps", 12,
         "--width", 8, "--heads", 2, "--layers", 1, "--batch-size", 8, "--checkpoints", 3,
         "--out", "decoder")  # fmt: skip
LLC = ("llc", "decoder", "--data", "corpus:brackets", "--length", 16, "--limit", 32,
       "--nbeta", 30, "--localization", 3e4, "--sampler", "baoab", "--step-size", 3e-3,
       "--sampler-option", "friction=170", "--chains", 2, "--draws", 8, "--burnin", 4,
       "--steps-per-draw", 1, "--batch-size", 8, "--mode", "sequential",
       "--out", "run")  # fmt: skip


def test_development_is_stages_or_the_reason_why_there_are_none(run, tmp_path):
    run(*(7 if option == 3 else option for option in TRAIN))
    (tmp_path / "twice.py").write_text("def read(model, step):\n    return {'twice': 2 * step}\n")
    options = (*LLC[1:], "--measure", "weight_norm", "--metric", "twice:read",
               "--query", "corpus:logs", "--query-limit", 2, "--train-limit", 5)  # fmt: skip
    told = run("develop", *options, "--json")
    assert told.exit_code == 0, told.output
    trajectory = xr.open_zarr(tmp_path / "run/trajectory.zarr", consolidated=False)
    assert trajectory["weight_norm"].notnull().all()
    assert (trajectory["twice"] == 2 * trajectory["checkpoint"]).all()
    assert trajectory["influence"].shape == (7, 2, 5)
    (only,) = json.loads(told.stdout)
    assert not only["ok"]
    assert "usable readings of 7 checkpoints" in only["reasons"]
    assert json.loads((tmp_path / "run/stages.json").read_text()) == [only]
    assert only["reasons"].split("'")[-1] in (tmp_path / "run/report.html").read_text()
    table = " ".join(run("develop", *options).stdout.split())
    assert "Stages" in table
    assert "Influence of training samples" in (tmp_path / "run/report.html").read_text()
    alone = run("develop", *LLC[1:-1], "alone", "--train-limit", 5)
    assert alone.exit_code == 1
    assert "--train-limit is of influence; give --query" in " ".join(alone.stderr.split())
    few = run("develop", *LLC[1:-1], "few", "--checkpoints", "0,12")
    assert few.exit_code == 1
    assert "stages need at least 6 checkpoints, got (0, 12)" in " ".join(few.stderr.split())


def test_a_kernel_takes_its_settings_and_control_variates_by_name(run, tmp_path):
    run(*TRAIN)
    read = run(*LLC, "--sampler", "badodab", "--sampler-option", "stiffness=1e5",
               "--control-variates", "--json")  # fmt: skip
    assert read.exit_code == 0, read.output
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]["study"]
    sampler = config["sampler"]
    assert (sampler["name"], sampler["stiffness"], sampler["friction"]) == ("badodab", 1e5, 170.0)
    assert config["schedule"]["control_variates"] is True


def test_the_way_from_training_to_a_report(run, tmp_path):
    trained = run(*TRAIN, "--json")
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["steps"] == 12
    listed = run("components", "decoder", "--json")
    assert {"full", "embed", "l0h0", "l0h1", "l0 mlp"} <= {
        part["name"] for part in json.loads(listed.stdout)
    }
    read = run(*LLC, "--final-component", "heads", "--json")
    assert read.exit_code == 0, read.output
    records = json.loads(read.stdout)
    assert [record["component"] for record in records] == ["full", "l0h0", "l0h1"]
    assert "not to be trusted" in read.stderr
    assert json.loads((tmp_path / "run/llc.json").read_text()) == records
    again = run("rerun", "run", "--out", "again", "--json")
    assert json.loads(again.stdout) == records
    assert "the readings are the same" in again.stderr
    shown = run("view", "run", "--no-open")
    assert shown.stdout.strip() == "run/report.html"
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
    table = run(*LLC, "--final-component", "heads", "--strict")
    assert "l0h1" in table.stdout
    assert table.exit_code == 1


def assert_agree(found, expected):
    """The same but for the rounding of sums over more or fewer queries at once."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_agree(found[name], value)
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_agree(one, other)
    else:
        close = pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected
        assert found == close


ATTRIBUTE = ("attribute", "decoder", "--train", "corpus:brackets", "--query", "corpus:logs",
             "--query-limit", 3, *LLC[4:-1], "attribution")  # fmt: skip


def test_the_way_from_a_model_to_what_made_it_so(run, tmp_path):
    assert run(*TRAIN).exit_code == 0
    made = run(*ATTRIBUTE, "--top", 2, "--json")
    assert made.exit_code == 0, made.output
    answers = json.loads(made.stdout)
    assert [answer["query"] for answer in answers] == [0, 1, 2]
    assert json.loads((tmp_path / "attribution/attribution.json").read_text()) == answers
    assert "not to be trusted" in made.stderr  # 2 chains of 8 draws
    repeated = run("rerun", "attribution", "--out", "repeated", "--json")
    full = run("attribute", "--from", "attribution", "--json")
    assert json.loads(repeated.stdout) == json.loads(full.stdout)
    assert "the readings are the same" in repeated.stderr
    assert not (tmp_path / "repeated/llc.json").exists()
    again = run("attribute", "--from", "attribution", "--query-id", 1, "--top", 2, "--json")
    assert_agree(json.loads(again.stdout), answers[1:2])
    table = run("attribute", "--from", "attribution", "--query-id", 2, "--parquet", "pairs.parquet")
    assert "query 2" in table.stdout
    assert "helpful" in table.stdout
    assert pq.read_metadata(tmp_path / "pairs.parquet").num_rows == 32
    strict = run("attribute", "--from", "attribution", "--query-id", 2, "--strict")
    assert strict.exit_code == 1


def test_the_way_from_training_to_responses(run, tmp_path):
    assert run(*TRAIN).exit_code == 0
    respond = ("respond", *LLC[1:-1], "answers", "--probe", "logs=corpus:logs",
               "--probe", "own=corpus:brackets", "--component", "heads",
               "--observable", "logs")  # fmt: skip
    read = run(*respond, "--json")
    assert read.exit_code == 0, read.output
    records = json.loads(read.stdout)
    found = [(r["observable"], r["component"], r["probe"]) for r in records]
    assert found == [
        (observable, head, probe)
        for observable in ("loss", "logs")
        for head in ("l0h0", "l0h1")
        for probe in ("logs", "own")
    ]
    assert json.loads((tmp_path / "answers/response.json").read_text()) == records
    again = run("rerun", "answers", "--out", "again", "--json")
    assert json.loads(again.stdout) == records
    assert "the readings are the same" in again.stderr
    assert run("view", "answers", "--no-open").stdout.strip() == "answers/report.html"
    table = run(*respond, "--strict")
    assert table.exit_code == 1
    assert "l0h1" in table.stdout
    assert "±" in table.stdout
    assert "single-chain form" in table.stdout
    more = ("--two-chain", "--control", "shuffled")
    both = run(*("other" if word == "answers" else word for word in (*respond, *more))).stdout
    assert "two-chain form" in both
    assert "less that of the control shuffled" in both
    wrong = run(*respond, "--observable", "nothing")
    assert wrong.exit_code == 1
    assert "mean loss of a probe 'nothing'" in wrong.stderr


def test_the_way_from_responses_to_other_data(run, tmp_path):
    assert run(*TRAIN).exit_code == 0
    both = "corpus:brackets,logs"
    more = {"--data": both, "--draws": 150, "--limit": 64, "--batch-size": 64, "--nbeta": 100}
    respond = ["respond", *LLC[1:-1], "answers", "--probe", f"own={both}",
               "--probe", "logs=corpus:logs", "--observable", "logs"]  # fmt: skip
    for option, value in more.items():
        respond[respond.index(option) + 1] = value
    assert run(*respond).exit_code == 0
    shifted = run("shift", "answers", "--to", "logs=1", "--json")
    assert shifted.exit_code == 0, shifted.output
    records = {one["observable"]: one for one in json.loads(shifted.stdout)}
    assert set(records) == {"loss", "logs"}
    assert records["logs"]["first"] < -3 * records["logs"]["first_se"]  # more of it, less loss
    assert "first order" in run("shift", "answers", "--to", "logs=1").stdout
    again = ["others" if word == "answers" else word for word in (*respond, "--seed", 1)]
    assert run(*again).exit_code == 0
    beside = ("shift", "answers", "others", "--to", "logs=1")
    found = json.loads(run(*beside, "--json").stdout)
    models = {(one["model"], one["observable"]): one for one in found["models"]}
    assert {name: models["answers", "logs"][name] for name in records["logs"]} == records["logs"]
    assert set(models) == {(m, o) for m in ("answers", "others") for o in ("loss", "logs")}
    pair = next(one for one in found["pairs"] if one["observable"] == "logs")
    gap = models["answers", "logs"]["first"] - models["others", "logs"]["first"]
    assert pair["difference"] == pytest.approx(gap)
    assert pair["difference_p"] > 1e-3  # the same model, other draws
    assert found["training"][0]["equal_loss"]
    table = run(*beside, "--training", "own").stdout
    assert "answers" in table
    assert "L(w*) now" in table
    twice = run("shift", "answers", "answers", "--to", "logs=1")
    assert twice.exit_code == 1
    assert "was given twice" in " ".join(twice.stderr.split())
    wish = records["logs"]["first"] / 100
    asked = ("pattern", "answers", "--on", "own", "--target", f"logs={wish}",
             "--out", "weights.parquet")  # fmt: skip
    made = run(*asked, "--json")
    assert made.exit_code == 0, made.output
    effects = {one["observable"]: one for one in json.loads(made.stdout)}
    assert effects["logs"]["wanted"] == pytest.approx(wish)
    assert effects["loss"]["wanted"] is None
    assert "64 samples" in made.stderr
    page = (tmp_path / "weights.html").read_text()
    assert "Weights to lower logs" in page
    assert "arms_over_seeds" not in page
    explained = effects["logs"]["explanations"]
    assert set(explained) == {"length", "loss", "domain", "together"}
    assert explained["length"]["r2"] == 0  # packed: all of one length
    assert explained["length"]["beyond"] == pytest.approx(effects["logs"]["predicted"])
    assert explained["domain"]["r2"] > 0.5  # of weights that are to help one domain
    told = run(*asked).stdout
    assert "predicted" in told
    assert "What trivial explanations would do alone" in told
    of_tokens = [*asked, "--units", "token"]
    of_tokens[of_tokens.index("weights.parquet")] = "tokens.parquet"
    assert f"{64 * 15} tokens" in run(*of_tokens).stderr
    shared = run(*asked, "--by-domain")
    assert shared.exit_code == 0, shared.output
    groups = pq.read_table(tmp_path / "weights.parquet").to_pydict()
    assert set(groups["group"]) == {"brackets", "logs"}
    assert len(set(groups["weight"])) == 2
    assert "shares: brackets 0." in shared.stderr
    run(*asked)
    proof = (*asked, "--verify", 2, "--steps", 5, "--learning-rate", 0.01)
    proved = run(*proof, "--json")
    assert proved.exit_code == 0, proved.output
    arms = {one["observable"]: one for one in json.loads(proved.stdout)}
    assert set(arms) == {"loss", "own", "logs"}
    assert arms["logs"]["wanted"] == pytest.approx(wish)
    assert arms["own"]["predicted"] is None
    assert arms["own"]["achieved"] == pytest.approx(arms["loss"]["achieved"])
    assert len(list((tmp_path / "weights.proof").glob("*-*.json"))) == 6
    assert "over permuted" in run(*proof).stdout
    assert "arms_over_seeds" in (tmp_path / "weights.html").read_text()
    beside = run(*proof, "--explanation", "domain")
    assert beside.exit_code == 0, beside.output
    assert "Trained on with what explanations give" in beside.stdout
    assert len(list((tmp_path / "weights.proof").glob("domain-*.json"))) == 2
    no_proof = run(*asked, "--explanation", "domain")
    assert no_proof.exit_code == 1
    assert "give --verify SEEDS" in " ".join(no_proof.stderr.split())
    alike = run(*proof, "--explanation", "length")
    assert alike.exit_code == 1
    assert "weigh all samples alike" in " ".join(alike.stderr.split())
    longer = run(*proof, "--steps", 6)
    assert longer.exit_code == 1
    assert "arms of other trained_with" in " ".join(longer.stderr.split())
    weighted = [*TRAIN, "--weights", "weights.parquet"]
    weighted[weighted.index("decoder")] = "weighted"
    weighted[weighted.index("--data") + 1] = both
    assert run(*weighted).exit_code == 0
    by_token = [
        {"weights.parquet": "tokens.parquet", "weighted": "by_token"}.get(a, a) for a in weighted
    ]
    assert run(*by_token).exit_code == 0
    runs = [tmp_path / name / "training.json" for name in ("decoder", "weighted", "by_token")]
    recorded = [json.loads(one.read_text())["weights"]["fingerprint"] for one in runs]
    assert len(set(recorded)) == 3
    turned = ["corpus:logs,brackets" if option == both else option for option in weighted]
    turned[turned.index("weighted")] = "turned"
    told = " ".join(run(*turned).stderr.split())
    assert "these weights were made for other samples than those of" in told
    assert not (tmp_path / "turned").exists()
    turned[turned.index("weights.parquet")] = "weighted/training.json"
    assert "is no Parquet file of weights" in " ".join(run(*turned).stderr.split())
    weighted[weighted.index("--limit") + 1] = 63
    other = run(*weighted)
    assert other.exit_code == 1
    assert "weights of 64 samples" in other.stderr
    far = run(*asked, "--target", "loss=-1000")
    assert far.exit_code == 1
    assert "of the target" in far.stderr or "do not tell which data" in far.stderr
    for wrong, message in (
        (("shift", "answers", "--to", "poems=1"), "not a probe"),
        (("shift", "answers", "--to", "logs=much"), "not a number"),
        (("shift", "answers", "--to", "logs=1", "--to", "logs=2"), "twice"),
        (("shift", "answers", "--to", "logs=1", "--component", "l0h0"), "holds no draws"),
        ((*asked, "--most", 0.5), "must be above 1"),
        ((*asked, "--by-domain", "--on", "poems"), "has no probe 'poems'"),
        ((*respond, "--probe-split", "poems=test"), "the probes are logs, own"),
    ):
        result = run(*wrong)
        assert result.exit_code == 1
        assert message in " ".join(result.stderr.split())


def test_runs_in_one_plane_and_influence_are_asked_for_planned_and_repeated(run, tmp_path):
    seven = [7 if option == 3 else option for option in TRAIN]
    run(*seven)
    run(*seven[:-1], "twin", "--seed", 1)
    along = ("decoder", *LLC[2:-2], "--checkpoints", "all", "--measure", "outputs",
             "--with", "twin=twin", "--query", "corpus:logs", "--query-limit", 3, "--train",
             "corpus:code", "--train-limit", 4, "--kind", "correlation")  # fmt: skip
    planned = run("plan", *along, "--json")
    assert planned.exit_code == 0, planned.output
    told = run("develop", *along, "--out", "run", "--json")
    assert told.exit_code == 0, told.output
    plane = xr.open_zarr(tmp_path / "run/plane.zarr", consolidated=False)
    assert plane["run"].values.tolist() == ["decoder", "twin"]
    influence = xr.open_zarr(tmp_path / "run/trajectory.zarr", consolidated=False)["influence"]
    assert influence.shape == (7, 3, 4)
    assert influence.attrs["kind"] == "correlation"
    assert float(abs(influence).max()) > 0.1  # of covariances it would be thousandths
    again = json.loads(run("plan", "run", "--json").stdout)
    exact = ("units", "gradients", "forwards", "disk_bytes")
    assert {n: again[n] for n in exact} == {n: json.loads(planned.stdout)[n] for n in exact}
    assert "scored without one" in run("plan", "run").stdout
    (tmp_path / "study.json").write_text(
        json.dumps(json.loads((tmp_path / "run/run.json").read_text())["config"]["study"])
    )
    repeated = run("run", "study.json", "--out", "again", "--json")
    assert repeated.exit_code == 0, repeated.output
    assert json.loads(repeated.stdout) == json.loads(told.stdout)


def test_a_plan_of_options_and_of_a_run_directory(run):
    assert run(*TRAIN).exit_code == 0
    assert run(*LLC, "--component", "heads").exit_code == 0
    planned = run("plan", *LLC[1:-2], "--component", "heads", "--json")
    assert planned.exit_code == 0, planned.output
    cost = json.loads(planned.stdout)
    assert (cost["units"], cost["chains"], cost["steps"], cost["draws"]) == (2, 2, 12, 8)
    again = json.loads(run("plan", "run", "--json").stdout)
    exact = ("units", "chains", "steps", "draws", "mode", "disk_bytes")
    assert {name: again[name] for name in exact} == {name: cost[name] for name in exact}
    assert "units of work" in run("plan", "run").stdout
    assert run("plan", "nowhere").exit_code == 1


AUTO = (*LLC[:8], "--limit", 32, "--chains", 2, "--batch-size", 8, "--mode", "sequential",
        "--out", "run")  # fmt: skip


PILOT = ("calibrate", *AUTO[1:-1], "settings.json")


def test_settings_can_be_chosen_by_a_pilot_before_or_in_the_run(run, tmp_path):
    assert run(*TRAIN).exit_code == 0
    pilot = (
        "calibrate",
        *LLC[1:8],
        "--chains",
        2,
        "--batch-size",
        8,
        "--budget",
        200,
        "--mode",
        "sequential",
    )
    calibrated = run(*pilot, "--out", "made/settings.json", "--json")
    assert calibrated.exit_code == 0, calibrated.output
    settings = json.loads(calibrated.stdout)
    assert json.loads((tmp_path / "made/settings.json").read_text()) == settings
    read = run(*AUTO, "--settings", "made/settings.json", "--json")
    assert read.exit_code == 0, read.output
    itself = run(*AUTO[:-1], "itself", "--budget", 200)
    assert itself.exit_code == 0, itself.output
    assert f"chosen: nβ = {settings['nbeta']:.3g}" in " ".join(itself.stderr.split())
    again = run("rerun", "itself", "--json")
    assert "the readings are the same" in again.stderr
    assert json.loads(again.stdout) == json.loads(read.stdout)
    table = run(*pilot, "--out", "made/settings.json")
    assert "localization" in table.stdout


def test_the_grid_around_the_choice_is_a_table_a_file_and_a_picture(run, tmp_path, capsys):
    assert run(*TRAIN).exit_code == 0
    pilot = ("calibrate", *AUTO[1:-1], "made/settings.json", "--budget", 200, "--grid",
             "--grid-steps", 40)  # fmt: skip
    made = run(*pilot, "--charts", "charts", "--json")
    assert made.exit_code == 0, made.output
    shown = json.loads(made.stdout)
    assert json.loads((tmp_path / "made/settings.json").read_text()) == shown["settings"]
    around = shown["sensitivity"]
    assert json.loads((tmp_path / "made/settings.sensitivity.json").read_text()) == around
    assert len(around["cells"]) == around["num_cells"] == 7
    cost = around["gradient_evaluations"]
    assert cost > sum(cell["steps"] for cell in around["cells"])  # looks at the curvature
    assert f"sampled 7 settings with 2 chains each: {cost} gradients a chain" in made.stderr
    assert [slope["direction"] for slope in around["slopes"]] == ["epsilon", "nbeta", "gamma"]
    for cell in around["cells"]:
        assert cell["ok"] or cell["reasons"]
        assert cell["nbeta"] == pytest.approx(cell["nbeta_factor"] * shown["settings"]["nbeta"])
    assert "nβ × " in (tmp_path / "made/settings.html").read_text()
    assert {path.suffix for path in (tmp_path / "charts").iterdir()} == {".png", ".svg"}
    read = run(*AUTO, "--settings", "made/settings.json")
    assert read.exit_code == 0, read.output
    console.show(console.sensitivity_table(around))
    console.show(console.slopes_table(around))
    printed = " ".join(re.sub("[│┃]", " ", capsys.readouterr().out).split())
    for cell in around["cells"]:
        assert f"{cell['llc']:.2f} {cell['llc_se']:.2f} {cell['steps']:.0f}" in printed
    for slope in around["slopes"]:
        assert f"{slope['direction']} {slope['slope']:.3f} {slope['slope_se']:.3f}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*PILOT, "--grid-steps", 50), "are of the grid; add --grid"),
        ((*PILOT, "--grid", "--grid-steps", 5), "at least 40 steps of a chain, got 5"),
        ((*PILOT, "--grid", "--grid-cells", "few"), "'few' is not one of axes, corners, full"),
        ((*PILOT[:-1], "page.html", "--grid"), "the picture goes to page.html itself"),
        ((*AUTO, "--draws", 20), "sampler auto chooses draws; give --budget"),
        (("attribute", "decoder", "--train", "x"), "needs MODEL, --train, --query and --out"),
        (("attribute", "decoder", "--from", "run"), "drop MODEL, --train"),
        (("attribute", "--from", "nowhere"), "there is no run here"),
        ((*AUTO, "--nbeta", "some"), "--nbeta must be a number or auto, got 'some'"),
        ((*AUTO, "--budget", 3), "budget must be a whole number"),
        ((*AUTO, "--nbeta", -3), "nbeta must be 'auto' or a finite number"),
        ((*AUTO, "--sampler", "sgld", "--step-size", 1e-5), "give nbeta as a number"),
        ((*AUTO, "--sampler", "baoab", "--nbeta", 3, "--localization", 1), "needs step_size, fric"),
        ((*AUTO, "--settings", "pyproject.toml"), "pyproject.toml"),
        ((*LLC, "--settings", "some.json"), "some.json"),
        (("components", "nowhere/at/all"), "nowhere/at/all"),
        (("view", "nowhere"), "there is no run here"),
        ((*LLC[:1], "nowhere/at/all", *LLC[2:]), "nowhere/at/all"),
        ((*LLC, "--checkpoints", "some"), "--checkpoints must be 'last', 'all' or steps"),
        ((*LLC, "--sampler-option", "friction"), "--sampler-option must be NAME=VALUE"),
        ((*TRAIN, "--schedule", "steep"), "'steep' is not one of constant, cosine, linear"),
        ((*TRAIN, "--data", "corpus:nonsense"), "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_1(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert "pydantic" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(run, command):
    text = run(command, "--help").stdout
    assert f"Example: creode {command}" in text
    readme = (ROOT / "README.md").read_text()
    assert re.search(rf"creode {command}|make {command}", readme)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_says_what_its_help_would_swallow(command):
    """Words in square brackets are markup to the terminal, and are not shown."""
    said = [getattr(option, "help", None) for option in get_command(app).commands[command].params]
    assert any(said)
    for text in filter(None, said):
        assert Text.from_markup(text).plain == text


def test_no_other_command_is_hidden_from_these_tests():
    assert {
        command.name or command.callback.__name__ for command in app.registered_commands
    } == set(COMMANDS)


def test_importing_the_package_loads_nothing_heavy():
    shown = "print(*sys.modules)"
    code = f"import creode, sys; {shown}; import creode.cli, creode.study.loop; {shown}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    package, commands = (set(line.split()) for line in result.stdout.splitlines())
    assert not {"torch", "xarray", "pydantic"} & package
    assert not {"torch._dynamo", "altair", "transformers"} & commands


def test_a_study_of_one_reading_runs_from_its_file(run, tmp_path):
    assert run(*TRAIN).exit_code == 0
    assert run(*LLC).exit_code == 0
    record = json.loads((tmp_path / "run/run.json").read_text())["config"]["study"]
    (tmp_path / "again.json").write_text(json.dumps(record))
    repeated = run("run", "again.json", "--json")
    assert repeated.exit_code == 0, repeated.output
    assert json.loads(repeated.stdout) == json.loads((tmp_path / "run/llc.json").read_text())
    assert (tmp_path / "again/report.html").is_file()


TINY_LOOP = """
behaviour: logs
data: {source: "corpus:brackets,logs", length: 16, limit: 64}
probes:
  logs: {source: corpus:logs, split: test, length: 16, limit: 4}
  brackets: {source: corpus:brackets, split: test, length: 16, limit: 4}
decoder: {layers: 1, width: 8, heads: 2}
training: {steps: 40, batch_size: 8, learning_rate: 1.0e-2, checkpoints: [0, 10, 20, 25, 30, 40]}
sampling:
  sampler: {name: baoab, step_size: 6.0e-3, friction: 60}
  nbeta: 100
  localization: 3000
  chains: 2
  draws: 20
  burnin: 10
  steps_per_draw: 1
  batch_size: 8
  execution: {mode: sequential}
weights: {draws: 150, steps_per_draw: 2}
proof: {seeds: 2, checkpoints: 4}
"""


def test_a_loop_is_planned_and_checked_before_it_runs(run, tmp_path):
    (tmp_path / "study.yaml").write_text(TINY_LOOP)
    planned = run("plan", "study.yaml", "--json")
    assert planned.exit_code == 0, planned.output
    stages = {one["stage"]: one for one in json.loads(planned.stdout)}
    units = {name: one["units"] for name, one in stages.items()}
    assert units == {"model": 1, "development": 6, "response": 2, "weights": 1, "proof": 10}
    assert all(one["seconds"] > 0 and one["disk_bytes"] > 0 for one in stages.values())
    for wrong, message in (
        (TINY_LOOP + "epochs: 3", "epochs: Extra inputs are not permitted"),
        (TINY_LOOP.replace("behaviour: logs", "behaviour: poems"), "is none of the probes"),
        (TINY_LOOP.replace("batch_size: 8, l", "batchsize: 8, l"), "training: batchsize: Extra"),
        (TINY_LOOP.replace("behaviour: logs", ""), "model: Field required"),  # of one reading
        ("- 3", "holds no fields of a study"),
    ):
        (tmp_path / "wrong.yaml").write_text(wrong)
        result = run("run", "wrong.yaml")
        assert result.exit_code == 1, wrong
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.output
        assert not (tmp_path / "wrong/model").exists()


@pytest.mark.slow
def test_a_loop_runs_from_its_file_and_is_viewed_again(run, tmp_path):
    (tmp_path / "study.yaml").write_text(TINY_LOOP)
    made = run("run", "study.yaml", "--json")
    assert made.exit_code == 0, made.output
    assert "5/5" in made.stderr
    records = json.loads(made.stdout)
    assert {one["observable"] for one in records["proof"]} >= {"logs", "brackets"}
    assert json.loads((tmp_path / "study/loop.json").read_text()) == records
    page = (tmp_path / "study/report.html").read_text()
    shown = run("view", "study", "--no-open", "--charts", "charts")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.split()[-1] == "study/report.html"
    assert (tmp_path / "study/report.html").read_text() == page
    assert (tmp_path / "charts/arms_over_seeds.png").is_file()
    table = run("run", "study.yaml")
    assert "What formed when" in table.stdout
    assert run("run", "study.yaml", "--strict").exit_code == 1  # 2 chains of 20 draws


@pytest.mark.slow
def test_the_quick_demo_runs_and_its_study_repeats_it(run, tmp_path):
    result = run("demo", "--quick", "--no-open", "--out", "demo", "--json")
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    told = [one for name in ("stages", "response", "weights", "proof") for one in records[name]]
    assert all(one["ok"] for one in told), [one["reasons"] for one in told]
    (hasten,) = (one for one in records["proof"] if one["observable"] == "dialogue")
    assert hasten["gap_high"] < 0
    assert records["by_domain"][0]["domain"] == "dialogue"
    assert (tmp_path / "demo/report.html").exists()
    again = run("run", "demo/study.yaml", "--out", "demo", "--json")
    assert json.loads(again.stdout) == records
