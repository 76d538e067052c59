"""A directory with a random Llama of SmolLM-135M's shape, a tokenizer and a text file.

Here: making it from nothing but this package and an installed Python.
Not here: anything that reads it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

DOCUMENTS = 200  # of the embedded corpus, for the tokenizer and the text file
END = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class Llama:
    """What is made, and where its parts lie."""

    folder: Path
    quick: bool  # a model of two narrow layers, to try the scripts
    sequences: int  # of the text file that are read

    @property
    def model(self) -> Path:
        """Config, weights and tokenizer."""
        return self.folder / "model"

    @property
    def text(self) -> Path:
        """One document a line, under the key `text`."""
        return self.folder / "text.jsonl"

    @property
    def tokens(self) -> Path:
        """The sequences that are read, as tokens."""
        return self.folder / "tokens.safetensors"

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return 32 if self.quick else 128

    @property
    def layer(self) -> int:
        """One in the middle."""
        return 1 if self.quick else 15

    @property
    def config(self) -> dict[str, Any]:
        """The shape, as transformers names it."""
        small = {
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1024,
        }  # fmt: skip
        smollm_135m = {
            "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
        }  # fmt: skip
        return {
            **(small if self.quick else smollm_135m),
            "tie_word_embeddings": True,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
        }

    def make(self) -> None:
        """Make what is not there yet; a directory of another shape is made anew."""
        recipe = {**self.config, "sequences": self.sequences, "length": self.length}
        made = self.folder / "made.json"
        if made.exists() and json.loads(made.read_text()) == recipe:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._make_text()
        self._make_tokenizer()
        self._make_model()
        self._make_tokens()
        made.write_text(json.dumps(recipe))

    def _documents(self) -> list[str]:
        from creode.data.corpus import documents

        return list(islice(documents("code"), DOCUMENTS))

    def _make_text(self) -> None:
        lines = [json.dumps({"text": text}) + "\n" for text in self._documents()]
        self.text.write_text("".join(lines))

    def _make_tokenizer(self) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=512 if self.quick else 4096,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(self._documents(), trainer)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
        fast.save_pretrained(self.model)

    def _make_model(self) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = LlamaForCausalLM(LlamaConfig(**self.config))
        model.save_pretrained(self.model)

    def _make_tokens(self) -> None:
        from safetensors.torch import save_file

        from creode.data import load

        samples = load(
            str(self.text), tokenizer=str(self.model), length=self.length, limit=self.sequences
        )
        save_file(dict(samples.columns), self.tokens)
