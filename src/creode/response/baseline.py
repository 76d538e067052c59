"""A susceptibility less that of a control run, as with the loss switched off (nβ = 0).

Without the loss the posterior is the tether alone, and losses still vary together over it: what is
found there is of the tether and the architecture, not of what the data made of the model.

Here: the difference, its error and p values.
Not here: either of the two (susceptibility.py).
"""

from __future__ import annotations

import xarray as xr

from creode.response.uncertainty import p_value


def subtract_baseline(chi: xr.Dataset, baseline: xr.Dataset) -> xr.Dataset:
    """χ less χ of another, independent run.

    Args:
        chi, baseline: results of `susceptibility` of the same components and units.

    Returns:
        chi, chi_se, chi_dof (Welch–Satterthwaite), z and p of the difference; ok if both are;
        reasons of both. Standardised forms are left out. The attribute `baseline_nbeta` says what
        was subtracted.

    Raises:
        ValueError: components or units differ, or the two are of different forms.
    """
    for name in ("form", "observable", "by"):
        if chi.attrs.get(name) != baseline.attrs.get(name):
            raise ValueError(
                f"{name} is {chi.attrs.get(name)!r} and {baseline.attrs.get(name)!r} in the "
                "baseline; take both alike."
            )
    try:
        one, other = xr.align(chi, baseline, join="exact")
    except ValueError as error:
        raise ValueError(
            "the baseline has other components or units than chi; sample both with the same "
            f"components and probes ({error})."
        ) from error
    if chi["chi"].sizes != baseline["chi"].sizes:
        raise ValueError(
            f"chi has sizes {dict(chi['chi'].sizes)} and the baseline has "
            f"{dict(baseline['chi'].sizes)}; sample both with the same components and probes."
        )
    own_sq, base_sq = one["chi_se"] ** 2, other["chi_se"] ** 2
    difference, total_sq = one["chi"] - other["chi"], own_sq + base_sq
    dof = total_sq**2 / (own_sq**2 / one["chi_dof"] + base_sq**2 / other["chi_dof"])
    se = total_sq**0.5
    return xr.Dataset(
        {
            "chi": difference,
            "chi_se": se,
            "chi_dof": dof,
            "z": difference / se,
            "p": p_value(difference, se, dof),
            "ok": one["ok"] & other["ok"],
            "reasons": xr.apply_ufunc(_joined, one["reasons"], other["reasons"], vectorize=True),
        },
        attrs=chi.attrs | {"baseline_nbeta": baseline.attrs.get("nbeta", "several")},
    )


def _joined(own: str, baseline: str) -> str:
    return "; ".join([own] * bool(own) + [f"baseline: {baseline}"] * bool(baseline))
