"""What lies at a model's path: one model or checkpoints, and which tokenizer it comes with.

Here: both, from the files that are there.
Not here: finding checkpoints (development/), loading a model (models.py).
"""

from __future__ import annotations

from pathlib import Path

BYTES = "bytes"


def holds_checkpoints(model: str) -> bool:
    """Whether a path is a directory of checkpoints rather than one model or a hub id."""
    folder = Path(model).expanduser()
    return folder.is_dir() and not (folder / "config.json").is_file()


def own_tokenizer(model: Path | str) -> str:
    """The tokenizer a model comes with: its directory or hub id, or bytes for our decoders."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return str(model)
    has_one = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    if has_one:
        return str(folder)
    if '"creode-' in (folder / "config.json").read_text():
        return BYTES
    raise ValueError(f"{folder} holds no tokenizer; name one with --tokenizer.")
