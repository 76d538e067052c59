"""Run directories: atomic units of work, resume, one writer, nothing silently wrong.

A run directory holds `run.json` (what was asked for and with what), `draws.zarr` (one group per
complete unit of work), `units/` (the checksums of every complete unit; a unit without them is not
complete), and, while a run is unfinished, `snapshots/`, `staging/` and `lock`.

Here: `Store`, the only way in, and `StoreError`.
Not here: what a unit of work is and the loop over them (sampling/), fingerprints (fingerprint/).
"""

from creode.store.directory import Store
from creode.store.errors import StoreError
from creode.store.units import Key

__all__ = ["Key", "Store", "StoreError"]
