"""A scalar read at the last token of a language model: what a reward model is.

Here: the head, on transformers' models and this package's decoders; a directory of the latter.
Not here: the loss (tasks/reward.py), other directories of models (models.py).
Dimensions: B sequences, T tokens, D width.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from creode.tasks.forward import accepted_by

HEAD_TYPE = "creode-scalar-head"  # model_type of a directory of a head on a decoder


class ScalarHead(nn.Module):
    """backbone, then `score`: one number (B, 1) a sequence, read at its last token."""

    def __init__(self, backbone: nn.Module, width: int, *, seed: int = 0) -> None:
        """A head of weights drawn from `seed` with σ = 1/√D, no bias.

        Args:
            backbone: gives hidden states (B, T, D), as a tensor or as `.last_hidden_state`.
            width: D.
            seed: of the head's weights; the global random state is not used.
        """
        super().__init__()
        self.backbone = backbone
        generator = torch.Generator().manual_seed(seed)
        like = next(iter(backbone.parameters()))
        with torch.device("meta"):  # torch's own initialisation would draw globally
            self.score = nn.Linear(width, 1, bias=False)
        weight = torch.randn(1, width, generator=generator) / width**0.5
        self.score.weight = nn.Parameter(weight.to(like))

    @classmethod
    def of(cls, model: nn.Module, *, seed: int = 0) -> ScalarHead:
        """A copy of a language model whose unembedding gives way to a scalar.

        Raises:
            TypeError: neither a model of transformers nor a `Decoder`.
        """
        from creode.testbeds.decoder import Decoder

        if isinstance(model, Decoder):
            backbone: Any = copy.deepcopy(model)
            backbone.unembed = nn.Identity()
            return cls(backbone, model.config.d_model, seed=seed)
        base = getattr(model, "base_model", None)
        config = getattr(model, "config", None)
        if not isinstance(base, nn.Module) or config is None:
            raise TypeError(
                f"{type(model).__name__} is neither a model of transformers nor a creode Decoder; "
                "build ScalarHead(backbone, width) from a module that gives hidden states."
            )
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        return cls(copy.deepcopy(base), int(text.hidden_size), seed=seed)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Scalars (B, 1) at the last position whose mask is 1; without a mask, at the last."""
        names = accepted_by(self.backbone).names
        given: dict[str, Any] = {}
        if attention_mask is not None and "attention_mask" in names:
            given["attention_mask"] = attention_mask
        if "use_cache" in names:
            given["use_cache"] = False
        out = self.backbone(input_ids, **given)
        hidden: Tensor = out if isinstance(out, Tensor) else out.last_hidden_state
        if attention_mask is None:
            last = hidden[:, -1]
        else:
            place = torch.arange(hidden.shape[1], device=hidden.device)
            end = (place * (attention_mask != 0)).argmax(1)
            last = hidden.gather(1, end[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]
        scalar: Tensor = self.score(last)
        return scalar

    def save(self, directory: str | Path) -> None:
        """Write config.json and model.safetensors of a head on a `Decoder`.

        Raises:
            TypeError: another backbone, whose directory this package cannot write.
        """
        from safetensors.torch import save_file

        from creode.testbeds.decoder import Decoder

        if not isinstance(self.backbone, Decoder):
            raise TypeError(
                f"a head on {type(self.backbone).__name__} has no directory of its own; train "
                "transformers' AutoModelForSequenceClassification with num_labels=1 instead."
            )
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().contiguous() for name, p in self.named_parameters()}
        save_file(weights, folder / "model.safetensors")
        record = {"model_type": HEAD_TYPE, **asdict(self.backbone.config)}
        (folder / "config.json").write_text(json.dumps(record, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> ScalarHead:
        """The head written by `save`, in the dtype it was saved in, in eval mode.

        Raises:
            ValueError: the directory is no head's, or its weights do not fit.
        """
        from creode.models import load_weights
        from creode.testbeds.decoder import Decoder, DecoderConfig

        folder = Path(directory)
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if record.pop("model_type", None) != HEAD_TYPE:
            raise ValueError(f"{folder} is no directory of a head that ScalarHead.save wrote.")
        head = cls.of(Decoder(DecoderConfig(**record)))
        load_weights(head, folder)
        return head.eval()
