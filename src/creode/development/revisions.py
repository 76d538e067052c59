"""Checkpoints that are revisions of one model on the Hugging Face hub.

Here: branches and tags with a step in their name (`step1000`, `stage1-step1000-tokens4B`), asked
of the hub, or of the local cache where the hub cannot be reached.
Not here: directories of checkpoints (checkpoints.py), loading a revision (models.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from creode.models import weight_files

AFTER_STEP = re.compile(r"(?:step|checkpoint)[s_\-=]*(\d+)", re.IGNORECASE)


def step_revisions(repo: str, pattern: str = "*") -> dict[int, str]:
    """Revisions of a hub id by their step, ascending.

    Args:
        repo: the hub id.
        pattern: only branches and tags whose name this glob matches.
    Raises:
        ValueError: no such model, none of its revisions names a step, or two name one step.
    """
    commits, place = _revisions(repo)
    named = {name: commit for name, commit in commits.items() if fnmatchcase(name, pattern)}
    by_step: dict[int, list[str]] = {}
    for name in sorted(named):
        if found := AFTER_STEP.findall(name):
            by_step.setdefault(int(found[-1]), []).append(name)
    if not by_step:
        of = "" if pattern == "*" else f" among those that match {pattern!r}"
        raise ValueError(
            f"{repo}: no branch or tag {place} names a step{of}, such as step1000; "
            f"there are {_some(commits)}."
        )
    for step, names in by_step.items():
        if len({named[name] for name in names}) > 1:
            raise ValueError(
                f"{repo}: revisions {_some(names)} are all of step {step}; choose a series by "
                "a glob, such as revisions='stage1-*'."
            )
    return {step: by_step[step][0] for step in sorted(by_step)}


def _revisions(repo: str) -> tuple[Mapping[str, str], str]:
    """Commits by the names of branches and tags, and where they were found."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ImportError(
            f"{repo}: huggingface_hub is missing; pip install 'creode[hf]'."
        ) from error
    try:
        refs = huggingface_hub.list_repo_refs(repo)
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        if cached := _cached(repo):
            return cached, "in the hub's cache"
        raise ValueError(
            f"{repo}: neither a local directory nor a model on the hub that can be read; check "
            "the name, or log in if it is private."
        ) from error
    except (OSError, _client_error()) as error:
        if cached := _cached(repo):
            return cached, "in the hub's cache"
        raise ValueError(
            f"{repo}: neither a local directory nor in the hub's cache, and the hub cannot be "
            "reached; give the path of a directory of checkpoints, or connect and try again."
        ) from error
    return {ref.name: ref.target_commit for ref in (*refs.tags, *refs.branches)}, "on the hub"


def _client_error() -> type[Exception]:
    """What the hub's client raises without a connection, whichever client that is."""
    from huggingface_hub import errors

    kind: type[Exception] = vars(errors)["HTTPError"]
    return kind


def _cached(repo: str) -> dict[str, str]:
    """Revisions in the local cache whose weights are there."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    refs = folder / "refs"
    found = {}
    for file in sorted(refs.rglob("*")) if refs.is_dir() else ():
        if file.is_file():
            commit = file.read_text(encoding="utf-8").strip()
            if _has_weights(folder / "snapshots" / commit):
                found[file.relative_to(refs).as_posix()] = commit
    return found


def _has_weights(snapshot: Path) -> bool:
    try:
        return bool(weight_files(snapshot))
    except ValueError:
        return False


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    rest = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return (", ".join(listed[:5]) or "none") + rest
