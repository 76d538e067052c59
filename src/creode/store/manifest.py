"""`run.json`: what a run was asked to do, what it was made with, what it decided on the way.

The file holds no times and its fields are sorted, so an interrupted run and one that was not
interrupted have the same bytes.

Here: its fields, reading and writing it, comparing a config and an environment with it.
Not here: where it lies and when it is written (directory.py).
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from creode.store.errors import StoreError
from creode.version import __version__

NAME = "run.json"
_SCHEMA = 1  # of the whole run directory
_PACKAGES = ("numpy", "torch", "xarray", "zarr")  # their versions, and creode's, decide bits
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a run."""

    config: dict[str, Any]
    resolved: dict[str, Any]  # decisions taken at run time
    versions: dict[str, str]
    threads: int  # of torch; sums over several threads round differently
    cpu: str  # the vector instructions torch uses, for the same reason

    def dump(self) -> bytes:
        """The bytes of run.json."""
        fields = {
            "schema": _SCHEMA,
            "config": self.config,
            "resolved": self.resolved,
            "versions": self.versions,
            "threads": self.threads,
            "cpu": self.cpu,
        }
        text = json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    def with_resolved(self, key: str, value: Any) -> Manifest:
        """The record with one more decision.

        Raises:
            ValueError: the value is not JSON, or the key was decided otherwise before.
        """
        value = as_json(value, f"resolved.{key}")
        if key in self.resolved and self.resolved[key] != value:
            raise ValueError(
                f"resolved.{key} is {json.dumps(self.resolved[key])} in this run and cannot become "
                f"{json.dumps(value)}: read store.resolved before deciding again."
            )
        return replace(self, resolved={**self.resolved, key: value})


def new(config: Mapping[str, Any]) -> Manifest:
    """The record of a run that starts here and now.

    Raises:
        ValueError: the config holds something that JSON does not.
    """
    return Manifest(
        config=as_json(dict(config), "config"),
        resolved={},
        versions={
            "creode": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        threads=torch.get_num_threads(),
        cpu=torch.backends.cpu.get_cpu_capability(),
    )


def parse(data: bytes, root: str) -> Manifest:
    """Read the bytes of run.json.

    Raises:
        StoreError: truncated, not a record of a creode run, or written by a newer creode.
    """
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise StoreError(
            f"{root}: run.json is not valid JSON ({error}), so it was truncated or edited; restore "
            "it from a copy, or delete this directory and run again."
        ) from error
    if not isinstance(fields, dict) or not isinstance(fields.get("schema"), int):
        raise StoreError(
            f"{root}: run.json is not the record of a creode run (it has no schema number); give "
            "the directory of a creode run."
        )
    if fields["schema"] > _SCHEMA:
        raise StoreError(
            f"{root}: run.json has schema {fields['schema']}, and this creode knows schemas up to "
            f"{_SCHEMA}; upgrade creode to read it."
        )
    kinds = {"config": dict, "resolved": dict, "versions": dict, "threads": int, "cpu": str}
    if wrong := [name for name, kind in kinds.items() if not isinstance(fields.get(name), kind)]:
        raise StoreError(
            f"{root}: run.json does not hold {', '.join(wrong)} as it should, so it was edited; "
            "restore it from a copy, or delete this directory and run again."
        )
    return Manifest(**{name: fields[name] for name in kinds})


def check_config(stored: Manifest, asked: Manifest, root: str) -> None:
    """Refuse another config, naming every field that differs.

    Raises:
        ValueError: they differ.
    """
    then, now = dict(_leaves(stored.config)), dict(_leaves(asked.config))
    differing = [
        f"{field}: {_shown(then.get(field, _ABSENT))} there, {_shown(now.get(field, _ABSENT))} now"
        for field in sorted({*then, *now})
        if not _same(then.get(field, _ABSENT), now.get(field, _ABSENT))
    ]
    if differing:
        raise ValueError(
            f"{root} holds a run with another config ({'; '.join(differing)}); give another "
            "directory, or delete this one to start over."
        )


def check_environment(stored: Manifest, here: Manifest, root: str) -> None:
    """Refuse to continue a run where its remaining bits could come out differently.

    Raises:
        StoreError: another version, number of threads, or processor.
    """
    names = ("creode", *_PACKAGES)
    then = {name: stored.versions.get(name) for name in names}
    then |= {"threads": str(stored.threads), "cpu": stored.cpu}
    now = {name: here.versions[name] for name in names}
    now |= {"threads": str(here.threads), "cpu": here.cpu}
    differing = [
        f"{name} {then[name]} there, {now[name]} now" for name in then if then[name] != now[name]
    ]
    if differing:
        raise StoreError(
            f"{root} is unfinished and was begun with something else ({'; '.join(differing)}), so "
            "the rest could differ in its bits; continue with what it was begun with "
            "(torch.set_num_threads for threads), or give another directory; reading it works."
        )


def as_json(value: Any, where: str) -> Any:
    """The value as JSON gives it back: tuples as lists, keys as they are.

    Raises:
        ValueError: something that JSON does not hold; names where.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [as_json(item, f"{where}.{index}") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: as_json(item, f"{where}.{key}") for key, item in value.items()}
    raise ValueError(
        f"{where} is {value!r} ({type(value).__name__}), which JSON does not hold; use None, "
        "booleans, finite numbers, strings, lists, and dicts with string keys."
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested dicts and lists with its dotted path; empty containers are leaves."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _same(then: Any, now: Any) -> bool:
    return bool(then == now) and isinstance(then, bool) == isinstance(now, bool)


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
