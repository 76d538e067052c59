"""The ratio of two evidences from how readily a sampler goes either way between two sets of states.

With ρ the odds of going from set 0 to set 1 rather than staying in 0 (for states of 0), or of
staying in 1 rather than going to 0 (for states of 1), where a move keeps detailed balance,

    Z_1 / Z_0 = c E_0[1 / (1 + c / ρ)] / E_1[1 / (1 + ρ / c)]      for every c,

and least noisy where c is the ratio itself.

Here: that ratio. Not here: the sampler (slots.py).
Source: C. H. Bennett 1976, J. Comput. Phys. 22, with the acceptance of Barker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDS = 50
CLOSE = 1e-3  # a change of the logarithm that is none


def log_ratio(up: Sequence[float], down: Sequence[float]) -> float:
    """log (Z_1 / Z_0) from log ρ in states of set 0 and of set 1; NaN without states of both."""
    from scipy.special import log_expit, logsumexp

    if not (len(up) and len(down)):
        return float("nan")
    there, back = np.asarray(up, float), np.asarray(down, float)
    log_c = (float(np.median(there)) + float(np.median(back))) / 2
    for _ in range(ROUNDS):
        change = float(logsumexp(log_expit(there - log_c)) - np.log(len(there)))
        change -= float(logsumexp(log_expit(log_c - back)) - np.log(len(back)))
        log_c += change
        if abs(change) < CLOSE:
            break
    return log_c
