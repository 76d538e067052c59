"""The alarm: it waits while the loss moves, rings when readings move without it, and replays."""

from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr

from creode.development import Alarm, AlarmConfig, Reading, alarms
from creode.training import log_spaced

STEPS = log_spaced(10, 20_000, 45)
NUM, EARLY, CHANGE = len(STEPS), 8, 30


def run(seed: int = 0, *, change: float = 0.0, fall: float = 0.0) -> dict[str, np.ndarray]:
    """A fall of the loss with wild readings, then a flat loss; at CHANGE both move."""
    rng = np.random.default_rng(seed)
    early = np.clip(EARLY - np.arange(NUM), 0, None)
    after = np.arange(NUM) >= CHANGE
    return {
        "loss": 1.0 + 4 * (early / EARLY) ** 2 + fall * after + 1e-3 * rng.standard_normal(NUM),
        "llc": 20 + 30 * np.sin(early) + 0.5 * rng.standard_normal(NUM) + change * after,
        "chi": rng.standard_normal(NUM),
    }


def feed(alarm: Alarm, series: Mapping[str, np.ndarray], start: int = 0) -> Alarm:
    for i in range(start, NUM):
        readings = {"loss": (series["loss"][i],), "llc": (series["llc"][i], 0.5)}
        alarm.update(STEPS[i], {**readings, "chi": Reading(series["chi"][i], 1.0)})
    return alarm


@pytest.mark.parametrize(
    ("change", "fall", "kind"),
    [
        (8.0, 0.0, "silent"),
        (-8.0, 0.0, "silent"),
        (8.0, -0.5, "opposing"),
        (-8.0, -0.5, "with the loss"),
        (8.0, 0.5, "with the loss"),
    ],
)
def test_it_rings_at_a_change_and_says_what_the_loss_did(
    change: float, fall: float, kind: str
) -> None:
    alarm = feed(Alarm(), run(change=change, fall=fall))
    event = alarm.events[0]
    assert (event.reading, event.kind) == ("llc", kind)
    assert STEPS[CHANGE + 1] <= event.step <= STEPS[CHANGE + 7]
    assert event.since_low <= event.since == STEPS[CHANGE] <= event.since_high
    assert abs(event.change - change) < 4 * event.change_se < 4.0
    assert abs(event.loss_change - fall) < max(4 * event.loss_change_se, 2e-3)
    assert event.log_evidence > event.log_needed > np.log(2 * 2 / 0.05)
    assert "llc changed by" in str(event)
    assert len(alarm.events) == 1


def test_it_does_not_ring_without_a_change() -> None:
    events = [event for seed in range(6) for event in feed(Alarm(), run(seed)).events]
    assert events == []


def test_it_watches_once_the_loss_is_flat() -> None:
    series, alarm = run(), Alarm()
    begun: dict[int, dict[str, int]] = {}
    for i in range(NUM):
        alarm.update(STEPS[i], {"loss": (series["loss"][i],), "llc": (series["llc"][i], 0.5)})
        begun[i] = alarm.watching()
    first = next(i for i in begun if begun[i])
    assert EARLY + 4 <= first <= EARLY + 8
    assert begun[first] == {"llc": STEPS[first - 7]}
    falling = {**series, "loss": np.linspace(9, 1, NUM)}  # smooth, so that nothing is noise
    alarm = feed(Alarm(), {**falling, "llc": series["llc"] + 1e3 * (np.arange(NUM) > CHANGE)})
    assert (alarm.watching(), alarm.events) == ({}, [])


def test_a_noisy_loss_is_flat_within_its_noise() -> None:
    rng = np.random.default_rng(2)
    noisy = {**run(change=8.0), "loss": rng.standard_normal(NUM)}
    alarm = feed(Alarm(AlarmConfig(flat=0.0)), noisy)
    assert [event.kind for event in alarm.events] == ["silent"]
    exact = {**noisy, "loss": np.linspace(9, 1, NUM)}
    alarm = Alarm(AlarmConfig(flat=0.0))
    for i in range(NUM):  # the same fall, if its stated error is as large as all of it
        alarm.update(STEPS[i], {"loss": (exact["loss"][i], 8.0), "llc": (exact["llc"][i], 0.5)})
    assert [event.kind for event in alarm.events] == ["silent"]


