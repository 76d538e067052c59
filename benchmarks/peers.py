"""The environments of the peers: one virtual environment each, apart from this package's own.

    python benchmarks/peers.py --peers runs/peers

Here: making them where they are missing, with the versions of constraints.txt, and finding them.
Not here: how a peer is run (contenders/).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
PEERS = {
    "devinterp-1.3.2": ("devinterp", "1.3.2"),
    "devinterp-2.0.1": ("devinterp", "2.0.1"),
    "kronfluence-1.0.1": ("kronfluence", "1.0.1"),
    "trl-1.16.0": ("trl", "1.16.0"),
}
DEFAULT = Path("runs/peers")


def interpreters(folder: Path, *names: str) -> dict[str, Path]:
    """The Python of each peer's environment (of all by default), made first where it is missing."""
    return {name: _interpreter(folder / name, *PEERS[name]) for name in names or PEERS}


def versions(python: Path, *packages: str) -> dict[str, str]:
    """The versions of packages in an environment, without importing them."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run(
        [python, "-c", code, *packages], capture_output=True, text=True, check=True
    )
    return dict(zip(packages, done.stdout.split(), strict=True))


def _interpreter(environment: Path, package: str, version: str) -> Path:
    python = environment / "bin" / "python"
    if _works(python, package, version):
        return python.absolute()
    print(f"making {environment} with {package} {version}", file=sys.stderr)
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS)]
    subprocess.run([*install, f"{package}=={version}"], check=True, stdout=sys.stderr)
    if not _works(python, package, version):
        raise RuntimeError(f"{environment}: {package} {version} was installed and does not work.")
    return python.absolute()


def _works(python: Path, package: str, version: str) -> bool:
    """Whether an environment has this version of a package, whole enough to be imported."""
    if not python.exists():
        return False
    imported = subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False)
    return imported.returncode == 0 and versions(python, package)[package] == version


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environments of the peers.")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="where they lie")
    for name, python in interpreters(parser.parse_args().peers).items():
        print(name, python)


if __name__ == "__main__":
    main()
