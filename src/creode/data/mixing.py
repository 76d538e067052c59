"""Mixtures: samples of several domains in given proportions, each with the name of its domain.

Here: how many samples each domain gives, which, and in what order.
Not here: weights on samples.
Dimensions: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch

from creode.data.coerce import as_samples
from creode.data.samples import Samples


def mixture(
    domains: Mapping[str, Any],
    *,
    proportions: Mapping[str, float] | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Samples:
    """`size` samples of the domains in these proportions, none twice, in an order drawn by `seed`.

    Args:
        domains: samples by the name of their domain, anything `as_samples` reads.
        proportions: a share per domain, in any unit; None: by how many samples each has. The counts
            are these shares of `size`, rounded by the largest remainder, so they add up.
        size: how many samples; None: as many as the proportions allow without repeating any.
        seed: draws which samples of a domain, and the order of all.

    Returns:
        The columns the domains share, with `domain` and `domain_names` in the order given; domains
        the parts carried themselves are replaced.

    Raises:
        ValueError: shares that are no proportions, a domain with too few samples, or columns that
            differ between domains.
    """
    if not domains:
        raise ValueError("a mixture needs at least one domain; got none.")
    parts = {name: as_samples(data) for name, data in domains.items()}
    shares = _shares(parts, proportions)
    if size is None:
        size = int(min(len(parts[name]) / share for name, share in shares.items() if share))
    counts = _counts(shares, size)
    for name, count in counts.items():
        if count > len(parts[name]):
            raise ValueError(
                f"domain {name!r} has {len(parts[name])} samples and {count} are needed for "
                f"{size} in these proportions; lower size, change its share, or load more of it."
            )
    generator = torch.Generator().manual_seed(seed)
    chosen = {
        name: part.batch(torch.randperm(len(part), generator=generator)[: counts[name]])
        for name, part in parts.items()
    }
    order = torch.randperm(size, generator=generator)
    columns = {
        name: torch.cat([columns[name] for columns in chosen.values()])[order]
        for name in _shared_columns(parts)
    }
    label = torch.arange(len(parts)).repeat_interleave(torch.tensor(list(counts.values())))
    source = "mixture of " + ", ".join(f"{count} {name}" for name, count in counts.items())
    return Samples(columns=columns, source=source, domain=label[order], domain_names=tuple(parts))


def _shares(
    parts: Mapping[str, Samples], proportions: Mapping[str, float] | None
) -> dict[str, Fraction]:
    """Each domain's share of the whole, exact, so that 0.1 and 0.9 make 10 and 90 of 100."""
    if proportions is None:
        proportions = {name: len(part) for name, part in parts.items()}
    if proportions.keys() != parts.keys():
        raise ValueError(
            f"proportions name {', '.join(sorted(proportions)) or 'nothing'} and the domains are "
            f"{', '.join(sorted(parts))}; give each domain one share."
        )
    try:
        exact = {name: Fraction(str(proportions[name])) for name in parts}
    except ValueError as error:
        raise ValueError(f"proportions must be numbers ≥ 0, got {dict(proportions)}.") from error
    total = sum(exact.values())
    if total <= 0 or min(exact.values()) < 0:
        raise ValueError(
            f"proportions must be numbers ≥ 0 with a positive sum, got {dict(proportions)}."
        )
    return {name: share / total for name, share in exact.items()}


def _counts(shares: Mapping[str, Fraction], size: int) -> dict[str, int]:
    """Whole numbers that add up to `size`, each within one of its share: largest remainder."""
    if size < 1:
        raise ValueError(f"a mixture of {size} samples was asked for; at least 1 is needed.")
    exact = {name: share * size for name, share in shares.items()}
    counts = {name: int(quota) for name, quota in exact.items()}
    left = size - sum(counts.values())
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[:left]:
        counts[name] += 1
    return counts


def _shared_columns(parts: Mapping[str, Samples]) -> list[str]:
    form = {
        name: {key: (tuple(c.shape[1:]), c.dtype) for key, c in part.columns.items()}
        for name, part in parts.items()
    }
    first = next(iter(form))
    for name, columns in form.items():
        if columns != form[first]:
            raise ValueError(
                f"domains {first!r} and {name!r} have different columns: "
                f"{_described(form[first])}, and {_described(columns)}. "
                "Read both with the same tokenizer, length and packing."
            )
    return list(form[first])


def _described(columns: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in columns.items())
