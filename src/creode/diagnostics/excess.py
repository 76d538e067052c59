"""Excess loss of each draw over the anchor's, L(w) − L(w*), both terms on the same samples.

Here: that trace from one posterior's saved draws, for the posterior's own data or for a probe.
Not here: its mean as a reading (geometry/llc.py), checks on it (the other files here).
Symbols: L mean loss in nats per unit (sample or token), ℓ_z the loss of unit z, w* the anchor.
"""

from __future__ import annotations

import xarray as xr

ROOT_VARIABLES = ("distance_sq", "virial", "loss_virial", "temperature", "failed_at")


def excess_loss(draws: xr.DataTree, on: str = "data") -> xr.Dataset:
    """The losses of one posterior's draws and of its anchor on the same samples.

    Args:
        draws: one posterior's tree, as saved.
        on: "data" for the posterior's own loss (recorded on training minibatches, or on the probe
            named "data" if `loss_from` says so), or the name of a probe.

    Returns:
        loss, init_loss, excess = loss − init_loss, all (chain, draw), nats per unit; excess_sq,
        (chain, draw), nats²: unbiased for (L(w) − L(w*))² (minibatch noise is already subtracted by
        the recorder; a probe has none).

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: `draws` is not one posterior's tree, or it has no such probe.
    """
    root = posterior_dataset(draws)
    if on == "data" and root.attrs.get("loss_from", "minibatch") == "minibatch":
        pair = _variables(root, ("loss", "init_loss", "excess_sq"), where="the draws")
        loss, init_loss = pair["loss"], pair["init_loss"]
        excess = loss - init_loss
        excess_sq = pair["excess_sq"]
    else:
        probe = probe_dataset(draws, on)
        loss = probe["loss"]
        init_loss = anchor_loss(probe).broadcast_like(loss)
        excess = loss - init_loss
        excess_sq = excess**2
    return xr.Dataset(
        {"loss": loss, "init_loss": init_loss, "excess": excess, "excess_sq": excess_sq}
    ).astype("float64")


def anchor_loss(probe: xr.Dataset) -> xr.DataArray:
    """L(w*) of a probe: the mean of ℓ_z(w*) over its counted units, (), nats per unit."""
    counted = probe["unit_init_loss"].where(probe["mask"], 0.0)
    return counted.sum(skipna=False) / probe["mask"].sum()


def posterior_dataset(draws: xr.DataTree) -> xr.Dataset:
    """The root Dataset of one posterior's tree, checked.

    Raises:
        TypeError: `draws` is not a DataTree.
        ValueError: `draws` is a study's tree, or lacks recorded variables.
    """
    if not isinstance(draws, xr.DataTree):
        raise TypeError(
            f"draws must be an xarray.DataTree as saved by sampling, got {type(draws).__name__}."
        )
    root = draws.to_dataset(inherit=True)
    if not root.data_vars and any("distance_sq" in node.data_vars for node in draws.subtree):
        raise ValueError(
            "draws holds several posteriors (a study); give the tree of one of them, for example "
            f"draws[{next(iter(draws.children))!r}][...]."
        )
    return _variables(root, ROOT_VARIABLES, where="the draws")


def probe_dataset(draws: xr.DataTree, name: str) -> xr.Dataset:
    """The Dataset of the probe `name`, checked.

    Raises:
        ValueError: there is no such probe, or it lacks recorded variables.
    """
    known = sorted(draws.children["probes"].children) if "probes" in draws.children else []
    if name not in known:
        raise ValueError(
            f"on={name!r} is not a probe of these draws; known: {['data', *known]}. "
            "Sample again with that probe to read its loss."
        )
    probe = draws.children["probes"].children[name].to_dataset(inherit=True)
    return _variables(
        probe, ("loss", "unit_init_loss", "mask", "unit_mean"), where=f"probe {name!r}"
    )


def _variables(data: xr.Dataset, names: tuple[str, ...], *, where: str) -> xr.Dataset:
    """`data`, once it holds every variable of `names`."""
    missing = [name for name in names if name not in data.data_vars]
    if missing:
        raise ValueError(
            f"{where} lack(s) the variables {missing}; found {sorted(map(str, data.data_vars))}. "
            "Were they saved by creode.sample?"
        )
    return data
