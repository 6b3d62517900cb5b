"""A virtual environment for each peer, made at its first use: their dependencies contradict each other and ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workplace import PEERS


class PeerUnavailable(Exception):
    """A peer that cannot be measured here: says what is missing."""


def environment(name: str, packages: Sequence[str], without_dependencies: Sequence[str] = ()) -> Path:
    """The folder of an environment with these packages; they are written down in it once all are installed.

    Raises:
        PeerUnavailable: they cannot be installed.
    """
    folder, wanted = PEERS / name, "\n".join([*packages, *without_dependencies])
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    print(f"installing {name} into {folder.relative_to(PEERS.parent.parent)}; this is done once", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    _install(folder, packages)
    if without_dependencies:
        _install(folder, ["--no-deps", *without_dependencies])
    stamp.write_text(wanted)
    return folder


def python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def site_packages(folder: Path) -> Path:
    """Where an environment keeps its packages."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))


def _install(folder: Path, arguments: Sequence[str]) -> None:
    command = [python(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PeerUnavailable(f"pip could not install it: {done.stderr.strip().splitlines()[-1]}")
