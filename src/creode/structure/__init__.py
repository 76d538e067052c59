"""Structure in responses: modes of the response matrix, clusters of its rows, words and maps.

Replicates of a response matrix in, labelled results with errors out. Numbers first; the viewer
draws them.
"""

from creode.structure.matrix import response_matrix
from creode.structure.modes import aligned, modes, principal_angles

__all__ = ["aligned", "modes", "principal_angles", "response_matrix"]
