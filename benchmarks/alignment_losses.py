"""Are the losses and gradients of post-training those of TRL's trainers, on the same rows?

    python benchmarks/alignment_losses.py --peers runs/peers

A small Llama of random weights; rows of text and of chats, of very different lengths, whole and
cut. Each goes through TRL's own preparation, collator and loss, and through ours; the table shows
the largest difference of the loss and of any entry of the gradient.

Here: the rows, our side, the comparison.
Not here: TRL's side (contenders/trl_losses.py), the tests against losses by hand (tests/tasks).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from machine import load, machine
from peers import DEFAULT, interpreters, versions
from report import table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from creode.data import ExcludedWarning, Samples, load_demonstrations, load_preferences
from creode.tasks import DPO, SFT, RewardModel, Task, with_reference

TRL = "trl-1.16.0"
CONTENDER = Path(__file__).resolve().parent / "contenders" / "trl_losses.py"
BETA, CENTER = 0.3, 0.1
WHOLE, CUT = 512, 40  # tokens
CLOSE, CLOSE_GRADIENT = 1e-5, 1e-4
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}</s>{% endgeneration %}{% else %}{{ m['content'] }}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
ASKED = ("What is 2+2?", "Say hello to everybody who is here, please, and be kind: ", "x")
GOOD = ("4", "hello, all of you", "why not")
BAD = ("about five, and perhaps a little more than that if one is generous", "no", "z")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def rows(kind: str) -> list[dict[str, Any]]:
    """Rows of one form."""
    trios = list(zip(ASKED, GOOD, BAD, strict=True))
    match kind:
        case "completion, text":
            return [{"prompt": ask, "completion": good} for ask, good, _ in trios]
        case "completion, chat":
            return [{"prompt": [user(a)], "completion": [assistant(b)]} for a, b, _ in trios]
        case "messages":
            return [
                {"messages": [user(ask), assistant(good), user("Sure?"), assistant(bad)]}
                for ask, good, bad in trios
            ]
        case "pairs, text":
            return [{"prompt": a, "chosen": good, "rejected": bad} for a, good, bad in trios]
        case "pairs, chat":
            return [
                {"prompt": [user(a)], "chosen": [assistant(b)], "rejected": [assistant(c)]}
                for a, b, c in trios
            ]
    return [  # pairs that hold their prompt
        {"chosen": [user(a), assistant(b)], "rejected": [user(a), assistant(c)]}
        for a, b, c in trios
    ]


CASES = [
    *(("sft", kind) for kind in ("completion, text", "completion, chat", "messages")),
    *((task, kind) for task in ("dpo", "reward") for kind in ("pairs, text", "pairs, chat")),
    *((task, "pairs with their prompt, chat") for task in ("dpo", "reward")),
]


def tokenizer() -> Any:
    """Bytes, a few merges, roles and the end as one token each."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "w"), ("l", "l"), ("e", "r")]
    words = {token: i for i, token in enumerate([*alphabet, *("".join(m) for m in merges)])}
    core = Tokenizer(models.BPE(vocab=words, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<s>", "</s>", "<pad>", "<user>", "<assistant>"])
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.chat_template = TEMPLATE
    return made


def llama(kind: Any, tok: Any, seed: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=len(tok), initializer_range=0.2,
        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id, **options,
    )  # fmt: skip
    return kind(config).eval()


def ours(task: Task, model: torch.nn.Module, samples: Samples) -> tuple[float, dict[str, Any]]:
    losses = task(model, samples.columns)
    loss = losses.values.sum() / losses.mask.sum()
    model.zero_grad()
    loss.backward()
    named = ((name, p.grad) for name, p in model.named_parameters())
    return loss.item(), {name: grad.numpy() for name, grad in named if grad is not None}


def compared(python: Path, trainer: str, form: str, length: int) -> dict[str, Any]:
    """One case by both; the largest differences."""
    tok, given = tokenizer(), rows(form)
    kind = (
        transformers.LlamaForSequenceClassification
        if trainer == "reward"
        else transformers.LlamaForCausalLM
    )
    model = llama(kind, tok, 0, **({"num_labels": 1} if trainer == "reward" else {}))
    reference = llama(transformers.LlamaForCausalLM, tok, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExcludedWarning)
        task: Task = SFT()
        if trainer == "sft":
            samples = load_demonstrations(given, tokenizer=tok, length=length)
        else:
            cut = "leave out" if trainer == "reward" else "cut"
            samples = load_preferences(given, tokenizer=tok, length=length, too_long=cut)
            task = RewardModel(center=CENTER)
            if trainer == "dpo":
                samples, task = with_reference(samples, reference), DPO(beta=BETA)
    loss, gradient = ours(task, model, samples)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, one in (("tokenizer", tok), ("model", model), ("reference", reference)):
            one.save_pretrained(folder / name)
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, given)))
        settings = {"trainer": trainer, "length": length, "beta": BETA, "center": CENTER}
        (folder / "settings.json").write_text(json.dumps(settings))
        out = folder / "out.npz"
        subprocess.run([python, CONTENDER, folder, out], check=True, capture_output=True)
        theirs = dict(np.load(out))
    if int(theirs["rows"]) != len(samples):
        raise RuntimeError(f"TRL kept {theirs['rows']} rows of {form}, and creode {len(samples)}.")
    missing = {f"grad/{name}" for name in gradient} ^ (set(theirs) - {"loss", "rows"})
    if missing:
        raise RuntimeError(f"gradients of one side only: {sorted(missing)}.")
    apart = max(np.abs(g - theirs[f"grad/{name}"]).max() for name, g in gradient.items())
    return {
        "task": trainer, "rows": form, "length": length, "samples": len(samples), "loss": loss,
        "loss_difference": abs(loss - float(theirs["loss"])),
        "gradient": float(max(np.abs(g).max() for g in gradient.values())),
        "gradient_difference": float(apart),
    }  # fmt: skip


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", type=Path, default=DEFAULT)
    parser.add_argument("--out", type=Path, help="also add the JSON lines to this file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    python = interpreters(asked.peers, TRL)[TRL]
    common = {
        "benchmark": "alignment_losses",
        "machine": machine(),
        "peer": versions(python, "trl", "transformers", "torch"),
    }
    found = []
    for trainer, form in CASES:
        for length in (WHOLE, CUT):
            found.append(compared(python, trainer, form, length))
            line = json.dumps(found[-1] | {"load": load()} | common)
            print(line, flush=True)
            if asked.out is not None:
                with asked.out.open("a") as lines:
                    lines.write(line + "\n")
    header = list(found[0])
    print(table(header, [[_cell(one[name]) for name in header] for one in found]))
    far = [
        one for one in found
        if one["loss_difference"] > CLOSE or one["gradient_difference"] > CLOSE_GRADIENT
    ]  # fmt: skip
    if far:
        raise SystemExit(f"{len(far)} of {len(found)} cases differ: {far}")


if __name__ == "__main__":
    main()
