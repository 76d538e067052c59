"""devinterp 2.0's llc of a model on disk, as a program of its own: its peak memory and seconds.

python devinterp_llc.py '{"directory": …, "tokens": …, "component": "full", "chains": 2,
                         "draws": 20, "batch_size": 4}'
"""

from __future__ import annotations

import json
import sys

import torch
from datasets import Dataset
from devinterp.slt.llc import llc
from devinterp.slt.weight_restrictions import create_param_masks
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def main() -> None:
    given = json.loads(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(given["directory"], dtype=torch.float32)
    data = Dataset.from_dict({"input_ids": load_file(given["tokens"])["input_ids"].tolist()})
    data.set_format("torch")
    result = llc(
        model,
        data,
        {},
        lr=1e-7,
        n_beta=30.0,
        localization=100.0,
        param_masks=create_param_masks(model, given["component"]),
        num_chains=given["chains"],
        num_draws=given["draws"],
        batch_size=given["batch_size"],
        num_init_loss_batches=2,  # its default is 32; two are as many as creode takes here
        device="cpu",
    )
    print(json.dumps({"llc": float(result["llc_mean"])}))


if __name__ == "__main__":
    main()
