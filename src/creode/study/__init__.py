"""One study: model(s), data and what to read, as a checked config; its units of work; its readings.

Here: configuration (config.py), running (run.py), what it will cost (plan.py), what is concluded
(conclusion.py; readings.py, development.py, responses.py, attribution.py, audits.py), how that
depends on the settings (sensitivity.py).
Not here: commands (cli/), the demo (demo.py).
"""

from creode.study.attribution import Attribution
from creode.study.audits import Audits
from creode.study.conclusion import Conclusion
from creode.study.config import DataConfig, SamplerConfig, StudyConfig
from creode.study.development import Development
from creode.study.kinds import conclusions
from creode.study.plan import Cost, plan_study
from creode.study.readings import Readings
from creode.study.responses import Responses
from creode.study.run import OnUnit, calibrate_study, open_draws, run_study
from creode.study.sensitivity import Grid, sensitivity
from creode.study.sensitivity_records import (
    open_sensitivity,
    save_sensitivity,
    sensitivity_record,
    sensitivity_report,
    study_sensitivity,
)

__all__ = [
    "Attribution",
    "Audits",
    "Conclusion",
    "Cost",
    "DataConfig",
    "Development",
    "Grid",
    "OnUnit",
    "Readings",
    "Responses",
    "SamplerConfig",
    "StudyConfig",
    "calibrate_study",
    "conclusions",
    "open_draws",
    "open_sensitivity",
    "plan_study",
    "run_study",
    "save_sensitivity",
    "sensitivity",
    "sensitivity_record",
    "sensitivity_report",
    "study_sensitivity",
]
