"""What an alarm would have said of a stored series of readings.

Here: a Dataset of readings along checkpoints, replayed through an alarm; its events as a table.
Not here: the alarm (alarm.py), how readings are stored while training runs (readings_file.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

import numpy as np
import xarray as xr

from creode.development.alarm import Alarm
from creode.development.alarm_config import AlarmConfig, Direction
from creode.development.event import Event
from creode.development.reading import Reading
from creode.version import __version__

_UNITS = {"step": "training steps", "since": "training steps", "since_low": "training steps",
          "since_high": "training steps", "loss_change": "nats", "loss_change_se": "nats",
          "log_evidence": "nats", "log_needed": "nats"}  # fmt: skip


def alarms(readings: xr.Dataset, config: AlarmConfig | None = None) -> xr.Dataset:
    """The changes that an alarm would have found, had it watched these readings as they came.

    Args:
        readings: dim checkpoint (training steps); every variable `x` with its error `x_se` beside
            it is a reading, and the training loss, with `loss_se` if it has an error. One with
            further dims is a reading for each of their labels, named `x[label]`. Verdicts are
            `x_ok`, or `ok` for all.
        config: what is watched and how; its `watch` may name a variable for all of its labels, and
            the way that it is asked to go is theirs, unless one is named by itself. None: the
            defaults.
    Returns:
        One row a change, dim event: step, reading, kind, change, change_se, level, since,
        since_low, since_high, loss_change, loss_change_se, noise, log_evidence, log_needed, asked,
        as `Event` says. Where `asked` is false the alarm would not have rung.
    Raises:
        ValueError: no checkpoints, no readings with errors, no loss, or a name in `watch` that is
            none of them.
    """
    given = config or AlarmConfig()
    if "checkpoint" not in readings.dims:
        raise ValueError(
            f"readings need a dimension checkpoint (training steps), got {list(readings.dims)}."
        )
    if given.loss not in readings:
        raise ValueError(
            f"no loss {given.loss!r} among {sorted(map(str, readings.data_vars))}; add it, or "
            "name it with AlarmConfig(loss=...)."
        )
    series = _series(readings, given)
    ordered = np.argsort(readings["checkpoint"].values, kind="stable")
    asked = {name: _asked(name, given) for name in series if name != given.loss}
    alarm = Alarm(replace(given, watch=asked))
    for i in ordered:
        now = {
            name: Reading(float(value[i]), float(se[i]), bool(ok[i]))
            for name, (value, se, ok) in series.items()
        }
        alarm.update(int(readings["checkpoint"][i]), now)
    found = sorted([*alarm.events, *alarm.unasked], key=lambda event: event.step)
    return _table(found, alarm.config)


def _asked(label: str, config: AlarmConfig) -> Direction:
    """Which way `x[label]` is asked to go: as it says itself, or else as x does."""
    return config.direction(label if label in config.watch else label.partition("[")[0])


def _series(readings: xr.Dataset, config: AlarmConfig) -> Mapping[str, tuple[np.ndarray, ...]]:
    """Values, errors and verdicts (checkpoint,) by name of reading."""
    found: dict[str, tuple[np.ndarray, ...]] = {}
    variables = [str(n) for n in readings.data_vars if f"{n}_se" in readings]
    for name in dict.fromkeys([config.loss, *variables]):
        value = readings[name]
        se = readings.get(f"{name}_se", xr.full_like(value, np.nan, dtype=float))
        ok = readings.get(f"{name}_ok", readings.get("ok", xr.ones_like(value, dtype=bool)))
        if name == config.loss and f"{name}_ok" not in readings:
            ok = xr.ones_like(value, dtype=bool)
        if "checkpoint" not in value.dims:
            continue
        value, se, ok = xr.broadcast(value, se, ok.fillna(False))
        ok = ok.transpose(*value.dims)
        others = [dim for dim in value.dims if dim != "checkpoint"]
        parts = [part.transpose("checkpoint", *others) for part in (value, se, ok)]
        shape = parts[0].shape[1:]
        for at in np.ndindex(*shape):
            labels = [str(parts[0][dim].values[i]) for dim, i in zip(others, at, strict=True)]
            label = f"{name}[{','.join(labels)}]" if others else name
            if not config.watch or name == config.loss or {name, label} & {*config.watch}:
                found[label] = tuple(part.values[:, *at] for part in parts)
    if config.loss not in found:
        raise ValueError(f"the loss {config.loss!r} must have the dimension checkpoint alone.")
    known = {*found, *(label.partition("[")[0] for label in found)}
    if missing := [name for name in config.watch if name not in known]:
        raise ValueError(
            f"no readings {missing} with errors; there are {', '.join(sorted(variables))}."
        )
    if len(found) == 1:
        raise ValueError(
            "no readings with errors along checkpoint; each needs its standard error beside it, "
            f"x and x_se; there are {sorted(map(str, readings.data_vars))}."
        )
    return found


def _table(events: list[Event], config: AlarmConfig) -> xr.Dataset:
    text = {"reading", "kind"}
    whole = {"step", "since", "since_low", "since_high"}
    dtypes = dict.fromkeys(text, "O") | dict.fromkeys(whole, "i8") | {"asked": "?"}
    columns = {}
    for field in fields(Event):
        name = field.name
        values = np.array([getattr(event, name) for event in events], dtypes.get(name, "f8"))
        attrs = {"units": _UNITS[name]} if name in _UNITS else {}
        columns[name] = ("event", values.astype(str) if name in text else values, attrs)
    return xr.Dataset(
        columns,
        coords={"event": np.arange(len(events))},
        attrs={"config": json.dumps(asdict(config)), "creode_version": __version__},
    )
