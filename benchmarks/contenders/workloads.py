"""What is timed: models, data and the bare pass that every sampler is measured against.

Here: a workload by its shape, the same in every environment; needs torch alone.
Not here: samplers (one file each beside this one), the order of measurements (alternating.py).
The decoder's class is read from this package's source file, so that a peer's environment builds
the same module without installing this package. Data are random: only their shape costs time.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DECODER_SOURCE = Path(__file__).resolve().parents[2] / "src/creode/testbeds/decoder.py"
UNTIMED = 1  # steps at the start of a block: they warm the caches that others emptied
Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model, a loss and data of a given shape; plain values, so that it travels as JSON."""

    kind: Literal["decoder", "classifier", "linear", "pretrained"]
    # a decoder's config; {"widths": [...]}; or {"directory": ..., "tokens": a file of them,
    # "only": the prefix of the parameters that take a gradient}
    shape: Mapping[str, Any]
    batch_size: int
    num_samples: int
    seed: int = 0

    def model(self) -> nn.Module:
        """The model with seeded random weights."""
        if self.kind == "decoder":
            source = _decoder_source()
            built: nn.Module = source.Decoder(source.DecoderConfig(**self.shape), seed=self.seed)
            return built
        if self.kind == "pretrained":
            return self._pretrained()
        layers: list[nn.Module] = []
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for before, after in pairwise(self.shape["widths"]):
                if layers and self.kind == "classifier":
                    layers.append(nn.ReLU())
                layers.append(nn.Linear(before, after, bias=self.kind == "classifier"))
        return nn.Sequential(*layers)

    def data(self) -> Batch:
        """All samples, as columns in memory."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        count = self.num_samples
        if self.kind == "pretrained":
            from safetensors.torch import load_file

            return load_file(self.shape["tokens"])
        if self.kind == "decoder":
            size = (count, self.shape["context_length"])
            vocabulary = self.shape["vocab_size"]
            return {"input_ids": torch.randint(vocabulary, size, generator=generator)}
        first, last = self.shape["widths"][0], self.shape["widths"][-1]
        inputs = torch.randn(count, first, generator=generator)
        if self.kind == "classifier":
            return {
                "inputs": inputs,
                "targets": torch.randint(last, (count,), generator=generator),
            }
        return {"inputs": inputs, "targets": torch.randn(count, last, generator=generator)}

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], reduction: str) -> Tensor:
        """The loss in nats: "mean" over what counts, or "none"."""
        if self.kind in ("decoder", "pretrained"):
            ids = batch["input_ids"]
            targets = F.pad(ids[:, 1:], (0, 1), value=-100)  # spares a copy of the logits
            logits = model(ids) if self.kind == "decoder" else model(ids, use_cache=False).logits
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)
        predicted = model(batch["inputs"])
        if self.kind == "classifier":
            return F.cross_entropy(predicted, batch["targets"], reduction=reduction)
        values: Tensor = (batch["targets"] - predicted).square().sum(1) / 2
        return values.mean() if reduction == "mean" else values

    def _pretrained(self) -> nn.Module:
        from transformers import AutoModelForCausalLM

        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            self.shape["directory"], dtype=torch.float32
        )
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(self.shape["only"]))
        return model


class BarePass:
    """Forward and backward of the mean loss and nothing else; built when it is first timed."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._model: nn.Module | None = None
        self._batches: Iterator[Batch] = iter(())

    def run(self, steps: int, *, forward_every: int = 0) -> float:
        """Seconds that `steps` steps take, with a forward pass alone after each n-th of them."""
        for _ in range(UNTIMED):
            self._step()
        start = time.perf_counter()
        for step in range(1, steps + 1):
            self._step()
            if forward_every and step % forward_every == 0:
                with torch.no_grad():
                    self._workload.losses(self._built(), next(self._batches), "mean")
        return time.perf_counter() - start

    def release(self) -> None:
        """Forget the model and the data."""
        self._model, self._batches = None, iter(())

    def _step(self) -> None:
        model = self._built()
        model.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = self._workload.losses(model, next(self._batches), "mean")
        loss.backward()  # type: ignore[no-untyped-call]

    def _built(self) -> nn.Module:
        if self._model is None:
            self._model = self._workload.model()
            self._batches = _slices(self._workload.data(), self._workload.batch_size)
        return self._model


def _slices(data: Batch, size: int) -> Iterator[Batch]:
    count = len(next(iter(data.values())))
    for start in cycle(range(0, count - size + 1, size)):
        yield {name: column[start : start + size] for name, column in data.items()}


def _decoder_source() -> Any:
    name = "decoder_source"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, DECODER_SOURCE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