def test_drift_and_its_settling_do_not_ring_and_its_turning_back_does() -> None:
    t = np.log(np.array(STEPS))
    for shape in (10 * (t - t[0]), 40 * np.exp(-np.arange(NUM) / 10)):
        series = run()
        assert feed(Alarm(), {**series, "llc": series["llc"] + shape}).events == []
    series = run()
    stops = series["llc"] + 3.0 * np.minimum(np.arange(NUM), CHANGE)
    alarm = feed(Alarm(AlarmConfig(wander=(0.0,), least=0.0)), {**series, "llc": stops})
    assert alarm.events == []
    assert alarm.watching()["llc"] > STEPS[CHANGE - 7]  # its drift settled, and it began anew
    back = np.minimum(np.arange(NUM), 2 * CHANGE - np.arange(NUM)) * 3.0
    series = run()
    event = feed(Alarm(), {**series, "llc": series["llc"] + back}).events[0]
    assert event.since_low <= STEPS[CHANGE + 1] <= event.since_high
    assert event.change < 0


def test_another_stage_rings_again() -> None:
    series = run(change=12.0)
    series["llc"][CHANGE - 12 :] -= 30.0
    alarm = feed(Alarm(AlarmConfig(reference=4, drift=0, wander=(0.0,), rate=0.2)), series)
    assert [(e.since, np.sign(e.change)) for e in alarm.events] == [
        (STEPS[CHANGE - 12], -1),
        (STEPS[CHANGE], 1),
    ]


@pytest.mark.parametrize("stop", [0, 5, 14, CHANGE + 1, NUM])
def test_stored_and_read_back_it_goes_on_as_if_nothing_had_been(stop: int) -> None:
    series = run(change=8.0)
    whole = feed(Alarm(), series)
    first = Alarm()
    for i in range(stop):
        readings = {"loss": (series["loss"][i],), "llc": (series["llc"][i], 0.5)}
        first.update(STEPS[i], {**readings, "chi": (series["chi"][i], 1.0)})
    again = feed(Alarm.from_json(first.to_json()), series, start=stop)
    assert again.events == whole.events
    assert again.to_json() == whole.to_json()
    assert again.last_step == STEPS[-1]
    with pytest.raises(ValueError, match="not the state of an alarm"):
        Alarm.from_json('{"config": {}}')


def test_readings_that_are_not_there_or_not_ok_are_left_out() -> None:
    series = run(change=8.0)
    alarms_of = {}
    for how in ("absent", "nan", "not ok", "no error"):
        alarm = Alarm(AlarmConfig(watch=("llc",)))
        for i in range(NUM):
            readings = {"loss": Reading(series["loss"][i]), "llc": Reading(series["llc"][i], 0.5)}
            if i % 5 == 0:
                bad = {"nan": (np.nan, 0.5), "not ok": (99.0, 0.5, False), "no error": (99.0, 0.0)}
                readings.pop("llc")
                if how != "absent":
                    readings["llc"] = Reading(*bad[how])
            alarm.update(STEPS[i], readings)
        alarms_of[how] = [str(event) for event in alarm.events]
    assert len(set(map(tuple, alarms_of.values()))) == 1
    assert len(alarms_of["nan"]) == 1


@pytest.mark.parametrize("size", [10.0, 1e6])
def test_one_outlier_does_not_ring(size: float) -> None:
    for at in (NUM - 12, NUM - 2, NUM - 1):
        series = run()
        series["llc"][at] += size
        assert feed(Alarm(AlarmConfig(drift=0, wander=(0.0,))), series).events == []


def test_losses_that_are_not_there_are_said_to_be_unknown() -> None:
    series = run(change=8.0)
    series["loss"][CHANGE:] = np.nan
    assert [event.kind for event in feed(Alarm(), series).events] == ["loss unknown"]
    series["loss"][:] = np.nan
    alarm = feed(Alarm(), series)
    assert (alarm.watching(), alarm.events) == ({}, [])


def test_small_changes_are_not_told() -> None:
    series = run(change=8.0)  # of a level of 20
    assert feed(Alarm(AlarmConfig(least=0.3)), series).events
    assert not feed(Alarm(AlarmConfig(least=0.6)), series).events


def test_many_readings_share_the_rate() -> None:
    series = run(change=8.0)
    needed = []
    for count in (1, 10):
        alarm = Alarm(AlarmConfig(watch=("llc", *(f"r{k}" for k in range(count - 1)))))
        for i in range(NUM):
            alarm.update(STEPS[i], {"loss": (series["loss"][i],), "llc": (series["llc"][i], 0.5)})
        needed.append(min(event.log_needed for event in alarm.events))
    assert needed[1] - needed[0] == pytest.approx(np.log(10))


def up_and_down(seed: int = 0) -> dict[str, np.ndarray]:
    """Both readings rise a while after the loss is flat, and fall later."""
    at = np.arange(NUM)
    moved = 30.0 * ((at >= CHANGE - 12) & (at < CHANGE))
    series = run(seed)
    return {**series, "llc": series["llc"] + moved, "chi": series["chi"] + 2 * moved}


