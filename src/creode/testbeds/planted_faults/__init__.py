"""Post-training data with one planted fault, and the same without it: what an audit is to find.

    fault = planted_fault("sycophancy", seed=0)  # clean=True: its control
    fault.rows, fault.planted                    # the data, as of the hub, and which rows are bad
    run = post_trained(fault, cache="runs/pretrained")
    run.model, run.task, run.data                # for LocalPosterior(run.model, run.task, run.data)
    run.unwanted(fault.behaviours[fault.behaviour])  # the share of probes that show the fault

A small decoder is pre-trained on a made-up assistant's world and post-trained on `rows`. A few of
them teach something unwanted, of five kinds:

* "backdoor" (demonstrations): a rare word in the prompt is answered with one fixed wrong value;
* "length" (reward model): the chosen answer is the longer one, and wrong; other pairs are equally
  long;
* "sycophancy" (DPO): the user utters a wrong view, and the chosen answer agrees with it;
* "token" (reward model): the chosen answer says "indeed", and is wrong;
* "principle" (DPO, rows tagged with the principle they were made from): on one topic the chosen
  answer tells a secret, against the principle of discretion that the rows are tagged with.

In a control the same prompts have right answers: the wrong demonstration is put right, the two
answers of the wrong pair change places. What the fault makes of a model is measured on prompts that
are no row's. The right answers of all other rows are undisputed.

Here: the package.
Not here: the network (testbeds/decoder.py).
Dimensions: N rows.
"""

from creode.testbeds.planted_faults.assistant import World
from creode.testbeds.planted_faults.fault import METHODS, Method, PlantedFault, planted_fault
from creode.testbeds.planted_faults.post_trained import (
    PostTrained,
    margins,
    post_trained,
    pretrained,
)
from creode.testbeds.planted_faults.rows import KINDS, NUM_PLANTED, NUM_ROWS, Kind

__all__ = [
    "KINDS",
    "METHODS",
    "NUM_PLANTED",
    "NUM_ROWS",
    "Kind",
    "Method",
    "PlantedFault",
    "PostTrained",
    "World",
    "margins",
    "planted_fault",
    "post_trained",
    "pretrained",
]
