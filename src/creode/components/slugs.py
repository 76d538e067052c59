"""Names of components as names of groups on disk.

Here: an injective map from component names to names of one path segment.
Not here: the layout of a run directory (store.py).
"""

from __future__ import annotations

import hashlib
import re

# Spaces become underscores only in names of layers' parts, and only there: two names that differ
# in a space against an underscore must not meet.
_SPACED = re.compile(
    r"(?=.* )(?:[A-Za-z0-9][A-Za-z0-9.]* )*(?:l|h|kv)\d+[a-z0-9.]*(?: [A-Za-z0-9.]+)*"
)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")


def slug(name: str) -> str:
    """`name` as one path segment, different for different names: "l0 mlp" -> "l0_mlp".

    Names of modules stay as they are; a glob, or anything else that is no plain name, is shortened
    and ends in "-" and 12 digits of its SHA-256.
    """
    if len(name) <= 80:
        if _SPACED.fullmatch(name):
            return name.replace(" ", "_")
        spaced = name.replace("_", " ")
        if _PLAIN.fullmatch(name) and not ("_" in name and _SPACED.fullmatch(spaced)):
            return name
    readable = re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_.")[:40]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{readable or 'component'}-{digest}"
