"""What weights fall on: domains of samples, clusters of tokens."""

import numpy as np
import pytest
import torch
import xarray as xr

from creode.data import ByteTokenizer, Samples
from creode.study.conclusion import write_zarr
from creode.study.responses import CLUSTERS_FILE, UNITS_FILE
from creode.study.texts import Text
from creode.study.weights_page import cluster_weights, domain_labels, texts_at


def a_run(place, stable=(True, True, True)):
    """Clusters of tokens of two probes, of 3 samples with 2 tokens each; train is the second."""
    sample = np.repeat(np.arange(6), 2)
    probe = np.where(sample < 3, "code", "train")
    label = np.array([0, 0, 0, 0, 1, 1, 0, 0, 1, -1, 1, 2])
    units = xr.Dataset(coords={"probe": ("sample", np.where(np.arange(6) < 3, "code", "train"))})
    write_zarr(place / UNITS_FILE, units)
    clusters = xr.Dataset(
        {
            "label": ("row", label),
            "stable": ("cluster", np.array(stable)),
            "description": ("cluster", np.array(["names", "digits <b>", "spaces"], dtype=object)),
        },
        {"row": np.arange(12), "cluster": [0, 1, 2], "sample": ("row", sample),
         "token": ("row", np.tile([0, 1], 6)),
         "probe": ("row", probe)},
    )  # fmt: skip
    write_zarr(place / CLUSTERS_FILE, clusters.drop_vars("row"))
    return place


def test_a_cluster_weighs_as_the_samples_of_its_tokens(tmp_path):
    rows = cluster_weights(a_run(tmp_path), "train", np.array([0.5, 0.7, 1.8]))
    assert [row["cluster"] for row in rows] == ["2", "1", "0"]
    found = {row["cluster"]: (row["tokens"], row["weight"], row["description"]) for row in rows}
    assert found == {
        "0": (2, 0.5, "names"),
        "1": (2, pytest.approx((0.7 + 1.8) / 2), "digits <b>"),
        "2": (1, 1.8, "spaces"),
    }


def test_a_cluster_weighs_as_its_tokens_where_these_have_weights(tmp_path):
    rho = np.array([[0.1, 0.3], [0.5, np.nan], [1.2, 1.8]])  # the fourth token does not count
    rows = cluster_weights(a_run(tmp_path), "train", rho)
    found = {row["cluster"]: row["weight"] for row in rows}
    assert found == {"0": 0.2, "1": pytest.approx((0.5 + 1.2) / 2), "2": 1.8}


def test_the_text_of_a_token_is_the_one_whose_loss_it_is():
    ids = torch.tensor([list(b"abcd"), list(b"wxyz")])
    text = Text(Samples(columns={"input_ids": ids}), ByteTokenizer())
    rows = (np.array([0, 1, 1]), np.array([0, 0, 2]))
    assert texts_at(text, rows, (2, 3)) == ["a⟨b⟩", "w⟨x⟩", "wxy⟨z⟩"]  # of the tokens that follow
    assert texts_at(text, rows, (2, 4)) == ["⟨a⟩", "⟨w⟩", "wx⟨y⟩"]
    assert texts_at(text, rows[:1], (2,)) == ["abcd", "wxyz", "wxyz"]


def test_clusters_that_would_not_be_found_again_are_left_out(tmp_path):
    rows = cluster_weights(a_run(tmp_path, (True, False, True)), "train", np.ones(3))
    assert [row["cluster"] for row in rows] == ["0", "2"]


def test_a_run_without_clusters_or_of_other_probes_has_none(tmp_path):
    assert cluster_weights(tmp_path, "train", np.ones(3)) == []
    assert cluster_weights(a_run(tmp_path), "prose", np.ones(3)) == []


def test_domains_are_told_where_there_are_several():
    ids = {"input_ids": torch.zeros(3, 2, dtype=torch.int64)}
    assert domain_labels(Samples(columns=ids)) is None
    several = Samples(columns=ids, domain=torch.tensor([1, 0, 1]), domain_names=("code", "logs"))
    assert domain_labels(several) == ("logs", "code", "logs")
    one = Samples(columns=ids, domain=torch.zeros(3, dtype=torch.int64), domain_names=("code",))
    assert domain_labels(one) is None
