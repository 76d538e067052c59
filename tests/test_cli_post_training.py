"""Post-training on the command line: trained on, read, attributed; what was left out is told."""

import json

import pytest
import torch
from typer.testing import CliRunner

from creode.cli import app
from creode.models import save_model
from creode.scalar_head import ScalarHead
from creode.study.config import DataConfig, StudyConfig
from creode.study.post_training import begin
from creode.testbeds import Decoder, DecoderConfig

WORDS = ("sun", "tree", "blue")
SAMPLING = (
    "--sampler", "baoab", "--step-size", 0.01, "--sampler-option", "friction=20", "--nbeta", 30,
    "--localization", 100, "--draws", 12, "--burnin", 5, "--steps-per-draw", 1, "--chains", 2,
    "--batch-size", 8, "--length", 24, "--mode", "sequential",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a decoder, pairs of which one says nothing, and demonstrations."""
    folder = tmp_path_factory.mktemp("post")
    shape = DecoderConfig(
        vocab_size=257, d_model=8, num_layers=1, num_heads=2, context_length=24, init_std=0.2
    )
    save_model(Decoder(shape), folder / "base")
    pairs = [
        {"prompt": f"say {a}: ", "chosen": a, "rejected": b, "law": law}
        for a in WORDS
        for b in WORDS
        if a != b
        for law in ("obey", "brief")
    ]
    same = {"prompt": "x", "chosen": "a", "rejected": "a", "law": "obey"}
    demos = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    for name, rows in {"pairs": [*pairs, same], "demos": demos}.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def run(place, *words):
    return CliRunner().invoke(app, [str(word).replace("@", f"{place}/") for word in words])


@pytest.mark.parametrize(
    ("task", "data"), [("sft", "demos"), ("dpo", "pairs"), ("reward", "pairs")]
)
def test_training_goes_on_from_a_model(place, task, data):
    out = run(
        place, "train", "--model", "@base", "--task", task, "--data", f"@{data}.jsonl",
        "--length", 24, "--steps", 12, "--checkpoints", 2, "--learning-rate", 0.01,
        "--batch-size", 12, "--out", f"@{task}", "--json",
    )  # fmt: skip
    assert out.exit_code == 0, out.output
    losses = [json.loads(line)["loss"] for line in (place / task / "log.jsonl").open()]
    assert losses[-1] < 0.9 * losses[0]
    assert json.loads(out.stdout)["sequences"] == 12
    told = "warning: " in out.stderr and "both answers are the same (row 12)" in out.stderr
    assert told == (data == "pairs")
    assert "warnings.warn" not in out.stderr


def test_pairs_are_read_and_attributed(place):
    read = run(
        place, "llc", "@base", "--task", "dpo", "--reference", "@base", "--principle", "law",
        "--data", "@pairs.jsonl", *SAMPLING, "--out", "@llc", "--json",
    )  # fmt: skip
    assert read.exit_code == 0, read.output
    found = json.loads(read.stdout)[0]
    assert found["init_loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2 at the reference
    asked = run(
        place, "attribute", "@base", "--task", "dpo", "--reference", "@base", "--train",
        "@pairs.jsonl", "--query", "@pairs.jsonl", "--query-limit", 1, *SAMPLING,
        "--out", "@attributed", "--json",
    )  # fmt: skip
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout)[0]["text"] == "say sun: sun ✗ tree"


def test_what_does_not_fit_is_refused(place):
    def refused(*words):
        out = run(place, *words)
        assert out.exit_code == 1
        return " ".join(out.stderr.split())

    pairs = ("--data", "@pairs.jsonl", "--out", "@none")
    assert "give it as reference" in refused("llc", "@base", "--task", "dpo", *pairs)
    with_reference = ("llc", "@base", "--reference", "@base", "--task", "reward", *pairs)
    assert "give none with other tasks" in refused(*with_reference)
    assert "creode.ScalarHead.of" in refused("llc", "@base", "--task", "reward", *SAMPLING, *pairs)
    assert "give it with --model" in refused("train", "--task", "sft", *pairs)
    assert "no task 'ppo'" in refused("train", "--model", "@base", "--task", "ppo", *pairs)
    missing = refused("train", "--model", "@base", "--task", "sft", *pairs)
    assert "demonstrations need 'messages', or 'prompt' and 'completion'" in missing


def test_principles_become_domains_and_are_of_rows_alone(place):
    data = DataConfig(source=f"{place}/pairs.jsonl", principle="law", length=24)
    study = StudyConfig(
        model=f"{place}/base", task="dpo", reference=f"{place}/base", data=data,
        sampler={"name": "baoab", "step_size": 0.1, "friction": 1.0}, nbeta=1, localization=1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="both answers are the same"):
        samples = study.load(data, study.model)
    assert samples.domain_names == ("brief", "obey")
    assert samples.columns["ref_chosen_logps"].shape == (12,)
    with pytest.raises(ValueError, match="principle names a column of demonstrations"):
        DataConfig(source="corpus:code", principle="law").load(study.model)


@pytest.mark.filterwarnings("ignore::creode.data.ExcludedWarning")
def test_a_training_begins_with_what_its_task_needs(place):
    model = Decoder.load(place / "base")
    pairs = DataConfig(source=f"{place}/pairs.jsonl", length=24)
    began = begin("reward", model, pairs, place / "base")
    assert isinstance(began.model, ScalarHead)
    head = begin("reward", began.model, pairs, place / "base").model
    assert head is began.model
    own = begin("dpo", model, pairs, place / "base").samples
    other = Decoder(model.config, seed=5)
    save_model(other, place / "other")
    given = begin("dpo", model, pairs, place / "base", str(place / "other")).samples
    assert not torch.equal(own.columns["ref_chosen_logps"], given.columns["ref_chosen_logps"])
    with pytest.raises(ValueError, match="only task 'dpo' compares with a reference"):
        begin("sft", model, pairs, place / "base", str(place / "other"))
