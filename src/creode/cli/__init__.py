"""The command line: parses, calls study, prints. No mathematics.

Here: a command a file; the options they share (options.py); how things look (console.py).
Not here: what they do (study/, training/, demo.py).
Results go to stdout, progress and messages to stderr; the exit code is 0 only if it worked.
"""

from creode.cli import (  # the commands
    attribute,
    audit,
    calibrate,
    components,
    demo,
    develop,
    llc,
    pattern,
    plan,
    rerun,
    respond,
    run,
    shift,
    train,
    view,
)
from creode.cli.app import app

__all__ = [
    "app",
    "attribute",
    "audit",
    "calibrate",
    "components",
    "demo",
    "develop",
    "llc",
    "main",
    "pattern",
    "plan",
    "rerun",
    "respond",
    "run",
    "shift",
    "train",
    "view",
]


def main() -> None:
    """Run the command line."""
    app()