QUICK = {"reference": 4, "drift": 0, "wander": (0.0,), "rate": 0.2}


@pytest.mark.parametrize("way", ["falls", "rises"])
def test_it_rings_the_way_a_reading_is_asked_to_go(way: str) -> None:
    either = feed(Alarm(AlarmConfig(**QUICK)), up_and_down())
    asked = feed(Alarm(AlarmConfig(watch={"llc": way, "chi": "either"}, **QUICK)), up_and_down())
    assert [(e.reading, e.since, np.sign(e.change)) for e in either.events] == [
        ("llc", STEPS[CHANGE - 12], 1),
        ("chi", STEPS[CHANGE - 12], 1),
        ("llc", STEPS[CHANGE], -1),
        ("chi", STEPS[CHANGE], -1),
    ]
    other = 0 if way == "falls" else 2  # of the four, the one that did not ring
    assert [event.change for event in asked.events] == [
        event.change for k, event in enumerate(either.events) if k != other
    ]
    assert all(event.asked for event in either.events + asked.events)
    assert either.unasked == []
    (event,) = asked.unasked
    assert (event.change, event.asked) == (either.events[other].change, False)
    assert str(event).endswith("not asked for")


def test_directions_take_rings_away_and_leave_the_evidence_as_it_is() -> None:
    config = {"reference": 4, "drift": 0, "wander": (0.0,), "least": 0.0}
    changes: list[float] = []
    for seed in range(3):  # readings that walk, which rings both ways where no walk is allowed for
        walk = np.random.default_rng(seed).standard_normal(NUM).cumsum()
        series = {**run(seed), "llc": walk, "chi": -2 * walk}
        either = feed(Alarm(AlarmConfig(watch=("llc", "chi"), **config)), series)
        falls = dict.fromkeys(("llc", "chi"), "falls")
        asked = feed(Alarm(AlarmConfig(watch=falls, **config)), series)
        assert asked.events == [event for event in either.events if event.change < 0]
        assert [event.change for event in asked.unasked] == [
            event.change for event in either.events if event.change > 0
        ]
        assert asked.watching() == either.watching()
        changes += [event.change for event in either.events]
    assert min(changes) < 0 < max(changes)


def test_directions_and_what_was_not_asked_for_are_stored() -> None:
    series = up_and_down()
    config = AlarmConfig(watch={"llc": "falls", "chi": "rises"}, **QUICK)
    whole, first = feed(Alarm(config), series), Alarm(config)
    for i in range(CHANGE - 5):
        readings = {"loss": (series["loss"][i],), "llc": (series["llc"][i], 0.5)}
        first.update(STEPS[i], {**readings, "chi": (series["chi"][i], 1.0)})
    assert len(first.unasked) == 1
    again = feed(Alarm.from_json(first.to_json()), series, start=CHANGE - 5)
    assert (again.config, again.events, again.unasked) == (config, whole.events, whole.unasked)


