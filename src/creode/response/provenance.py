"""What made the draws, carried from them to every reading of this room.

Here: the names of those attributes.
Not here: their values (sampling/).
"""

PROVENANCE = (
    "nbeta",
    "localization",
    "component",
    "checkpoint",
    "sampler",
    "steps_per_draw",
    "burnin",
    "seed",
    "model_fingerprint",
    "data_fingerprint",
)
