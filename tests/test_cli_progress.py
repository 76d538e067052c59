"""Progress in a log: a line a minute with the time left, nothing of what is soon done."""

from types import SimpleNamespace

import pytest

pytest.importorskip("typer")
from creode.cli import progress


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def told(capsys):
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()


def test_a_log_is_told_once_a_minute(clock, capsys):
    with progress.progress("chain-steps") as advance:
        for step in range(1, 121):  # seconds, ten steps each; a pilot of half a minute before
            clock.seconds = 1030.0 + step
            advance("full", 5000 + 10 * step, 8600)
    assert told(capsys) == [
        "full: 5,300 of 8,600 chain-steps in 0:01:00, about 0:05:30 left",
        "full: 5,900 of 8,600 chain-steps in 0:02:00, about 0:04:30 left",
    ]


@pytest.mark.parametrize(("total", "left"), [(100, "0:00:10"), (600, "0:01:50")])
def test_each_stretch_of_work_has_its_own_speed(total, left, clock, capsys):
    with progress.progress("done") as advance:
        for clock.seconds, done in ((1001.0, 0), (1050.0, 600)):
            advance("loss", done, 600)
        for clock.seconds, done in ((1051.0, 0), (1061.0, 50)):
            advance("arms", done, total)
    assert told(capsys) == [f"arms: 50 of {total} done in 0:01:01, about {left} left"]


def test_what_does_not_move_has_no_time_left(clock, capsys):
    with progress.progress("arms") as advance:
        for clock.seconds in (1001.0, 1200.0):
            advance("mend", 1, 4)
    assert told(capsys) == ["mend: 1 of 4 arms in 0:03:20"]


def test_what_is_soon_done_is_not_told(clock, capsys):
    with progress.progress("steps") as advance:
        for clock.seconds in (1020.0, 1059.0):
            advance("train", 10, 10)
    assert told(capsys) == []