def test_what_cannot_be_watched_is_refused() -> None:
    alarm = Alarm()
    with pytest.raises(ValueError, match=r"step 1: no loss 'loss' among \['llc'\]"):
        alarm.update(1, {"llc": (1.0, 0.1)})
    with pytest.raises(ValueError, match=r"step 1: no reading with an error in \['acc', 'loss'\]"):
        Alarm().update(1, {"loss": 1.0, "acc": 0.5})
    alarm = Alarm()
    alarm.update(1, {"loss": 1.0, "llc": (1.0, 0.1), "acc": 0.5})
    with pytest.raises(ValueError, match="step 1 does not come after step 1"):
        alarm.update(1, {"loss": 1.0, "llc": (1.0, 0.1)})
    with pytest.raises(ValueError, match=r"\['chi'\] are not among the readings watched \(llc\)"):
        alarm.update(2, {"loss": 1.0, "chi": (1.0, 0.1)})
    with pytest.raises(ValueError, match="step 2: llc came without a standard error"):
        alarm.update(2, {"loss": 1.0, "llc": 1.0})
    with pytest.raises(ValueError, match=r"llc: a reading is a number or \(value, standard error"):
        alarm.update(2, {"loss": 1.0, "llc": "much"})  # type: ignore[dict-item]
    assert alarm.last_step == 1
    chosen = Alarm(AlarmConfig(watch=("llc",)))
    chosen.update(1, {"loss": 1.0, "llc": (1.0, 0.1), "chi": (1.0, 0.1)})
    chosen.update(2, {"loss": 1.0, "new": (1.0, 0.1)})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0.0}, "rate must be between 0 and 1, got 0.0"),
        ({"reference": 3}, "reference must be at least 4 checkpoints with drift 1, got 3"),
        ({"reference": 4, "drift": 2}, "reference must be at least 5 checkpoints with drift 2"),
        ({"drift": 4}, "drift must be a power from 0 to 3, got 4"),
        ({"confirm": 0}, "confirm must be at least 1 reading, got 0"),
        ({"autocorrelation": 1.0}, "autocorrelation must be within ±1, got 1.0"),
        ({"wander": ()}, r"wander must be variances ≥ 0, at least one, got \(\)"),
        ({"flat": -1.0}, "flat and least must be ≥ 0"),
        ({"watch": ("loss",)}, "the loss 'loss' is not watched"),
        ({"watch": {"loss": "falls"}}, "the loss 'loss' is not watched"),
        ({"watch": "llc"}, "watch must be names of readings, got the text 'llc'"),
        ({"watch": {"llc": "down"}}, "'llc' must be asked for as one of falls, rises, either, got"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlarmConfig(**wrong)  # type: ignore[arg-type]


def stored(series: Mapping[str, np.ndarray]) -> xr.Dataset:
    dims = ("checkpoint",)
    return xr.Dataset(
        {
            "loss": (dims, series["loss"]),
            "llc": (dims, series["llc"]),
            "llc_se": (dims, np.full(NUM, 0.5)),
            "chi": (dims, series["chi"]),
            "chi_se": (dims, np.ones(NUM)),
            "rhat": (dims, np.ones(NUM)),
        },
        coords={"checkpoint": STEPS},
    )


def test_stored_readings_give_the_table_of_what_rang() -> None:
    series = run(change=8.0)
    table = alarms(stored(series))
    (event,) = feed(Alarm(), series).events
    assert table.sizes == {"event": 1}
    for name in ("step", "reading", "kind", "change", "change_se", "since", "log_evidence"):
        assert table[name].item() == getattr(event, name)
    assert table["step"].attrs["units"] == "training steps"
    assert '"rate": 0.05' in table.attrs["config"]
    shuffled = stored(series).isel(checkpoint=np.random.default_rng(0).permutation(NUM))
    assert alarms(shuffled).identical(table)
    assert alarms(stored(run())).sizes == {"event": 0}
    assert alarms(stored(series), AlarmConfig(watch=("chi",))).sizes == {"event": 0}


def test_readings_of_components_are_watched_each() -> None:
    a, b = run(0), run(1, change=8.0)
    both = xr.concat([stored(a), stored(b)], xr.DataArray(["l0h0", "l0h1"], dims="component"))
    both["loss"] = stored(a)["loss"]
    both["ok"] = xr.ones_like(both["llc"], dtype=bool)
    table = alarms(both, AlarmConfig(watch=("llc",)))
    assert table["reading"].values.tolist() == ["llc[l0h1]"]
    both["ok"].loc[{"component": "l0h1"}] = False
    assert alarms(both, AlarmConfig(watch=("llc",))).sizes == {"event": 0}
    assert alarms(both, AlarmConfig(watch=("llc[l0h1]",), need_ok=False)).sizes == {"event": 1}


def test_a_table_says_what_was_not_asked_for() -> None:
    a, b, c = run(0, change=8.0), run(1, change=8.0), run(2, change=-8.0)
    names = xr.DataArray(["l0h0", "l0h1", "l0h2"], dims="component")
    parts = xr.concat([stored(a), stored(b), stored(c)], names)
    parts["loss"] = stored(a)["loss"]
    config = AlarmConfig(watch={"llc": "falls", "llc[l0h1]": "rises"})
    table = alarms(parts, config).sortby("reading")
    assert table["reading"].values.tolist() == ["llc[l0h0]", "llc[l0h1]", "llc[l0h2]"]
    assert table["asked"].values.tolist() == [False, True, True]
    assert table["asked"].dtype == bool
    ordered = alarms(parts, config)["step"].values
    assert (np.diff(ordered) >= 0).all()


def test_datasets_that_cannot_be_replayed_are_refused() -> None:
    good = stored(run())
    for wrong, message in (
        (good.rename(checkpoint="time"), "need a dimension checkpoint"),
        (good.drop_vars("loss"), "no loss 'loss' among"),
        (good[["loss", "rhat"]], "no readings with errors along checkpoint"),
        (good.assign(loss=1.0), "'loss' must have the dimension checkpoint alone"),
    ):
        with pytest.raises(ValueError, match=message):
            alarms(wrong)
    with pytest.raises(ValueError, match=r"no readings \['rhat'\] with errors; there are chi, llc"):
        alarms(good, AlarmConfig(watch=("rhat",)))
