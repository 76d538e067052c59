"""A saver in a plain loop: whole checkpoints, readings that change nothing, and going on."""
# ruff: noqa: NPY002 (the global state is what must not be disturbed)

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from creode.development import (
    Alarm,
    AlarmConfig,
    CheckpointSaver,
    Reading,
    alarms,
    list_checkpoints,
    load_model,
    load_readings,
    load_weights,
)
from creode.development.undisturbed import undisturbed
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.training import log_spaced

STEPS = log_spaced(1, 12, 5, zero=True)


class Net(nn.Module):
    """Dropout, batch norm and a tied weight: everything a reading could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self.norm(self.first(x))))


def train(
    folder: Path | None, read=None, *, stop: int = 12, resume: bool = False, **options
) -> tuple[Net, torch.optim.Optimizer, list]:
    """A loop on torch's, numpy's and Python's random numbers, gradients kept between steps."""
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    saver, start, events = None, 0, []
    if folder is not None:
        beside = {"optimizer": optimizer}
        saver = CheckpointSaver(
            model, folder, STEPS, read=read, beside=beside, resume=resume, **options
        )
        start = saver.restore()
    for step in range(start, stop + 1):
        if saver:
            events += saver(step)
        if step == stop:
            break
        x = torch.randn(8, 4) + float(np.random.normal()) + random.random()
        optimizer.zero_grad(set_to_none=False)
        model(x).square().mean().backward()
        optimizer.step()
    return model, optimizer, events


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return all(torch.equal(left[k], right[k]) for k in left)


def wreck(model: nn.Module, step: int) -> dict[str, Reading]:
    """A reading as rude as can be."""
    value = float(torch.rand(())) + float(np.random.random()) + random.random()
    for _ in range(step):
        random.random()
        torch.rand(3)
        np.random.random()
    model.eval().double().requires_grad_(False)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    model.requires_grad_(True).train()
    model(torch.ones(3, 4, dtype=torch.float64)).sum().backward()
    model.first.weight = nn.Parameter(torch.ones(4, 4))
    model.eval()
    return {"loss": Reading(value), "llc": Reading(value, 0.1)}


@pytest.mark.parametrize("read", [None, wreck])
def test_training_ends_with_the_same_bits_whatever_is_read(tmp_path: Path, read) -> None:
    plain, plain_optimizer, _ = train(None)
    model, optimizer, _ = train(tmp_path, read)
    assert same(model, plain)
    assert model.second.weight is model.first.weight
    assert torch.equal(model.first.weight.grad, plain.first.weight.grad)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert torch.rand(()) == random_after_plain()
    for own, other in zip(optimizer.state.values(), plain_optimizer.state.values(), strict=True):
        assert all(torch.equal(own[k], other[k]) for k in own)


def random_after_plain() -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        train(None)
        return torch.rand(())


def test_a_reading_that_fails_changes_nothing_either() -> None:
    torch.manual_seed(0)
    model = Net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()

    def fail() -> None:
        with undisturbed(model, 5):
            wreck(model, 1)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.first.weight.grad is None


def test_a_reading_can_be_repeated_by_itself(tmp_path: Path) -> None:
    train(tmp_path / "a", wreck)
    torch.manual_seed(99)
    model = Net()
    saver = CheckpointSaver(model, tmp_path / "b", [6], read=wreck)
    saver(6)
    a, b = load_readings(tmp_path / "a"), load_readings(tmp_path / "b")
    assert a["llc"].sel(checkpoint=6) == b["llc"].sel(checkpoint=6)
    assert len(set(a["llc"].values.tolist())) == len(STEPS)


def test_checkpoints_are_found_and_are_those_of_their_steps(tmp_path: Path) -> None:
    train(tmp_path)
    found = list_checkpoints(tmp_path)
    assert [checkpoint.step for checkpoint in found] == STEPS
    for checkpoint in found:
        held, then = Net(), train(None, stop=checkpoint.step)[0]
        load_weights(held, checkpoint.path)
        assert same(held, then)


def test_models_that_write_themselves_are_loaded_by_their_own_loader(tmp_path: Path) -> None:
    shape = {"vocab_size": 12, "d_model": 8, "num_layers": 1, "num_heads": 2, "context_length": 6}
    decoder = Decoder(DecoderConfig(**shape), seed=3)
    CheckpointSaver(decoder, tmp_path / "decoder", [0])(0)
    loaded = load_model(list_checkpoints(tmp_path / "decoder")[0].path)
    assert isinstance(loaded, Decoder)
    assert same(loaded, decoder)
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=6)
    model = transformers.GPT2LMHeadModel(config)
    CheckpointSaver(model, tmp_path / "gpt2", [7])(7)
    (checkpoint,) = list_checkpoints(tmp_path / "gpt2")
    assert (checkpoint.path / "model.safetensors").is_file()
    assert same(load_model(checkpoint.path), model)


class Killed(BaseException):
    pass


def kill_at(step: int) -> Callable[[nn.Module, int], dict[str, Reading]]:
    def read(model: nn.Module, now: int) -> dict[str, Reading]:
        if now == step:
            raise Killed
        return wreck(model, now)

    return read


