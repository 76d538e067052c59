"""Learning coefficients, losses and responses of a run as one Dataset along checkpoints.

Here: which of a run's readings form the trajectory that stages are told of, under which names.
Not here: the readings themselves (geometry/, response/), what else is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import xarray as xr

from creode.geometry.over_study import NOT_RUN


def readings_along(
    first: str,
    verdict: xr.Dataset,
    on_probes: Mapping[str, xr.Dataset],
    responses: Callable[[], xr.Dataset],
) -> xr.Dataset:
    """Readings with the dimension checkpoint first, of the names that `Development` tells.

    Args:
        first: the component that stages are of.
        verdict: `creode.llc` of every posterior on its own data.
        on_probes: the same on each probe.
        responses: gives χ of every component to each probe; asked where there are both.
    """
    others = [name for name in map(str, verdict["component"].values) if name != first]
    whole = verdict.sel(component=first, drop=True)
    found = xr.Dataset(
        {"llc": whole["llc"], "llc_se": whole["llc_se"], "ok": whole["ok"].astype(bool),
         "loss": whole["init_loss"], "loss_se": whole["init_loss_se"],
         "loss_ok": whole["init_loss"].notnull()}
    )  # fmt: skip
    along = [n for n in others if (verdict["reasons"].sel(component=n) != NOT_RUN).all()]
    if along:
        found = found.assign(_parts("component_llc", verdict.sel(component=along)))
    if on_probes:
        on = xr.concat(
            [probe.sel(component=first, drop=True) for probe in on_probes.values()],
            xr.Variable("probe", [*on_probes]), combine_attrs="drop",
        )  # fmt: skip
        losses = {
            "probe_loss": on["init_loss"],
            "probe_loss_se": on["init_loss_se"],
            "probe_loss_ok": on["init_loss"].notnull(),
        }
        found = found.assign(_parts("probe_llc", on) | losses)
    if on_probes and along:
        found = found.assign(_chi(responses().sel(component=along, probe=[*on_probes])))
    return found


def _chi(found: xr.Dataset) -> dict[str, xr.DataArray]:
    return {
        "chi": found["chi"],
        "chi_se": found["chi_se"],
        "chi_ok": found["ok"].astype(bool) & found["chi"].notnull(),
    }


def _parts(name: str, dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    return {
        name: dataset["llc"],
        f"{name}_se": dataset["llc_se"],
        f"{name}_ok": dataset["ok"].astype(bool),
    }
