"""The demo: the whole loop on the embedded corpus, with one kind of text as the behaviour.

Here: its sizes and settings, full and quick, as the study that `creode run` repeats.
Not here: the loop (study/loop.py), the command (cli/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creode.study.loop_config import LoopConfig

DOMAINS = ("code", "docstrings", "c", "dialogue")
BEHAVIOUR = "dialogue"
ABOUT = (
    "A small language model, trained by the demo itself on four kinds of text: Python code, Python "
    "docstrings, C headers, and dialogue. It reads and predicts one character at a time."
)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Full: two layers of four heads, two directions. Quick: a narrower decoder, one direction."""

    quick: bool = False
    seed: int = 0

    def loop(self) -> LoopConfig:
        """The study."""
        from creode.study.loop_config import LoopConfig

        fields = QUICK if self.quick else FULL
        length = fields["data"]["length"]
        probes = {
            name: {"source": f"corpus:{name}", "split": "test", "length": length,
                   "limit": fields["probe_limit"]}
            for name in DOMAINS
        }  # fmt: skip
        rest = {name: value for name, value in fields.items() if name != "probe_limit"}
        return LoopConfig.model_validate(
            {
                "title": f"How a small language model learned {BEHAVIOUR}",
                "about": ABOUT,
                "behaviour": BEHAVIOUR,
                "probes": probes,
                "seed": self.seed,
                **rest,
                "proof": rest["proof"]
                | {"seeds": [self.seed + 1 + i for i in range(rest["proof"]["seeds"])]},
            }
        )


SOURCE = f"corpus:{','.join(DOMAINS)}"
SAMPLING: dict[str, Any] = {
    "sampler": {"name": "baoab", "step_size": 6e-3, "friction": 60.0},
    "nbeta": 300.0, "localization": 3e3, "chains": 4, "burnin": 50, "batch_size": 16,
    "execution": {"mode": "sequential"},
}  # fmt: skip
YOUNG = {"nbeta": 100.0, "localization": 5e3}  # at nβ 300 the loss still falls around some of them
FULL: dict[str, Any] = {
    "data": {"source": SOURCE, "length": 48, "limit": 768},
    "probe_limit": 16,
    "decoder": {"layers": 2, "width": 32, "heads": 4},
    "training": {
        "steps": 500, "batch_size": 16, "learning_rate": 3e-3, "warmup_steps": 20,
        "checkpoints": [0, 20, 40, 60, 80, 120, 170, 230, 300, 390, 500],
    },
    "sampling": SAMPLING | {"draws": 40, "steps_per_draw": 4, "limit": 256},
    "development": YOUNG | {"checkpoints": [40, 60, 80, 120, 170, 230, 300, 390, 500]},
    "response": {"localization": 5e3, "draws": 80},
    "weights": {"draws": 70},
    "proof": {"seeds": 3, "checkpoints": 20},
}  # fmt: skip
QUICK: dict[str, Any] = {
    "data": {"source": SOURCE, "length": 32, "limit": 256},
    "probe_limit": 12,
    "decoder": {"layers": 1, "width": 16, "heads": 2},
    "training": {
        "steps": 200, "batch_size": 16, "learning_rate": 6e-3, "warmup_steps": 10,
        "checkpoints": [0, 20, 40, 60, 75, 95, 120, 155, 200],
    },
    "sampling": SAMPLING | {"draws": 40, "steps_per_draw": 3, "batch_size": 8, "limit": 128},
    "development": YOUNG | {"localization": 1e4, "checkpoints": [60, 75, 95, 120, 155, 200]},
    "response": {"localization": 5e3, "draws": 60},
    "weights": {"directions": ["hasten"], "draws": 50},
    "proof": {"seeds": 3, "checkpoints": 10},
}  # fmt: skip
