"""Generalisation: what a shift of the data will do, from the draws at hand."""

from creode.generalization.comparison import compare_shifts
from creode.generalization.shift import shift

__all__ = ["compare_shifts", "shift"]
