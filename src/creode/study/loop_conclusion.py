"""What a loop says: what formed when, which parts and data made one behaviour, what weights did.

Here: the loop's conclusions as plain records and files, and everything its page shows.
Not here: its stages (loop.py), estimates (development/, response/, patterning/), the page
(viewer/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from creode.data import Samples
from creode.diagnostics.excess import probe_dataset
from creode.patterning.effects import effects
from creode.response import significant
from creode.response.replicates import LOSS
from creode.response.uncertainty import estimate, p_value, two_sided
from creode.study.attribution import Attribution
from creode.study.conclusion import finite, write_json
from creode.study.config import QUERY, TRAIN
from creode.study.development import Development
from creode.study.loop import Loop
from creode.study.loop_proof import WHEN, step_at
from creode.study.responses import Responses
from creode.study.retraining import proof_records
from creode.study.texts import Text, texts_of
from creode.study.weights_page import domain_labels
from creode.study.writing import one_posterior

if TYPE_CHECKING:
    from creode.viewer import LoopReport, Writing

RECORDS_FILE = "loop.json"
SAMPLES = 5  # of each side of the attribution that are told
EFFECT = ("wanted", "predicted", "predicted_se", "p", "fitted")


@dataclass(frozen=True)
class LoopConclusion:
    """The conclusions of a finished loop."""

    loop: Loop

    @property
    def development(self) -> Development:
        """What formed when."""
        return cast(Development, self.loop.concluded("development"))

    @property
    def response(self) -> Responses:
        """Which parts answer to which data."""
        return cast(Responses, self.loop.concluded("response"))

    @property
    def attribution(self) -> Attribution:
        """The posterior that knows every training sample."""
        return cast(Attribution, self.loop.concluded("weights"))

    @cached_property
    def draws(self) -> xr.DataTree:
        """The same posterior's draws."""
        return one_posterior(self.loop.out / "weights", None, None)

    @cached_property
    def data(self) -> Samples:
        """The training samples."""
        study = self.loop.studies["weights"]
        first = study.series()[0]
        return study.data.load(study.model if first is None else first.path)

    @cached_property
    def domains(self) -> tuple[str, ...] | None:
        """The domain of each training sample, where the data know domains."""
        return domain_labels(self.data)

    @cached_property
    def text(self) -> Text | None:
        """The training samples as text; None where there is none."""
        known = self.attribution.config["fingerprints"]["probes"]
        return texts_of(self.loop.studies["weights"], known, (TRAIN,)).found.get(TRAIN)

    def formed(self) -> list[dict[str, Any]]:
        """When each probe's loss had fallen by the share that counts, the earliest first."""
        share = self.loop.config.proof.level
        rows = []
        for probe in self.loop.config.probes:
            along = [one for one in self.loop.losses if one["probe"] == probe]
            steps, losses = [one["step"] for one in along], [one["loss"] for one in along]
            level = losses[0] - share * (losses[0] - losses[-1])
            step = step_at(level, steps, losses)
            rows.append(
                {
                    "probe": probe, "first": losses[0], "last": losses[-1], "level": level,
                    "step": step, "after": max((s for s in steps if s < step), default=steps[0]),
                    "until": min((s for s in steps if s >= step), default=steps[-1]),
                }
            )  # fmt: skip
        return sorted(rows, key=lambda row: row["step"])

    def by_domain(self) -> list[dict[str, Any]]:
        """What a tenth more weight on each domain does to the behaviour's loss, nats."""
        if self.domains is None:
            return []
        found = effects(self.draws, TRAIN, {QUERY: QUERY})
        names = list(self.data.domain_names)
        member = np.array([[domain == name for name in names] for domain in self.domains])
        told = estimate(
            xr.DataArray(
                0.1 * found.replicates[:, :, 0] @ member,
                dims=("chain", "block", "domain"),
                coords={"domain": names},
            ),
            "effect",
        )
        p = p_value(told["effect"], told["effect_se"], told["effect_dof"])
        rows = [
            {"domain": name, "samples": int(member[:, i].sum()),
             **finite({"effect": float(told["effect"][i]), "effect_se": float(told["effect_se"][i]),
                       "p": float(p[i])}), "ok": found.ok, "reasons": found.reasons}
            for i, name in enumerate(names)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: row["effect"] or 0.0)

    def samples(self) -> dict[str, list[dict[str, Any]]]:
        """The training samples that most help and most harm the behaviour."""
        found = self.attribution.influence.of(probe_dataset(self.draws, QUERY)["loss"])
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (found["bif"] / found["bif_se"]).values
        p = two_sided(z, max(int(found.attrs["blocks"]) - 1, 1))
        told = significant(xr.DataArray(p, dims="train")).values
        order = np.argsort(found["bif"].values, kind="stable")
        sides = {"helpful": order[:SAMPLES], "harmful": order[::-1][:SAMPLES]}
        return {
            side: [
                {
                    "train": int(i), "text": None if self.text is None else self.text.of(int(i)),
                    "domain": None if self.domains is None else self.domains[i],
                    **finite({n: float(found[n].values[i]) for n in ("bif", "bif_se")}),
                    **finite({"z": float(z[i])}), "significant": bool(told[i]),
                }
                for i in chosen
            ]
            for side, chosen in sides.items()
        }  # fmt: skip

    def proofs(self) -> list[dict[str, Any]]:
        """What the arms showed, a record a direction and observable; of each arm its mean."""
        return [
            {
                "direction": direction, **record, "observable": self.name(record["observable"]),
                **{
                    arm: float(made.proof["value"].sel(arm=arm, observable=record["observable"])
                               .mean())
                    for arm in map(str, made.proof["arm"].values)
                },
            }
            for direction, made in self.loop.made.items()
            for record in proof_records(made.proof)
        ]  # fmt: skip

    def weights_by_domain(self) -> list[dict[str, Any]]:
        """The mean weight of each domain, a record a direction and domain."""
        if self.domains is None:
            return []
        labels = np.array(self.domains)
        return [
            {
                "direction": direction, "domain": name, "samples": int((labels == name).sum()),
                "mean_weight": float(made.weights.values[labels == name].mean()),
            }
            for direction, made in self.loop.made.items()
            for name in self.data.domain_names
        ]  # fmt: skip

    def weights(self) -> list[dict[str, Any]]:
        """What the weights were made for and are predicted to do, a record each."""
        return [
            {
                "direction": direction, "observable": self.name(str(name)),
                **finite({n: float(one.effect[n].sel(observable=name)) for n in EFFECT}),
                "effective_share": one.weights.effective_share,
                "ok": bool(one.effect["ok"]), "reasons": str(one.effect["reasons"].item()),
            }
            for direction, one in self.loop.made.items()
            for name in one.effect["observable"].values
        ]  # fmt: skip

    def name(self, observable: str) -> str:
        """What an observable is called for people."""
        return {QUERY: self.loop.config.behaviour, LOSS: "the training data"}.get(
            observable, observable
        )

    @cached_property
    def records(self) -> dict[str, Any]:
        """Everything that is concluded, as plain values."""
        return {
            "behaviour": self.loop.config.behaviour,
            "formed": self.formed(),
            "stages": self.development.records(),
            "response": self.response.records(),
            "by_domain": self.by_domain(),
            "samples": self.samples(),
            "weights": self.weights(),
            "weights_by_domain": self.weights_by_domain(),
            "proof": self.proofs(),
        }

    def doubtful(self) -> list[Mapping[str, Any]]:
        """All records with a verdict."""
        tables = ("stages", "response", "by_domain", "weights", "proof")
        return [record for name in tables for record in self.records[name]]

    def save(self) -> Path:
        """Write the records as `loop.json` into the loop's directory."""
        return write_json(self.loop.out / RECORDS_FILE, self.records)

    def write_report(self) -> Path:
        """Write the page, `report.html`, into the loop's directory."""
        from creode.viewer import write_loop_report

        return write_loop_report(self.report(), self.loop.out / "report.html")

    def report(self) -> LoopReport:
        """Everything the page shows."""
        from creode.viewer import LoopReport

        config = self.loop.config
        return LoopReport(
            title=config.title,
            about=config.about,
            behaviour=config.behaviour,
            records=self.records,
            losses=self.loop.losses,
            level=config.proof.level,
            start=config.proof.start,
            num_samples=len(self.data),
            steps=config.training.steps,
            development=self.development.report(),
            response=self.response.report(),
            writings=self.writings(),
            details={
                "What formed when": "development/report.html",
                "Parts and data": "response/report.html",
                "Training samples": "weights/report.html",
            },
            config=config.model_dump(mode="json", exclude_none=True),
            command=f"creode run {self.loop.out / 'study.yaml'} --out {self.loop.out}",
        )

    def writings(self) -> list[Writing]:
        """The weights of each direction, with what is known of them."""
        from creode.viewer import Writing

        texts = None
        if self.text is not None:
            texts = [self.text.of(i) for i in range(len(self.data))]
        return [
            Writing(
                name=f"{direction} {self.name(QUERY)}",
                weights=made.weights.values,
                effect=made.effect,
                aim=QUERY,
                texts=texts,
                groups=self.domains,
                explained=made.explained,
                proof=made.proof,
                shown={QUERY: self.name(QUERY)},
                when=WHEN if WHEN in made.proof["observable"] else None,
            )
            for direction, made in self.loop.made.items()
        ]
