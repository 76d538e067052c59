"""How much a model favours the unwanted answers of a behaviour over the wanted ones.

Here: that margin, prompt by prompt and as an observable of the weights.
Not here: reading behaviours (data/behaviours.py), what is concluded from margins (auditing/).
Dimensions: M prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creode.tasks.losses import Batch, Task
from creode.tasks.pairs import answer_log_probs, as_one_batch
from creode.tasks.reward import RewardModel
from creode.tasks.weighted import Weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class Margin:
    """φ(w) = mean over prompts of s(unwanted) − s(wanted).

    s is the reward of a reward model, and log p(answer | prompt), nats, summed over the answer's
    tokens, of any other task's model, which is one of language. Columns as of
    `creode.data.load_behaviour`.
    """

    columns: Batch  # of the behaviour's pairs
    task: Task
    batch_size: int = 64  # prompts of a forward pass

    def __call__(self, model: nn.Module) -> Tensor:
        """φ (), differentiable."""
        return self.by_prompt(model).mean()

    def by_prompt(self, model: nn.Module) -> Tensor:
        """s(unwanted) − s(wanted) of every prompt, (M,)."""
        device = next(model.parameters()).device
        names = [name for name in self.columns if name.startswith(("chosen_", "rejected_"))]
        count = len(self.columns[names[0]])
        parts = []
        for rows in torch.split(torch.arange(count), self.batch_size):
            batch = {name: self.columns[name][rows].to(device) for name in names}
            wanted, unwanted = self._scores(model, batch)
            parts.append(unwanted - wanted)
        return torch.cat(parts)

    def _scores(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        task = self.task.task if isinstance(self.task, Weighted) else self.task
        if isinstance(task, RewardModel):
            wanted, unwanted = task.rewards(model, as_one_batch(batch)).chunk(2)
            return wanted, unwanted
        return answer_log_probs(model, batch)
