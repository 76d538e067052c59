"""The report, its page, and a browser to look at it with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic_report


@pytest.fixture(scope="session")
def report() -> Any:
    return synthetic_report.make_report()


@pytest.fixture(scope="session")
def page_path(report: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from creode.viewer import write_report

    return write_report(report, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without one the tests are skipped, but not in continuous integration."""
    path = shutil.which("chromium")
    if path is None:
        message = "no chromium on this machine: install Debian's package `chromium`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            headless=True,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()
