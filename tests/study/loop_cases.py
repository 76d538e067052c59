"""A loop of a few units, for the tests of study, page and command line."""

TINY = {
    "title": "A <tiny> loop",
    "behaviour": "logs",
    "data": {"source": "corpus:brackets,logs", "length": 16, "limit": 64},
    "probes": {
        "logs": {"source": "corpus:logs", "split": "test", "length": 16, "limit": 4},
        "brackets": {"source": "corpus:brackets", "split": "test", "length": 16, "limit": 4},
    },
    "decoder": {"layers": 1, "width": 8, "heads": 2},
    "training": {
        "steps": 40, "batch_size": 8, "learning_rate": 1e-2,
        "checkpoints": [0, 10, 20, 25, 30, 35, 40],
    },
    "sampling": {
        "sampler": {"name": "baoab", "step_size": 6e-3, "friction": 60.0},
        "nbeta": 100.0, "localization": 3e3, "chains": 2, "draws": 20, "burnin": 10,
        "steps_per_draw": 1, "batch_size": 8, "limit": 32, "execution": {"mode": "sequential"},
    },
    "development": {"checkpoints": [10, 20, 25, 30, 35, 40]},
    "weights": {"draws": 150, "steps_per_draw": 2},
    "proof": {"seeds": 2, "checkpoints": 4},
}  # fmt: skip


def tiny_loop(**changes):
    return TINY | changes
