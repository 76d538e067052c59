"""Interrupted and resumed runs end with the same bytes as one that was not interrupted."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from creode.development import list_checkpoints, load_model, load_weights
from creode.store import StoreError
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import TrainingConfig, checkpoint_name, train

CONFIG = TrainingConfig(
    steps=20, batch_size=4, learning_rate=0.01, schedule="cosine", checkpoints=(0, 3, 8, 20)
)


class Small(nn.Module):
    """Dropout, a moving buffer and tied weights, from fixed values."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        with torch.no_grad():
            self.first.weight.copy_(torch.linspace(-1, 1, 9).reshape(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.drop(torch.tanh(self.norm(self.first(x)))))
        return out


def squares(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return ((model(batch["inputs"]) - batch["targets"]) ** 2).sum(1)


def absolute(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (model(batch["inputs"]) - batch["targets"]).abs().sum(1)


def data() -> dict[str, Tensor]:
    x = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    return {"inputs": x, "targets": x.roll(1, 1)}


class Interruption(KeyboardInterrupt):
    """What ends a run in these tests."""


def interrupt_at(stop: int) -> Callable[[int, int, float], None]:
    def on_step(step: int, total: int, loss: float) -> None:
        if step == stop:
            raise Interruption

    return on_step


def contents(out: Path) -> dict[str, bytes]:
    """Every file but resume.pt, whose zip container is compared by what it holds."""
    files = sorted(p for p in out.rglob("*") if p.is_file() and p.name != "resume.pt")
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("optimizer", "resume_every"), [("AdamW", 0.0), ("SGD", 1e9)])
def test_an_interrupted_run_ends_with_the_same_bytes(
    tmp_path: Path, optimizer: str, resume_every: float
) -> None:
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    config = TrainingConfig(
        steps=20, batch_size=4, learning_rate=0.01, checkpoints=(0, 3, 8, 20), clip_norm=1.0,
        optimizer=optimizer, optimizer_options=options, schedule="linear", warmup_steps=2,
    )  # fmt: skip
    rho = torch.linspace(0, 2, 11)
    whole = train(Small(), squares, data(), config, weights=rho, out=tmp_path / "whole")
    cut = tmp_path / "cut"
    for stop in (2, 6, 7, 13):  # before a checkpoint, between two, twice running, after the third
        with pytest.raises(Interruption):
            train(
                Small(), squares, data(), config, weights=rho, out=cut,
                on_step=interrupt_at(stop), resume_every=resume_every,
            )  # fmt: skip
    resumed = train(Small(), squares, data(), config, weights=rho, out=cut)
    assert same_state(resumed.model.state_dict(), whole.model.state_dict())
    assert torch.equal(resumed.losses, whole.losses)
    assert contents(cut) == contents(tmp_path / "whole")
    in_memory = train(Small(), squares, data(), config, weights=rho)
    assert same_state(in_memory.model.state_dict(), whole.model.state_dict())


def test_a_run_goes_on_from_its_last_record(tmp_path: Path) -> None:
    for resume_every, first in ((0.0, 13), (1e9, 9)):  # else from the checkpoint at 8
        out = tmp_path / str(first)
        with pytest.raises(Interruption):
            train(
                Small(), squares, data(), CONFIG, out=out, on_step=interrupt_at(13),
                resume_every=resume_every,
            )  # fmt: skip
        told: list[tuple[int, int, float]] = []
        train(Small(), squares, data(), CONFIG, out=out, on_step=lambda *s, to=told: to.append(s))
        assert [step for step, _, _ in told] == list(range(first, 21))


def test_a_finished_run_is_read_back_and_not_repeated(tmp_path: Path) -> None:
    done = train(Small(), squares, data(), CONFIG, out=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = train(Small(), squares, data(), CONFIG, out=tmp_path, on_step=interrupt_at(1))
    assert same_state(again.model.state_dict(), done.model.state_dict())
    assert torch.equal(again.losses, done.losses)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_the_directory_holds_what_was_done(tmp_path: Path) -> None:
    start = Small()
    result = train(start, squares, data(), CONFIG, out=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20))
    assert [line["loss"] for line in lines] == result.losses.tolist()
    assert [line["lr"] for line in lines] == [CONFIG.learning_rate_at(s) for s in range(20)]
    checkpoints = list_checkpoints(tmp_path)
    assert [c.step for c in checkpoints] == [0, 3, 8, 20]
    for checkpoint, expected in ((checkpoints[0], start), (checkpoints[-1], result.model)):
        read = Small()
        with torch.no_grad():
            read.first.weight.zero_()
        load_weights(read, checkpoint.path)
        assert same_state(read.state_dict(), expected.state_dict())
    shorter = TrainingConfig(
        steps=8, batch_size=4, learning_rate=0.01, checkpoints=(0, 8), schedule="constant"
    )
    longer = TrainingConfig(
        steps=20, batch_size=4, learning_rate=0.01, checkpoints=(8,), schedule="constant"
    )
    train(start, squares, data(), shorter, out=tmp_path / "a")
    train(start, squares, data(), longer, out=tmp_path / "b")
    names = [tmp_path / run / checkpoint_name(8) / "model.safetensors" for run in "ab"]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": {"learning_rate": 0.02}}, "config.learning_rate was 0.01, now 0.02"),
        ({"config": {"optimizer_options": {"eps": 1e-6}}}, r"config.optimizer_options was \{\}"),
        ({"config": {"checkpoints": 5}}, r"config.checkpoints was \[0, 3, 8, 20\], now 5"),
        ({"data": True}, "data.fingerprint was"),
        ({"model": True}, "model.fingerprint was"),
        ({"weights": True}, "weights.fingerprint was None, now"),
        ({"frozen": True}, r"model.frozen was \[\], now \['norm.bias'\]"),
        ({"task": absolute}, "task.fingerprint was"),
    ],
)
def test_a_directory_of_another_run_is_refused(tmp_path: Path, changed, message: str) -> None:
    with pytest.raises(Interruption):
        train(Small(), squares, data(), CONFIG, out=tmp_path, on_step=interrupt_at(5))
    before = contents(tmp_path)
    model, samples = Small(), data()
    base = {"steps": 20, "batch_size": 4, "learning_rate": 0.01, "schedule": "cosine"}
    config = TrainingConfig(**(base | {"checkpoints": (0, 3, 8, 20)} | changed.get("config", {})))
    if "data" in changed:
        samples["inputs"][3, 1] += 1e-6
    if "model" in changed:
        with torch.no_grad():
            model.first.weight[0, 0] += 1e-6
    if "frozen" in changed:
        model.norm.bias.requires_grad_(False)
    weights = torch.linspace(0, 1, 11) if "weights" in changed else None
    task = changed.get("task", squares)
    with pytest.raises(ValueError, match=message) as raised:
        train(model, task, samples, config, weights=weights, out=tmp_path)
    assert str(raised.value).count(" was ") == 1
    assert contents(tmp_path) == before


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not empty and holds no training run"):
        train(Small(), squares, data(), CONFIG, out=tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        train(Small(), squares, data(), CONFIG, out=tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_log_that_was_cut_is_found(tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        train(Small(), squares, data(), CONFIG, out=tmp_path, on_step=interrupt_at(10))
    log = tmp_path / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(ValueError, match="holds 4 steps, the run stopped at 8"):
        train(Small(), squares, data(), CONFIG, out=tmp_path)


def root(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """A finite loss whose gradient is not."""
    return (model(batch["inputs"]) * 0).sqrt().sum(1)


@pytest.mark.parametrize(
    ("task", "message"), [(squares, "the loss is"), (root, "a weight is not finite after 1 of 50")]
)
def test_a_run_that_diverges_keeps_its_checkpoints(tmp_path: Path, task, message: str) -> None:
    config = TrainingConfig(
        steps=50,
        batch_size=11,
        learning_rate=1e25,
        optimizer="SGD",
        checkpoints=tuple(range(51)),
    )
    with pytest.raises(FloatingPointError, match=rf"{message}.*Earlier checkpoints are kept"):
        train(Small(), task, data(), config, out=tmp_path)
    kept = list_checkpoints(tmp_path)
    assert kept[0].step == 0
    assert len(kept) < 50
    for checkpoint in kept:
        model = Small()
        load_weights(model, checkpoint.path)
        assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        assert math.isfinite(json.loads(line)["loss"])


def next_token(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    out = model(batch["input_ids"])
    logits = out if isinstance(out, Tensor) else out.logits
    ids = batch["input_ids"]
    return -logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]


TOKENS = {"input_ids": torch.arange(48).reshape(6, 8) % 7}
TWO = TrainingConfig(steps=4, batch_size=2, learning_rate=0.01, checkpoints=(2, 4))


def test_checkpoints_of_a_decoder_load_as_models(tmp_path: Path) -> None:
    config = DecoderConfig(vocab_size=7, d_model=8, num_layers=1, num_heads=2, context_length=8)
    result = train(Decoder(config), next_token, TOKENS, TWO, out=tmp_path)
    read = load_model(list_checkpoints(tmp_path)[-1].path)
    assert torch.equal(read(TOKENS["input_ids"]), result.model(TOKENS["input_ids"]))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_checkpoints_of_transformers_models_load_there(tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "llama":
            model = transformers.LlamaForCausalLM(
                transformers.LlamaConfig(
                    vocab_size=7, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
                    num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
                )
            )  # fmt: skip
        else:
            model = transformers.GPT2LMHeadModel(
                transformers.GPT2Config(vocab_size=7, n_embd=8, n_layer=1, n_head=2, n_positions=8)
            )
    result = train(model, next_token, TOKENS, TWO, out=tmp_path)
    ids = TOKENS["input_ids"]
    path = list_checkpoints(tmp_path)[-1].path
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path)
    assert type(theirs) is type(model)
    assert torch.equal(theirs(ids).logits, result.model(ids).logits)
    assert torch.equal(load_model(path)(ids).logits, result.model(ids).logits)
    assert not torch.equal(theirs(ids).logits, model.eval()(ids).logits)
    load_weights(model, path)
    assert torch.equal(model(ids).logits, result.model(ids).logits)


SCRIPT = """
import sys, time, torch
torch.set_num_threads(1)  # as in this process: the number of threads changes rounding
sys.path.insert(0, {tests!r})
from test_training_directory import CONFIG, Small, data, squares
from creode.training import train
train(Small(), squares, data(), CONFIG, out=sys.argv[1], resume_every=0.0,
      on_step=lambda step, total, loss: (print(step, flush=True), time.sleep(0.01)))
"""


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    reached = 0
    for stop in (1, 5, 9, 14):
        run = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "killed")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert run.stdout is not None
        for line in run.stdout:
            reached = int(line)
            if reached >= stop:
                break
        time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        run.stdout.close()
    assert 14 <= reached < 20
    resumed = train(Small(), squares, data(), CONFIG, out=tmp_path / "killed")
    whole = train(Small(), squares, data(), CONFIG, out=tmp_path / "whole")
    assert same_state(resumed.model.state_dict(), whole.model.state_dict())
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    def second(step: int, total: int, loss: float) -> None:
        with pytest.raises(StoreError, match="is writing this run"):
            train(Small(), squares, data(), CONFIG, out=tmp_path)
        raise Interruption

    for _ in range(2):  # an interrupted run lets go
        with pytest.raises(Interruption):
            train(Small(), squares, data(), CONFIG, out=tmp_path, on_step=second)
