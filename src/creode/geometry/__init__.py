"""Geometry of the loss around a checkpoint: the local learning coefficient and its refinements.

Saved draws in, labelled readings with errors and verdicts out; a study's tree maps to a reading
with dimensions (checkpoint, component).
"""

from creode.geometry.llc import llc
from creode.geometry.over_study import over_study
from creode.geometry.plateau import plateau

__all__ = ["llc", "over_study", "plateau"]
