"""Structure in responses: modes of the response matrix, clusters of its rows, words and maps.

Replicates of a response matrix in, labelled results with errors out. Numbers first; the viewer
draws them.
"""

from creode.structure.clusters import clusters
from creode.structure.descriptions import describe, extremes
from creode.structure.maps import map_rows
from creode.structure.matrix import response_matrix
from creode.structure.modes import aligned, modes, principal_angles
from creode.structure.patterns import pattern_classes

__all__ = [
    "aligned",
    "clusters",
    "describe",
    "extremes",
    "map_rows",
    "modes",
    "pattern_classes",
    "principal_angles",
    "response_matrix",
]
