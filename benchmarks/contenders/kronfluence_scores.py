"""EK-FAC influence scores of a small network by kronfluence, as a program of its own.

    python kronfluence_scores.py IN.npz OUT.npz

IN: w0, b0, w1, b1 of a network of two linear layers with a ReLU between; train_x, train_y,
query_x, query_y; damping (absolute; negative: the library's own heuristic).
OUT: scores (query, train), positive where the training sample lowers the query's loss.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import nn
from torch.utils.data import TensorDataset


class Digits(Task):
    """Cross-entropy, of the data and of the query alike."""

    def compute_train_loss(self, batch, model, sample=False):
        inputs, labels = batch
        logits = model(inputs)
        if sample:
            with torch.no_grad():
                labels = torch.multinomial(logits.softmax(-1), 1).flatten()
        return nn.functional.cross_entropy(logits, labels, reduction="sum")

    def compute_measurement(self, batch, model):
        inputs, labels = batch
        return nn.functional.cross_entropy(model(inputs), labels, reduction="sum")


def main() -> None:
    given = np.load(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    w0, b0, w1, b1 = (torch.tensor(given[name]) for name in ("w0", "b0", "w1", "b1"))
    model = nn.Sequential(nn.Linear(w0.shape[1], w0.shape[0]), nn.ReLU(), nn.Linear(*w1.T.shape))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (w0, b0, w1, b1), strict=True):
            parameter.copy_(value)
    train, query = (
        TensorDataset(torch.tensor(given[f"{name}_x"]), torch.tensor(given[f"{name}_y"]))
        for name in ("train", "query")
    )
    damping = float(given["damping"])
    task = Digits()
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "digits",
            prepare_model(model, task),
            task,
            cpu=True,
            output_dir=folder,
            disable_tqdm=True,
            disable_model_save=True,
        )
        analyzer.fit_all_factors(
            "factors",
            train,
            per_device_batch_size=len(train),
            factor_args=FactorArguments(strategy="ekfac"),
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            query,
            train,
            per_device_query_batch_size=len(query),
            per_device_train_batch_size=len(train),
            score_args=ScoreArguments(damping_factor=None if damping < 0 else damping),
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    np.savez(sys.argv[2], scores=scores.float().numpy())


if __name__ == "__main__":
    main()
