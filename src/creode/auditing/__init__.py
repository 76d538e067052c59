"""Audits: what post-training data taught a model, behaviour by behaviour, and what mends it.

Here: how strongly each behaviour is shown (levels.py), which samples and groups drive it
(drivers.py), which parts carry it (parts.py), what mending would cost (mending.py), all of it in
one call (audit.py).
Not here: behaviours and their margins (data/, tasks/), effects of weights (patterning/), the run
and its page (study/, viewer/).
"""

from creode.auditing.audit import Audit, audit
from creode.auditing.drivers import group_drivers, sample_drivers
from creode.auditing.levels import levels
from creode.auditing.mending import mending
from creode.auditing.parts import part_effects

__all__ = [
    "Audit",
    "audit",
    "group_drivers",
    "levels",
    "mending",
    "part_effects",
    "sample_drivers",
]
