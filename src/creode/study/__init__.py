"""One study: model(s), data and what to read, as a checked config; its units of work; its readings.

Here: configuration (config.py), planning and running (run.py), what is concluded (readings.py),
how that depends on the settings (sensitivity.py).
Not here: commands (cli/), the demo (demo.py).
"""

from creode.study.config import DataConfig, SamplerConfig, StudyConfig
from creode.study.readings import Readings
from creode.study.run import OnUnit, calibrate_study, open_draws, run_study
from creode.study.sensitivity import (
    save_sensitivity,
    sensitivity_record,
    sensitivity_report,
    study_sensitivity,
)

__all__ = [
    "DataConfig",
    "OnUnit",
    "Readings",
    "SamplerConfig",
    "StudyConfig",
    "calibrate_study",
    "open_draws",
    "run_study",
    "save_sensitivity",
    "sensitivity_record",
    "sensitivity_report",
    "study_sensitivity",
]
