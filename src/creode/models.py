"""A model on disk: writing a directory, reading it back, reading weights into a model at hand.

Here: `save_model`, `load_model` for Hugging Face directories, hub ids and this package's decoders,
`load_weights` for files of weights.
Not here: series of checkpoints (development/checkpoints.py), training (training/).
Memory: safetensors are mapped, not read, so a Hugging Face model of the dtype asked for costs its
own size once; writing to its weights leaves the file as it is.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

GENERIC_TYPE = "creode-module"  # model_type of a directory whose class only the user can build
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_LOADABLE = ("ForCausalLM", "LMHeadModel", "ForSequenceClassification")


def load_model(
    spec: str | Path, *, revision: str | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """A model by directory or hub id, in eval mode, on the CPU.

    Args:
        spec: a directory written by transformers or by this package, or a hub id; a directory of
            that name wins over the hub.
        revision: branch, tag or commit on the hub; a directory has none.
        dtype: of the weights; None keeps the dtype they are stored in.
    Raises:
        ValueError: nothing there, weights missing or damaged, or an architecture that is neither
            a causal language model nor a sequence classifier.
    """
    from creode.scalar_head import HEAD_TYPE, ScalarHead
    from creode.testbeds.decoder import MODEL_TYPE, Decoder

    path = Path(spec).expanduser()
    if not path.exists():
        if isinstance(spec, Path) or spec.startswith((".", "/", "~")) or spec.count("/") > 1:
            raise ValueError(f"{spec}: no such directory.")
        return _load_pretrained(spec, revision, dtype)
    config = _read_config(path)
    if revision is not None:
        raise ValueError(
            f"{path}: a local directory has no revisions, got revision={revision!r}; "
            "leave it out, or give the hub id."
        )
    kind = config.get("model_type")
    if kind == GENERIC_TYPE:
        raise ValueError(
            f"{path}: holds weights of {config.get('class')}, which load_model cannot build; "
            "build the model yourself and call load_weights(model, directory)."
        )
    if kind == MODEL_TYPE:
        return Decoder.load(path).to(dtype)
    if kind == HEAD_TYPE:
        return ScalarHead.load(path).to(dtype)
    weight_files(path)
    return _load_pretrained(str(path), None, dtype)


def save_model(model: nn.Module, directory: str | Path) -> None:
    """Write a new directory with config.json and the weights as safetensors, whole or not at all.

    A model with `save_pretrained` (transformers), a `Decoder` and a head on one write themselves,
    so that their own loaders read them; any other module is written for `load_weights`.

    Raises:
        ValueError: the directory exists.
    """
    from creode.scalar_head import ScalarHead
    from creode.testbeds.decoder import Decoder

    target = Path(directory)
    if target.exists():
        raise ValueError(f"{target}: exists already; give a new directory.")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    partial.mkdir(parents=True)
    if callable(save_pretrained := getattr(model, "save_pretrained", None)):
        with _quiet_transformers():
            save_pretrained(partial)
    elif isinstance(model, Decoder) or (
        isinstance(model, ScalarHead) and isinstance(model.backbone, Decoder)
    ):
        model.save(partial)
    else:
        _save_module(model, partial)
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    partial.rename(target)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy stored weights into `model`, in its own dtype and device; nothing is copied on error.

    Args:
        model: the architecture the weights belong to.
        path: a .safetensors file, a .pt/.pth/.bin file with a state dict, or a directory of them.
    Raises:
        ValueError: not readable without running code, damaged, or keys or shapes that do not fit.
    """
    source = Path(path).expanduser()
    stored: dict[str, Tensor] = {}
    for file in weight_files(source):
        stored |= _read_weights(file)
    own = model.state_dict()
    aliases = _aliases(own)
    given = {aliases[name] for name in stored if name in own}
    missing = sorted(name for name in own if aliases[name] not in given)
    unexpected = sorted(stored.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"{source}: the weights do not fit {type(model).__name__}: "
            f"missing {_some(missing)}, unexpected {_some(unexpected)}."
        )
    shapes = [
        f"{name} is {tuple(tensor.shape)} in the file and {tuple(own[name].shape)} in the model"
        for name, tensor in stored.items()
        if tensor.shape != own[name].shape
    ]
    if shapes:
        raise ValueError(f"{source}: shapes differ: {'; '.join(shapes[:5])}.")
    with torch.no_grad():
        for name, tensor in stored.items():
            own[name].copy_(tensor)


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights at `path`: itself, or those of a directory.

    Raises:
        ValueError: nothing there, or no weights in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or directory.")
    for index in _INDEXES:
        if (path / index).is_file():
            names = sorted(set(json.loads((path / index).read_text())["weight_map"].values()))
            if absent := [name for name in names if not (path / name).is_file()]:
                raise ValueError(f"{path}: {index} names {absent}, which are not there.")
            return [path / name for name in names]
    for name in _SINGLE:
        if (path / name).is_file():
            return [path / name]
    raise ValueError(f"{path}: no weights (model.safetensors or pytorch_model.bin) in it.")


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ValueError(
            f"{path}: not a directory; for a file of weights build the model yourself and call "
            "load_weights(model, file)."
        )
    file = path / "config.json"
    if not file.is_file():
        raise ValueError(
            f"{path}: no config.json, so not a saved model; "
            "give the directory of one model or one checkpoint."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: not valid JSON ({error}).") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file}: holds {type(config).__name__}, a model's config is an object.")
    return config


