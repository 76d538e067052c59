"""Response of a model's parts to data: susceptibilities.

Saved draws in, labelled results with errors out; a study's tree maps to a result with the
dimension component.
"""

from creode.response.baseline import subtract_baseline
from creode.response.discoveries import significant
from creode.response.mixture import mixture_susceptibility
from creode.response.susceptibility import susceptibility

__all__ = ["mixture_susceptibility", "significant", "subtract_baseline", "susceptibility"]
