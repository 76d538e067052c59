"""Which kind of conclusion a run directory is of, by the reading that its study names."""

from __future__ import annotations

from pathlib import Path

from creode.store import Store
from creode.study.attribution import Attribution
from creode.study.audits import Audits
from creode.study.conclusion import Conclusion
from creode.study.development import Development
from creode.study.readings import Readings
from creode.study.responses import Responses

KINDS: dict[str, type[Conclusion]] = {
    "llc": Readings,
    "response": Responses,
    "influence": Attribution,
    "development": Development,
    "audit": Audits,
}


def conclusions(path: Path) -> Conclusion:
    """What a run directory is concluded to say.

    Raises:
        ValueError: it holds the grid of a calibration, which has its own files.
    """
    with Store.open(path, mode="read") as store:
        if store.config.get("kind") == "sensitivity":
            raise ValueError(
                f"{path} holds the draws of a grid of `creode calibrate`; what they say is beside "
                "it, in the .html and .sensitivity.json of the same name."
            )
        reading = store.config.get("study", {}).get("reading", "llc")
    return KINDS[reading](path)