@pytest.mark.parametrize("at", STEPS[1:])
def test_interrupted_and_resumed_is_as_if_it_never_was(tmp_path: Path, at: int) -> None:
    whole, _, _ = train(tmp_path / "whole", wreck)
    with pytest.raises(Killed):
        train(tmp_path / "cut", kill_at(at))
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cut/step_*/model.safetensors")}
    assert len(times) == STEPS.index(at) + 1
    again, _, _ = train(tmp_path / "cut", wreck, resume=True)
    assert same(again, whole)
    assert {p: p.stat().st_mtime_ns for p in times} == times  # not written again
    texts = [(tmp_path / name / "readings.jsonl").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    for one, other in zip(
        list_checkpoints(tmp_path / "whole"), list_checkpoints(tmp_path / "cut"), strict=True
    ):
        first, second = Net(), Net()
        load_weights(first, one.path)
        load_weights(second, other.path)
        assert same(first, second)


def test_an_interrupted_save_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("creode.models.os.fsync", cut)
        with pytest.raises(Killed):
            train(tmp_path)
    assert list(tmp_path.glob("step_*")) == []
    train(tmp_path)
    assert [c.step for c in list_checkpoints(tmp_path)] == STEPS


def staircase(model: nn.Module, step: int) -> dict[str, object]:
    rng = np.random.default_rng(step)
    value = 20.0 + 0.5 * rng.standard_normal() + 30.0 * (step > 40)
    return {"loss": 1.0 + 1e-4 * rng.random(), "llc": (value, 0.5), "acc": 0.5}


def test_an_alarm_is_fed_and_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    heard: list[object] = []

    def go(folder: Path, steps: range, resume: bool) -> Alarm:
        alarm = Alarm(AlarmConfig(drift=0, wander=(0.0,)))
        saver = CheckpointSaver(
            Net(), folder, range(60), read=staircase, alarm=alarm, on_event=heard.append,
            resume=resume,
        )  # fmt: skip
        for step in steps:
            saver(step)
        return alarm

    whole = go(tmp_path / "whole", range(60), False)
    assert [event.kind for event in whole.events] == ["silent"]
    assert heard == whole.events
    go(tmp_path / "cut", range(30), False)
    again = go(tmp_path / "cut", range(30, 60), True)
    assert again.to_json() == whole.to_json()
    table = alarms(load_readings(tmp_path / "cut"), whole.config)
    assert table["step"].values.tolist() == [whole.events[0].step]
    assert table["since"].item() == 41


def test_readings_on_disk_survive_a_cut_line(tmp_path: Path) -> None:
    def read(model: nn.Module, step: int) -> dict[str, object]:
        return {"loss": 0.5, "llc": (float("nan") if step else 2.0, 0.1, step < 5)}

    train(tmp_path, read)
    file = tmp_path / "readings.jsonl"
    lines = file.read_text().splitlines()
    assert json.loads(lines[1]) == {
        "step": 1, "loss": 0.5, "llc": None, "llc_se": 0.1, "llc_ok": True
    }  # fmt: skip
    stored = load_readings(tmp_path)
    assert stored["checkpoint"].values.tolist() == STEPS
    assert stored["loss"].values.tolist() == [0.5] * len(STEPS)
    assert set(stored.data_vars) == {"loss", "llc", "llc_se", "llc_ok"}
    assert np.isnan(stored["llc"].values[1:]).all()
    assert stored["llc_ok"].values.tolist() == [step < 5 for step in STEPS]
    with file.open("a") as handle:
        handle.write('{"step": 99, "lo')
    assert load_readings(file).identical(stored)
    assert file.read_text().splitlines() == lines
    file.write_text("nonsense\n")
    with pytest.raises(ValueError, match="line 1 is no row of readings"):
        load_readings(file)
    file.unlink()
    with pytest.raises(ValueError, match="no readings there"):
        load_readings(tmp_path)


def test_what_would_mix_runs_or_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "a", wreck)
    with pytest.raises(ValueError, match="last is step_000012; give resume=True"):
        train(tmp_path / "a")
    model = Net()
    with pytest.raises(
        ValueError, match=r"steps must be whole numbers ≥ 0, at least one, got \[\]"
    ):
        CheckpointSaver(model, tmp_path / "b", [])
    with pytest.raises(ValueError, match="an alarm needs readings"):
        CheckpointSaver(model, tmp_path / "b", [1], alarm=Alarm())
    with pytest.raises(ValueError, match="restore needs what was kept"):
        CheckpointSaver(model, tmp_path / "b", [1]).restore()
    beside = {"schedule": torch.optim.SGD(model.parameters(), lr=1.0)}
    other = CheckpointSaver(model, tmp_path / "a", [1], beside=beside, resume=True)
    with pytest.raises(ValueError, match=r"keeps \['optimizer'\] .* asked for are \['schedule'\]"):
        other.restore()
    bad = CheckpointSaver(model, tmp_path / "c", [1], read=lambda m, s: {"step": 1.0})
    with pytest.raises(ValueError, match="step: the name of two things"):
        bad(1)
