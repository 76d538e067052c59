"""Rows of a data set that become no sample, each with its reason: counted and told, never lost.

Here: gathering them, the warning that tells them, the error where nothing is left.
Not here: what makes a row unfit (demonstrations.py, preferences.py).
"""

from __future__ import annotations

import warnings
from collections import defaultdict

SHOWN = 5  # rows named for a reason


class ExcludedWarning(UserWarning):
    """Rows were left out, or cut; the message says how many, which and why."""


class Exclusions:
    """Row numbers by reason, in the order they came."""

    def __init__(self) -> None:
        self._left_out: dict[str, list[int]] = defaultdict(list)
        self._cut: list[int] = []

    def leave_out(self, row: int, reason: str) -> None:
        """This row becomes no sample."""
        self._left_out[reason].append(row)

    def cut(self, row: int) -> None:
        """This row becomes a sample, without its last tokens."""
        self._cut.append(row)

    @property
    def by_reason(self) -> dict[str, tuple[int, ...]]:
        """Rows that became no sample."""
        return {reason: tuple(rows) for reason, rows in self._left_out.items()}

    def tell(self, source: str, kept: int) -> None:
        """Warn of what was left out or cut.

        Raises:
            ValueError: nothing was kept.
        """
        out = "; ".join(f"{reason} ({_some(rows)})" for reason, rows in self._left_out.items())
        if not kept:
            raise ValueError(f"{source}: no row can be used: {out or 'there is none'}.")
        count = sum(map(len, self._left_out.values()))
        if count:
            _warn(f"{source}: {count} of {count + kept} rows are left out: {out}.")
        if self._cut:
            _warn(
                f"{source}: {len(self._cut)} of {kept} samples were cut to the length "
                f"({_some(self._cut)})."
            )


def _warn(message: str) -> None:
    warnings.warn(message, ExcludedWarning, stacklevel=4)


def _some(rows: list[int]) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"
