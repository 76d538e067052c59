"""Weights under transformers' Trainer against the plain trainer and a gradient by hand."""

import copy
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from creode.data import Samples, as_samples
from creode.patterning import SampleWeights, TokenWeights, TrainerWeights
from creode.tasks import DPO, Classification, NextToken, with_reference
from creode.training import TrainingConfig, train

transformers = pytest.importorskip("transformers")
NUM, LENGTH, VOCABULARY = 6, 8, 11


class Weighted(TrainerWeights, transformers.Trainer):
    """What a user writes."""


def language():
    """Sequences of which some tokens are no targets: more in some than in others."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (NUM, LENGTH), generator=generator)
    dropped = torch.rand(ids.shape, generator=generator) < torch.linspace(0, 0.8, NUM)[:, None]
    labels = ids.masked_fill(dropped, -100)
    labels[:, 1] = ids[:, 1]
    return Samples(columns={"input_ids": ids, "labels": labels}, source="six")


def model(kind="LlamaForCausalLM", **more):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=LENGTH, pad_token_id=None, **more,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def of_samples(data):
    rho = np.array([0.0, 0.5, 0.5, 1.0, 1.5, 2.5])
    return SampleWeights(values=rho, fingerprint=data.fingerprint())


def of_tokens(data):
    mask = NextToken().mask(data.columns).numpy()
    rho = np.where(mask, np.random.default_rng(0).gamma(2.0, size=mask.shape), np.nan)
    return TokenWeights(values=rho / np.nanmean(rho), fingerprint=data.fingerprint())


def arguments(folder, **more):
    given = {
        "output_dir": str(folder), "max_steps": 3, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3, "optim": "sgd", "learning_rate": 0.5,
        "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "report_to": [], "use_cpu": True,
        "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
    } | more  # fmt: skip
    return transformers.TrainingArguments(**given)


def plain(start, task, data, weights, steps=3):
    config = TrainingConfig(steps=steps, batch_size=NUM, learning_rate=0.5, optimizer="SGD")
    return train(start, task, data, config, weights=weights.tensor()).model


def assert_same(one, other, **tolerance):
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, **{"rtol": 1e-5, "atol": 1e-6} | tolerance)


@pytest.mark.parametrize("make", [of_samples, of_tokens])
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_three_steps_are_those_of_the_plain_trainer(tmp_path, make, batch):
    """Whatever the accumulation, and the order of samples within a step."""
    data, start = language(), model()
    weights = make(data)
    asked = arguments(
        tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=6 // batch
    )
    trainer = Weighted(model=copy.deepcopy(start), args=asked, train_dataset=data, weights=weights)
    trainer.train()
    expected = plain(start, NextToken(), data, weights)
    assert_same(trainer.model, expected)
    bare = plain(start, NextToken(), data, SampleWeights(values=np.ones(6), fingerprint=""))
    with pytest.raises(AssertionError):
        assert_same(bare, expected)


def test_the_gradient_is_that_of_a_hand(tmp_path):
    """One step of SGD at rate 1 moves the weights by −Σ ρ ∇ℓ/Σ c."""
    data, start = language(), model().double()
    weights = of_tokens(data)
    asked = arguments(tmp_path, max_steps=1, learning_rate=1.0)
    trainer = Weighted(model=copy.deepcopy(start), args=asked, train_dataset=data, weights=weights)
    trainer.train()
    ids, labels = data.columns["input_ids"], data.columns["labels"]
    total, count = 0.0, 0
    log_p = start(ids).logits.log_softmax(-1)
    for i, t in itertools.product(range(NUM), range(LENGTH - 1)):
        if labels[i, t + 1] != -100:
            total = total - weights.values[i, t] * log_p[i, t, ids[i, t + 1]]
            count += 1
    gradient = torch.autograd.grad(total / count, list(start.parameters()))
    for before, after, g in zip(
        start.parameters(), trainer.model.parameters(), gradient, strict=True
    ):
        torch.testing.assert_close(before - after, g, rtol=1e-6, atol=1e-9)


def test_a_data_set_of_hugging_face_with_columns_nobody_uses(tmp_path):
    """And batches padded to their longest, whose weights are cut with them."""
    from datasets import Dataset

    data, start = language(), model()
    lengths = torch.tensor([3, 4, 5, 6, 7, 8])
    real = torch.arange(LENGTH) < lengths[:, None]
    padded = Samples(
        columns={"input_ids": data.columns["input_ids"] * real, "attention_mask": real.long()}
    )
    ragged = Dataset.from_dict(
        {
            "input_ids": [
                row[:n].tolist() for row, n in zip(data.columns["input_ids"], lengths, strict=True)
            ],
            "note": list("abcdef"),
        }
    )

    def collate(rows):
        assert set(rows[0]) == {"input_ids"}
        longest = max(len(row["input_ids"]) for row in rows)
        out = {"input_ids": [], "attention_mask": []}
        for row in rows:
            gap = longest - len(row["input_ids"])
            out["input_ids"].append(row["input_ids"] + [0] * gap)
            out["attention_mask"].append([1] * len(row["input_ids"]) + [0] * gap)
        return {name: torch.tensor(column) for name, column in out.items()}

    for weights in (of_samples(padded), of_tokens(padded)):
        trainer = Weighted(
            model=copy.deepcopy(start), args=arguments(tmp_path), train_dataset=ragged,
            data_collator=collate, weights=weights, samples=padded,
        )  # fmt: skip
        trainer.train()
        assert_same(trainer.model, plain(start, NextToken(), padded, weights))


def test_classification(tmp_path):
    from datasets import Dataset

    ids = language().columns["input_ids"]
    table = Dataset.from_dict({"input_ids": ids.tolist(), "labels": [0, 1, 2, 0, 1, 2]})
    data, start = as_samples(table), model("LlamaForSequenceClassification", num_labels=3)
    start.config.pad_token_id = 0
    weights = of_samples(data)
    trainer = Weighted(
        model=copy.deepcopy(start), args=arguments(tmp_path), train_dataset=table, weights=weights,
        task=Classification(),
    )  # fmt: skip
    trainer.train()
    assert_same(trainer.model, plain(start, Classification(), data, weights))


@pytest.mark.parametrize("batch", [2, 6])
def test_preferences(tmp_path, batch):
    """Columns that the model's forward does not name reach the task."""
    noise = torch.Generator().manual_seed(1)
    columns = {}
    for side in ("chosen", "rejected"):
        ids = torch.randint(0, VOCABULARY, (NUM, LENGTH), generator=noise)
        labels = ids.clone()
        labels[:, :3] = -100
        columns |= {f"{side}_input_ids": ids, f"{side}_attention_mask": torch.ones_like(ids),
                    f"{side}_labels": labels}  # fmt: skip
    data, start = with_reference(Samples(columns=columns), model()), model()
    torch.nn.init.normal_(start.lm_head.weight, generator=noise)
    weights = of_samples(data)
    asked = arguments(
        tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=6 // batch
    )
    trainer = Weighted(
        model=copy.deepcopy(start), args=asked, train_dataset=data, weights=weights, task=DPO()
    )
    trainer.train()
    assert_same(trainer.model, plain(start, DPO(), data, weights))


