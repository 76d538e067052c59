"""Which of many readings stand out, at a chosen rate of false discoveries.

Here: two-sided p-values of Student's t, and the step-up procedure on them.
Not here: the readings and their errors (influence.py, …).
Source: Benjamini & Hochberg 1995. Entries of one row share their draws and are dependent; the
procedure holds for positive dependence, and has been seen to hold widely beyond it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def significant(z: NDArray[np.float64], *, freedom: int, fdr: float) -> NDArray[np.bool_]:
    """Whether each z stands out, among those of its row at the rate `fdr`.

    Args:
        z: values over their standard errors, the row last; NaN never stands out and does not count.
        freedom: degrees of freedom of the standard errors.
        fdr: the share of false discoveries among all that may be expected, in (0, 1).

    Raises:
        ValueError: `fdr` is out of range.
    """
    from scipy.special import stdtr

    if not 0 < fdr < 1:
        raise ValueError(f"fdr must lie between 0 and 1, got {fdr!r}; 0.05 is usual.")
    p = 2 * stdtr(max(freedom, 1), -np.abs(z))
    order = np.argsort(p, axis=-1)  # NaN last
    ordered = np.take_along_axis(p, order, -1)
    counted = np.isfinite(p).sum(-1, keepdims=True)
    passes = ordered <= fdr * np.arange(1, p.shape[-1] + 1) / np.maximum(counted, 1)
    threshold = np.where(passes, ordered, -1.0).max(-1, keepdims=True, initial=-1.0)
    found: NDArray[np.bool_] = p <= threshold
    return found
