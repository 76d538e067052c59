"""One batch's loss and gradient by a trainer of TRL, as a program of its own.

    python trl_losses.py FOLDER OUT.npz

FOLDER: tokenizer/, model/, for DPO reference/, rows.jsonl, and settings.json with "trainer" (sft,
dpo or reward) and "length". OUT: loss, and grad/NAME for every parameter. All rows are one batch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer


def trainer(folder: Path, scratch: str) -> Any:
    settings = json.loads((folder / "settings.json").read_text())
    kind, length = settings["trainer"], settings["length"]
    lines = (folder / "rows.jsonl").read_text().splitlines()
    rows = Dataset.from_list([json.loads(line) for line in lines])
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    common = {
        "output_dir": scratch, "per_device_train_batch_size": len(rows), "max_length": length,
        "report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "disable_tqdm": True,
    }  # fmt: skip
    if kind == "sft":
        config = SFTConfig(**common, assistant_only_loss="messages" in rows.column_names)
        model = AutoModelForCausalLM.from_pretrained(folder / "model")
        return SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    if kind == "dpo":
        model, reference = (
            AutoModelForCausalLM.from_pretrained(folder / name) for name in ("model", "reference")
        )
        config = DPOConfig(**common, beta=settings["beta"])
        return DPOTrainer(
            model=model, ref_model=reference, args=config, train_dataset=rows,
            processing_class=tokenizer,
        )  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model", num_labels=1)
    config = RewardConfig(**common, center_rewards_coefficient=settings["center"] or None)
    return RewardTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        made = trainer(Path(sys.argv[1]), scratch)
        batch = made.data_collator([made.train_dataset[i] for i in range(len(made.train_dataset))])
        made.model.train()
        loss = made.compute_loss(made.model, dict(batch))
        loss.backward()
        gradients = {
            f"grad/{name}": p.grad.numpy()
            for name, p in made.model.named_parameters()
            if p.grad is not None
        }
    np.savez(sys.argv[2], loss=loss.item(), rows=len(made.train_dataset), **gradients)


if __name__ == "__main__":
    main()
