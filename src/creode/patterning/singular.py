"""Targets that no weights can meet, because observables answer to the data alike.

With rows E_k of effects, less what a common factor on all weights does, and each of length 1, the
directions u of a singular value decomposition are combinations Σ u_k φ_k of observables that
answer independently. A combination is singular if its row uᵀE is no longer than its noise makes it;
then weights move it by noise alone, and a target that moves it is refused. Solvers would miss such
a target without a word (a pseudo-inverse), or follow the noise.

Here: which combinations are singular, the refusal.
Not here: single observables that draws do not resolve (problem.py), constraints (solvers.py).
Dimensions: R replicates, K observables, M groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALIKE = 0.1  # squared singular value, of rows of length 1: the cosine of two of them is above 0.9
NOISE = 2.0  # times the squared length that noise gives a row
ROUNDING = 1e-10  # of a squared length
MEANT = 0.25  # share of the target that is more than a shade of it


class SingularResponseError(ValueError):
    """Observables answer to the data alike, and are asked to move apart."""


def refuse_singular(replicates: Array, target: Array, sizes: Array, names: Sequence[str]) -> None:
    """Refuse a target with a part that no weights bring about.

    Args:
        replicates: (R, K, M), effects of raising the weight of every sample of a group by 1.
        target: (K,), in the units of the observables.
        sizes: (M,), samples of each group.
        names: (K,).

    Raises:
        SingularResponseError: there is such a part.
    """
    root = np.sqrt(sizes)
    rows = replicates / root
    rows = rows - (rows @ root)[..., None] * root / sizes.sum()  # weights keep their mean
    raw = np.sqrt(((replicates.mean(0) / root) ** 2).sum(1))
    length = np.sqrt((rows.mean(0) ** 2).sum(1))
    still = length <= np.sqrt(ROUNDING) * raw
    for name, change, idle in zip(names, target, still, strict=True):
        if idle and change:
            raise SingularResponseError(
                f"no weights move {name}, and the target does by {change:+.3g}: every sample has "
                "the same effect on it. Is it measured on something that the data do not reach?"
            )
    moving = [str(name) for name, idle in zip(names, still, strict=True) if not idle]
    rows, length, target = rows[:, ~still], length[~still], target[~still]
    rows, asked = rows / length[:, None], target / length
    directions, values, _ = np.linalg.svd(rows.mean(0), full_matrices=False)
    noise = ((directions.T @ rows).var(0, ddof=1) / len(rows)).sum(1)
    for u, value, noise_sq in zip(directions.T, values, noise, strict=True):
        if value**2 > max(min(NOISE * noise_sq, ALIKE), ROUNDING):
            continue
        if abs(u @ asked) < MEANT * np.linalg.norm(asked):
            continue
        mixed = u / length
        mixed /= mixed[np.argmax(abs(mixed))]
        about = " ".join(
            f"{c:+.2g} {name}" for c, name in zip(mixed, moving, strict=True) if abs(c) > 0.01
        )
        exact = value**2 <= ROUNDING
        raise SingularResponseError(
            f"no weights move {about}{'' if exact else ', as far as these draws tell'}, and the "
            f"target does by {mixed @ target:+.3g}: these observables answer to the samples alike. "
            "Ask for changes that leave this sum as it is, or leave one of them out"
            f"{'' if exact else ', or sample more draws'}."
        )
