"""The logarithm of the training step, with a place for step 0.

Here: x = log(step + offset) and back.
Not here: anything read at a step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class LogStep(NamedTuple):
    """x = log(step + offset)."""

    offset: float

    @classmethod
    def of(cls, steps: ArrayLike, offset: float | None = None) -> LogStep:
        """With the given offset, or else 0, or the first step after 0 if there is a step 0.

        Raises:
            ValueError: a step is negative, or the offset leaves no logarithm.
        """
        values = np.asarray(steps, np.float64)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("training steps must be finite and not negative; see checkpoint.")
        if offset is None:
            offset = float(values[values > 0].min()) if (values == 0).any() else 0.0
        if not offset + values.min() > 0:
            raise ValueError(
                f"log(step + offset) needs step + offset > 0, got offset {offset!r} and step "
                f"{values.min():g}; give a positive offset, or None to choose it."
            )
        return cls(offset)

    def x(self, steps: ArrayLike) -> Array:
        """The logarithms."""
        out: Array = np.log(np.asarray(steps, np.float64) + self.offset)
        return out

    def step(self, x: ArrayLike) -> Array:
        """The steps of logarithms."""
        out: Array = np.maximum(np.exp(np.asarray(x, np.float64)) - self.offset, 0.0)
        return out
