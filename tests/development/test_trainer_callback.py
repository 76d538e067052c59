"""The saver under transformers' Trainer."""
# ruff: noqa: NPY002 (the global state is what must not be disturbed)

from pathlib import Path

import numpy as np
import pytest
import torch

from creode.development import (
    Alarm,
    CheckpointCallback,
    Reading,
    list_checkpoints,
    load_model,
    load_readings,
)
from creode.training import log_spaced

transformers = pytest.importorskip("transformers")
STEPS = log_spaced(1, 8, 4, zero=True)


def trainer(folder: Path, *callbacks: object, save: bool = False):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=6)
    model = transformers.GPT2LMHeadModel(config)  # with dropout
    ids = torch.arange(60).reshape(10, 6) % 12
    rows = [{"input_ids": row, "labels": row} for row in ids]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=8, per_device_train_batch_size=2, report_to=[],
        save_strategy="steps" if save else "no", save_steps=3, use_cpu=True, disable_tqdm=True,
        logging_strategy="no", learning_rate=0.01, seed=1,
    )  # fmt: skip
    return transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=list(callbacks)
    )


def read(model: torch.nn.Module, step: int) -> dict[str, object]:
    model.eval()
    torch.rand(step + 1)
    np.random.random()
    batch = torch.arange(6)[None]
    loss = model(batch, labels=batch).loss
    loss.backward()
    return {"loss": float(loss.detach()), "llc": Reading(float(torch.rand(())), 0.1)}


def stop_at(step: int) -> object:
    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop |= state.global_step == step

    return Stop()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_trainer_saves_and_reads_at_log_spaced_steps_and_trains_as_without(
    tmp_path: Path,
) -> None:
    plain = trainer(tmp_path / "plain")
    plain.train()
    alarm = Alarm()
    callback = CheckpointCallback(tmp_path / "kept", STEPS, read=read, alarm=alarm)
    watched = trainer(tmp_path / "out", callback)
    watched.train()
    assert same(watched.model, plain.model)
    found = list_checkpoints(tmp_path / "kept")
    assert [checkpoint.step for checkpoint in found] == STEPS
    assert same(load_model(found[-1].path), plain.model)
    assert not same(load_model(found[-2].path), plain.model)
    readings = load_readings(tmp_path / "kept")
    assert readings["checkpoint"].values.tolist() == STEPS
    assert alarm.last_step == STEPS[-1]


def test_a_trainer_that_resumes_goes_on_in_the_same_directory(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", CheckpointCallback(tmp_path / "a", STEPS, read=read))
    whole.train()
    callback = CheckpointCallback(tmp_path / "b", STEPS, read=read)
    first = trainer(tmp_path / "cut", callback, stop_at(5), save=True)
    first.train()
    assert [c.step for c in list_checkpoints(tmp_path / "b")] == STEPS[:4]
    callback = CheckpointCallback(tmp_path / "b", STEPS, read=read, resume=True)
    again = trainer(tmp_path / "cut", callback, save=True)
    again.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert [c.step for c in list_checkpoints(tmp_path / "b")] == STEPS
    assert load_readings(tmp_path / "b").identical(load_readings(tmp_path / "a"))
    last = [load_model(list_checkpoints(tmp_path / name)[-1].path) for name in ("a", "b")]
    assert same(*last)
    assert same(last[0], whole.model)


def test_models_spread_over_processes_are_refused(tmp_path: Path) -> None:
    callback = CheckpointCallback(tmp_path, STEPS)
    with pytest.raises(ValueError, match="spread over processes"):
        callback.on_train_begin(
            type("Arguments", (), {"fsdp": ["full_shard"]})(), None, None, model=None
        )