def _load_pretrained(spec: str, revision: str | None, dtype: torch.dtype | None) -> nn.Module:
    """A model by transformers' own loader, refusing weights it would have to invent."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"{spec}: transformers is missing; pip install 'creode[hf]'.") from error

    with _quiet_transformers(), _one_sentence(spec, revision):
        config = transformers.AutoConfig.from_pretrained(spec, revision=revision)
    architecture = (config.architectures or ["ForCausalLM"])[0]
    if not architecture.endswith(_LOADABLE):
        raise ValueError(
            f"{spec}: architecture {architecture} is neither a causal language model nor a "
            "sequence classifier; build it yourself and pass the module."
        )
    classifier = architecture.endswith("ForSequenceClassification")
    auto = (
        transformers.AutoModelForSequenceClassification
        if classifier
        else transformers.AutoModelForCausalLM
    )
    with _quiet_transformers(), _one_sentence(spec, revision):
        model, info = auto.from_pretrained(
            spec,
            config=config,
            revision=revision,
            dtype="auto" if dtype is None else dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named, below
        )
    invented = sorted({*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])})
    if invented:
        raise ValueError(f"{spec}: the stored weights lack or do not fit {_some(invented)}.")
    loaded: nn.Module = model.eval()
    return loaded


@contextmanager
def _one_sentence(spec: str, revision: str | None) -> Iterator[None]:
    """What transformers raises as a `ValueError` of one sentence."""
    from safetensors import SafetensorError

    at = f"{spec} at revision {revision!r}" if revision else spec
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{at}: weights damaged or cut short ({error}).") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        cause = textwrap.shorten(str(error), 300, placeholder=" …")
        if Path(spec).is_dir():
            raise ValueError(f"{at}: transformers cannot read it ({cause}).") from error
        if "connect" in cause:
            raise ValueError(
                f"{at}: neither a local directory nor in the hub's cache, and the hub cannot be "
                "reached; give the path of a downloaded model, or connect and try again."
            ) from error
        raise ValueError(f"{at}: neither a local directory nor on the hub ({cause}).") from error


def _read_weights(file: Path) -> dict[str, Tensor]:
    """Names and mapped tensors of one file; no code in it is run."""
    if file.suffix not in _SUFFIXES:
        raise ValueError(f"{file}: suffix {file.suffix!r} is not one of {', '.join(_SUFFIXES)}.")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file}: damaged or cut short ({error}).") from error
    try:
        mapped = zipfile.is_zipfile(file)  # torch's format before 1.6 cannot be mapped
        held: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: damaged, or holds more than tensors, whose loading would run code; "
            "save the state dict alone: torch.save(model.state_dict(), file)."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{file}: damaged or cut short ({error}).") from error
    if isinstance(held, Mapping):
        held = next((held[k] for k in _NESTED if isinstance(held.get(k), Mapping)), held)
    if not isinstance(held, Mapping) or not all(isinstance(t, Tensor) for t in held.values()):
        raise ValueError(
            f"{file}: no state dict in it (a mapping of names to tensors, by itself or under "
            f"{', '.join(_NESTED)})."
        )
    return dict(held)


def _save_module(model: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    state = model.state_dict()
    once = set(_aliases(state).values())
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items() if name in once},
        folder / "model.safetensors",
    )
    kind = type(model)
    record = {"model_type": GENERIC_TYPE, "class": f"{kind.__module__}.{kind.__qualname__}"}
    (folder / "config.json").write_text(json.dumps(record, indent=2) + os.linesep)


def _aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """For each name the first name of the same memory, so that tied weights count once."""
    first: dict[Any, str] = {}
    return {
        name: first.setdefault(
            (t.data_ptr(), t.shape, t.stride(), t.dtype) if t.numel() else name, name
        )
        for name, t in state.items()
    }


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars or load reports meanwhile: what matters in them is raised."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
