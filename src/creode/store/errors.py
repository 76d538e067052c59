"""Errors of run directories, in one sentence that says what to do.

Here: `StoreError`, and the translation of what the operating system reports.
Not here: which operations are attempted (local.py, remote.py).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_DIRECTORY = {errno.ENOTDIR, errno.EEXIST}


class StoreError(OSError):
    """A run directory cannot be used as asked; the message says what to do."""


@contextmanager
def explained(root: str, doing: str) -> Iterator[None]:
    """Turn an OSError raised inside into a `StoreError` that says what to do.

    Args:
        root: the run directory, as the user names it.
        doing: what was going on, as a gerund ("writing unit a/b").
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raised = StoreError(_sentence(error, root, doing))
        raised.errno = error.errno
        raise raised from error


def _sentence(error: OSError, root: str, doing: str) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    code = error.errno or (errno.EACCES if isinstance(error, PermissionError) else None)
    if code in _FULL:
        return (
            f"{root}: the disk is full ({reason}) while {doing}; every finished unit is kept: "
            "free some space and run the same command again to continue."
        )
    if code in _FORBIDDEN:
        return (
            f"{root}: no permission ({reason}) while {doing}; change the permissions, "
            "or give another directory."
        )
    if code in _NOT_A_DIRECTORY:
        return (
            f"{root}: a file stands where a directory is needed ({error.filename or reason}) "
            f"while {doing}; give another directory."
        )
    return (
        f"{root}: {reason} ({error.filename or type(error).__name__}) while {doing}; every "
        "finished unit is kept: put this right and run the same command again to continue."
    )
