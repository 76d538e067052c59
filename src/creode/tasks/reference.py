"""Log-probabilities of answers under a reference model: computed once, kept beside the pairs.

Here: the columns that DPO compares with, and their file.
Not here: the loss (dpo.py).
Dimensions: N pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from creode.fingerprint import model_fingerprint
from creode.tasks.checks import untouched
from creode.tasks.dpo import REFERENCE
from creode.tasks.pairs import answer_log_probs, check_pairs

if TYPE_CHECKING:
    from creode.data import Samples


def with_reference(
    samples: Samples,
    reference: nn.Module,
    *,
    batch_size: int = 16,
    cache: str | Path | None = None,
) -> Samples:
    """The pairs with `ref_chosen_logps` and `ref_rejected_logps` (N,), nats.

    Args:
        samples: pairs of `creode.data.load_preferences`.
        reference: the model that post-training began from; it is read in eval mode and left as it
            came.
        batch_size: pairs of a forward pass.
        cache: a safetensors file that holds them: read if it is of these pairs and this reference,
            else written.

    Raises:
        ValueError: no pairs, or a cache of other ones.
    """
    from dataclasses import replace

    check_pairs(samples, "a reference")
    made_of = {"pairs": samples.fingerprint(), "reference": model_fingerprint(reference)}
    found = None if cache is None else _read(Path(cache), made_of)
    if found is None:
        found = _computed(samples, reference, batch_size)
        if cache is not None:
            _write(Path(cache), found, made_of)
    return replace(samples, columns={**samples.columns, **found})


def _computed(samples: Samples, reference: nn.Module, batch_size: int) -> dict[str, Tensor]:
    was_training = {name: module.training for name, module in reference.named_modules()}
    parts: dict[str, list[Tensor]] = {name: [] for name in REFERENCE}
    reference.eval()
    try:
        with untouched(reference) as place:
            for index in torch.split(torch.arange(len(samples)), batch_size):
                both = answer_log_probs(reference, place(samples.batch(index)))
                for name, values in zip(REFERENCE, both, strict=True):
                    parts[name].append(values.cpu())
    finally:
        for name, module in reference.named_modules():
            module.training = was_training[name]
    return {name: torch.cat(values) for name, values in parts.items()}


def _read(path: Path, made_of: dict[str, str]) -> dict[str, Tensor] | None:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            there = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it.") from error
    differing = [name for name, value in made_of.items() if there.get(name) != value]
    if differing:
        raise ValueError(
            f"{path} holds log-probabilities of other {' and '.join(differing)}; give another file."
        )
    return tensors


def _write(path: Path, tensors: dict[str, Tensor], made_of: dict[str, str]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    save_file(tensors, partial, metadata=made_of)
    partial.replace(path)