def test_evaluation_is_the_trainer_s_own(tmp_path):
    data, start = language(), model()
    rows = [{k: v[i] for k, v in data.columns.items()} for i in range(NUM)]
    asked = arguments(tmp_path)
    weighted = Weighted(
        model=start, args=asked, train_dataset=data, eval_dataset=rows, weights=of_tokens(data)
    )
    own = transformers.Trainer(model=start, args=asked, eval_dataset=rows)
    assert weighted.evaluate()["eval_loss"] == own.evaluate()["eval_loss"]


def test_samples_may_be_drawn_by_weight(tmp_path):
    data = language()
    seen = []

    def collate(rows):
        seen.extend(tuple(row["input_ids"].tolist()) for row in rows)
        return transformers.default_data_collator(rows)

    asked = arguments(tmp_path, max_steps=60, learning_rate=0.0, seed=3)
    trainer = Weighted(
        model=model(), args=asked, train_dataset=data, data_collator=collate,
        weights=of_samples(data), by="sampling",
    )  # fmt: skip
    trainer.train()
    rows = [tuple(row.tolist()) for row in data.columns["input_ids"]]
    counts = np.array([seen.count(row) for row in rows])
    shares = counts / counts.sum()
    expected = of_samples(data).values / NUM
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-9) / counts.sum())
    assert counts.sum() >= 360
    assert counts[0] == 0
    assert (abs(shares - expected) < 4 * error).all()


