"""Stored results as a page for people: one HTML file that works offline, and PNG and SVG charts.

Here: the public names, and the check that the extra with the drawing libraries is installed.
Not here: any estimate. Everything shown was computed before and arrives labelled in a `Report`.
"""

from importlib.util import find_spec

_missing = [name for name in ("altair", "vl_convert", "jinja2") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"creode.viewer needs {', '.join(_missing)}, which is not installed. "
        'Install the drawing libraries with: pip install "creode[viz]"'
    )


from creode.viewer.audit_page import write_audit_report  # noqa: E402 - after the check
from creode.viewer.audit_report import AuditReport  # noqa: E402
from creode.viewer.development_report import DevelopmentReport  # noqa: E402
from creode.viewer.export import export_charts, export_sensitivity  # noqa: E402
from creode.viewer.loop_page import write_loop_report  # noqa: E402
from creode.viewer.loop_report import LoopReport  # noqa: E402
from creode.viewer.page import write_report  # noqa: E402
from creode.viewer.report import Report  # noqa: E402
from creode.viewer.response_page import write_response_report  # noqa: E402
from creode.viewer.response_report import InfluenceQuery, ResponseReport  # noqa: E402
from creode.viewer.sensitivity import SensitivityReport  # noqa: E402
from creode.viewer.sensitivity_page import write_sensitivity_report  # noqa: E402
from creode.viewer.writing_page import write_writing_report  # noqa: E402
from creode.viewer.writing_report import Writing, WritingReport  # noqa: E402

__all__ = [
    "AuditReport",
    "DevelopmentReport",
    "InfluenceQuery",
    "LoopReport",
    "Report",
    "ResponseReport",
    "SensitivityReport",
    "Writing",
    "WritingReport",
    "export_charts",
    "export_sensitivity",
    "write_audit_report",
    "write_loop_report",
    "write_report",
    "write_response_report",
    "write_sensitivity_report",
    "write_writing_report",
]
