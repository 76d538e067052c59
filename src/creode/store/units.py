"""Units of work on disk: a group of `draws.zarr` and the checksums that declare it complete.

Zarr reads a missing chunk as its fill value without a word, so every file of a unit has its size
and SHA-256 in `units/<key>.json`, and no byte is believed before it matches.

Here: keys, a unit as files, its checksums, a verified and lazy view of it as datasets.
Not here: the order in which files are written (directory.py, local.py, remote.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creode.store.errors import StoreError
from creode.store.files import Files

if TYPE_CHECKING:
    import xarray as xr

DRAWS = "draws.zarr"
MARKERS = "units"
GROUP_FILE = "zarr.json"
EMPTY_GROUP = b'{\n  "attributes": {},\n  "zarr_format": 3,\n  "node_type": "group"\n}'
Key = tuple[str, ...]

_PART = re.compile(r"(?!__)[A-Za-z0-9_][A-Za-z0-9_.+=@-]*")
_LONGEST = 200  # bytes of a file name, with room for an ending
_CHUNK = 16 * 2**20  # bytes of a chunk, at most


@dataclass(frozen=True)
class Entry:
    """One file of a complete unit."""

    size: int  # bytes
    sha256: str


def slug(key: Key) -> str:
    """The name of a unit's marker and snapshot: the parts joined by commas.

    Raises:
        ValueError: not a tuple of names.
    """
    if not isinstance(key, tuple) or not key or not all(isinstance(part, str) for part in key):
        raise ValueError(f"a unit's key is a non-empty tuple of names, got {key!r}.")
    for part in key:
        if not _PART.fullmatch(part) or part == GROUP_FILE:
            raise ValueError(
                f"unit {key!r}: {part!r} cannot name a group; use letters, digits and _ . + = @ -, "
                "beginning with a letter, a digit or one _."
            )
    joined = ",".join(key)
    if len(joined) > _LONGEST:
        raise ValueError(f"unit {key!r}: its parts have more than {_LONGEST} characters together.")
    return joined


def marker(key: Key) -> str:
    """Where the checksums of a unit lie."""
    return f"{MARKERS}/{slug(key)}.json"


def keys(names: set[str]) -> set[Key]:
    """The keys of the markers among the entries of `units/`."""
    return {tuple(name[: -len(".json")].split(",")) for name in names if name.endswith(".json")}


def serialise(tree: xr.DataTree) -> dict[str, bytes]:
    """The files of a unit's group; the bytes depend on names, values and attributes alone.

    The file that makes the group visible comes last.
    """
    import xarray as xr
    from zarr.storage import MemoryStore

    nodes = {
        "/" if node is tree else path: _plain(node.to_dataset(inherit=node is tree))
        for path, node in tree.subtree_with_keys
    }
    written: dict[str, Any] = {}
    xr.DataTree.from_dict(nodes).to_zarr(
        MemoryStore(written), mode="w-", zarr_format=3, consolidated=False
    )
    names = sorted(written, key=lambda name: (name == GROUP_FILE, name))
    return {name: written[name].to_bytes() for name in names}


def checksums(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a unit's marker."""
    entries = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return f"{json.dumps({'files': entries}, indent=1, sort_keys=True)}\n".encode()


def read_marker(data: bytes, key: Key, root: str) -> dict[str, Entry]:
    """The files a complete unit has.

    Raises:
        StoreError: the marker is truncated or edited.
    """
    try:
        files = json.loads(data)["files"]
        entries = {str(name): Entry(**entry) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{_damaged(root, key, f'{marker(key)} is not readable')}") from error
    if GROUP_FILE not in entries:
        raise StoreError(_damaged(root, key, f"{marker(key)} names no {GROUP_FILE}"))
    return entries


def open_unit(files: Files, key: Key, entries: Mapping[str, Entry]) -> dict[str, xr.Dataset]:
    """A unit's datasets by their path in `draws.zarr`; values are read, and verified, when used.

    Raises:
        StoreError: a file is missing, truncated or changed.
    """
    import xarray as xr
    from zarr.storage import MemoryStore

    store = MemoryStore(Verified(files, key, entries), read_only=True)
    tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    prefix = "/" + "/".join(key)
    return {
        prefix + (node.path if node.path != "/" else ""): node.to_dataset(inherit=False)
        for node in tree.subtree
    }


class Verified(MutableMapping[str, Any]):
    """The files of one complete unit as zarr's buffers; each is checked as it is fetched."""

    def __init__(self, files: Files, key: Key, entries: Mapping[str, Entry]) -> None:
        self._files, self._key, self._entries = files, key, entries
        self._group = "/".join((DRAWS, *key))
        sizes = files.sizes(self._group)
        for name, entry in entries.items():
            if name not in sizes:
                raise StoreError(_damaged(files.root, key, f"its file {name} is missing"))
            if sizes[name] != entry.size:
                problem = f"its file {name} has {sizes[name]} bytes of {entry.size}"
                raise StoreError(_damaged(files.root, key, problem))
        metadata = [name for name in entries if name.rpartition("/")[2] == GROUP_FILE]
        self._metadata = dict(zip(metadata, self._fetch(metadata), strict=True))

    def __getitem__(self, name: str) -> Any:
        if name in self._metadata:
            return self._metadata[name]
        if name not in self._entries:
            raise KeyError(name)
        return self._fetch([name])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __setitem__(self, name: str, value: Any) -> None:
        raise TypeError("a complete unit is never changed.")

    def __delitem__(self, name: str) -> None:
        raise TypeError("a complete unit is never changed.")

    def _fetch(self, names: list[str]) -> list[Any]:
        from zarr.core.buffer import default_buffer_prototype

        try:
            found = self._files.read(f"{self._group}/{name}" for name in names)
        except OSError as error:
            problem = f"its files cannot be read ({error})"
            raise StoreError(_damaged(self._files.root, self._key, problem)) from error
        for name, data in zip(names, found, strict=True):
            if hashlib.sha256(data).hexdigest() != self._entries[name].sha256:
                problem = f"the checksum of its file {name} does not match"
                raise StoreError(_damaged(self._files.root, self._key, problem))
        buffer = default_buffer_prototype().buffer
        return [buffer.from_bytes(data) for data in found]


def _damaged(root: str, key: Key, problem: str) -> str:
    return (
        f"{root}: unit {'/'.join(key)} is damaged ({problem}); delete {root}/{marker(key)} and "
        "repeat the run, which computes this unit again and keeps the others."
    )


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with its encoding forgotten, its attributes sorted and its chunks decided."""
    dataset = dataset.drop_encoding()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "U":  # zarr v3 specifies strings of any length only
            dataset[name] = variable.astype(object)
    dataset.attrs = dict(sorted(dataset.attrs.items()))
    for variable in dataset.variables.values():
        variable.attrs = dict(sorted(variable.attrs.items()))
        variable.encoding = {"chunks": _chunks(variable.shape, variable.dtype.itemsize)}
    return dataset


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The whole array, its longest dimension halved until a chunk is at most 16 MiB."""
    chunks = [max(length, 1) for length in shape]
    size = itemsize
    for length in chunks:
        size *= length
    while size > _CHUNK and max(chunks) > 1:
        longest = chunks.index(max(chunks))
        size = size // chunks[longest] * ((chunks[longest] + 1) // 2)
        chunks[longest] = (chunks[longest] + 1) // 2
    return tuple(chunks)