BY_TWO = """
import torch
import test_trainer_weights as cases

data, start = cases.language(), cases.model()
for make in (cases.of_samples, cases.of_tokens):
    asked = cases.arguments(
        "out", per_device_train_batch_size=1, gradient_accumulation_steps=3, disable_tqdm=True
    )
    assert asked.world_size == 2
    model = cases.copy.deepcopy(start)
    cases.Weighted(model=model, args=asked, train_dataset=data, weights=make(data)).train()
    cases.assert_same(model, cases.plain(start, cases.NextToken(), data, make(data)))
"""


@pytest.mark.slow
def test_two_processes_make_the_same_steps(tmp_path):
    (tmp_path / "by_two.py").write_text(BY_TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "by_two.py"]
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, [*sys.path, here, here.parent]))
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_would_train_on_something_else_is_refused(tmp_path):
    data = language()
    weights = of_samples(data)

    def make(**changes):
        given = {"model": model(), "args": arguments(tmp_path), "train_dataset": data,
                 "weights": weights} | changes  # fmt: skip
        return Weighted(**given)

    other = Samples(columns={"input_ids": data.columns["input_ids"].flip(0)}, source="turned")
    rows = [{k: v[i] for k, v in data.columns.items()} for i in range(NUM)]
    for changes, words in (
        ({"train_dataset": other}, "made for other samples than those of turned"),
        ({"train_dataset": rows[:5], "samples": data}, "has 5 rows and the weights are of 6"),
        ({"train_dataset": iter(rows)}, "is a stream"),
        ({"by": "order"}, "'loss' or 'sampling'"),
        ({"weights": of_tokens(data), "by": "sampling"}, "tokens are not drawn one by one"),
        ({"args": arguments(tmp_path, label_smoothing_factor=0.1)}, "label_smoothing_factor"),
        ({"compute_loss_func": lambda *a, **k: None}, "compute_loss_func"),
    ):
        with pytest.raises(ValueError, match=words):
            make(**changes)
    negative = SampleWeights(
        values=2 - weights.values.astype(float), fingerprint=weights.fingerprint
    )
    with pytest.raises(ValueError, match="negative"):
        make(weights=negative, by="sampling")

    def bare(model, batch):
        losses = NextToken()(model, batch)
        return losses.values, losses.mask

    with pytest.raises(ValueError, match=r"function .*give it a method mask"):
        make(task=bare).train()
    for collator, words in (
        (_relabelled, "have one and do not count"),
        (_cut, "weights are of tokens beyond"),
    ):
        with pytest.raises(ValueError, match=words):
            make(weights=of_tokens(data), data_collator=collator).train()


def _relabelled(rows):
    batch = transformers.default_data_collator(rows)
    batch["labels"][:, 3:] = -100
    return batch


def _cut(rows):
    batch = transformers.default_data_collator(rows)
    return {name: column[:, :3] for name, column in batch.items()}


def test_domains_may_be_interleaved_by_their_shares():
    from datasets import Dataset, interleave_datasets

    labels = ("a", "a", "b", "b", "b", "c")
    weights = SampleWeights(
        values=np.array([0.3, 0.3, 1.0, 1.0, 1.0, 2.4]), fingerprint="", groups=labels
    )
    names = ["c", "a", "b"]
    domains = {name: Dataset.from_dict({"domain": [name] * 50}) for name in names}
    shares = weights.probabilities(names)
    mixed = interleave_datasets(
        [domains[name] for name in names], probabilities=list(shares.values()), seed=0,
        stopping_strategy="all_exhausted",
    )  # fmt: skip
    counts = np.array([mixed["domain"][:].count(name) for name in names])
    expected = np.array([0.4, 0.1, 0.5])
    error = np.sqrt(expected * (1 - expected) / counts.sum())
    assert counts.sum() > 300
    assert (abs(counts / counts.sum() - expected) < 4 * error).all()
