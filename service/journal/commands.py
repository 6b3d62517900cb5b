"""`python -m service journal …`: look at a SQLite journal, make it smaller, copy it, put it back, export what it holds.

`check`, `copy` and `export` only read, and may be used while a service runs on the file; `compact` and `restore` want
it alone.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from service.errors import JournalDamaged
from service.journal.offline import check, compact, copy, export, restore
from service.journal.sqlite_file import JournalError, in_words


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; 0 if all is well, 1 if the file is damaged, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m service journal", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("check", "read everything and say what is there and whether it is whole"),
        ("compact", "give the disk back what is not used; no service may be running on the file"),
        ("copy", "make a copy for safe keeping, whole also while a service writes"),
        ("restore", "put a copy in the place of a file, which is kept under another name; checks the copy first"),
        ("export", "write every session that lives as one line of JSON"),
    ):
        command = commands.add_parser(name, help=help_text, allow_abbrev=False)
        command.add_argument("file", type=Path)
        if name in ("copy", "restore"):
            command.add_argument("to", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.file.is_dir():
            raise JournalError(f"journal {given.file}: this is a folder: name the file in it")
        if not given.file.is_file():
            raise JournalError(f"journal {given.file}: there is no such file")
        return _carry_out(given)
    except OSError as error:
        print(f"journal: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except (JournalError, JournalDamaged) as error:
        print(error, file=sys.stderr)
        return 2
    except sqlite3.Error as error:
        print(f"journal {given.file}: {in_words(error)}", file=sys.stderr)
        return 2


def _carry_out(given: argparse.Namespace) -> int:
    if given.command == "check":
        return check(given.file, sys.stdout)
    if given.command == "compact":
        before, after = compact(given.file)
        print(f"{given.file}: {before:,} bytes before, {after:,} after")
    elif given.command == "copy":
        copy(given.file, given.to)
        print(f"{given.to}: {given.to.stat().st_size:,} bytes")
    elif given.command == "restore":
        kept = restore(given.file, given.to)
        print(f"{given.to}: {given.to.stat().st_size:,} bytes" + (f"; what was there is {kept}" if kept else ""))
    else:
        export(given.file, sys.stdout)
    return 0
