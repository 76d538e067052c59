"""Generalisation: what a shift of the data will do, from the draws at hand."""

from creode.generalization.shift import shift

__all__ = ["shift"]
