"""One number read at one checkpoint, with its error and its verdict.

Here: the reading, and how a caller may write it.
Not here: watching a series of them (alarm.py), keeping them on disk (readings_file.py).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple


class Reading(NamedTuple):
    """One number at one checkpoint, in its own unit."""

    value: float
    se: float = math.nan  # its standard error; a loss may have none
    ok: bool = True  # its verdict


Given = Reading | tuple[float, ...] | float


def as_reading(name: str, given: Given) -> Reading:
    """A reading from one, from its beginning as a tuple, or from a number without an error.

    Raises:
        ValueError: something else.
    """
    try:
        reading = Reading(float(given)) if isinstance(given, Real) else Reading(*given)  # type: ignore[misc]
        return Reading(float(reading.value), float(reading.se), bool(reading.ok))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: a reading is a number or (value, standard error, ok), got {given!r}."
        ) from error
