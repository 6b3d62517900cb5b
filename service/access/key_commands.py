"""`python -m service keys …`: make an API key, list whose keys there are, take one back.

A running service takes up the file within seconds. A key is printed once, when it is made, and stands nowhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from service.access.caller import Right
from service.access.keys import ApiKey, KeyFileError, draw_key, read_keys, write_keys
from service.sessions.ownership import OWNER
from service.settings import variable

_DEFAULT_RIGHTS = "predict,sessions"


def main(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Carry out one command; 0 where it was carried out, else 2."""
    environment = os.environ if environment is None else environment
    given = _parser(environment.get(variable("api_keys"))).parse_args(arguments)
    try:
        if given.command == "add":
            _add(given.file, given.name, given.rights, another=given.another)
        elif given.command == "remove":
            _remove(given.file, given.name, given.id)
        else:
            _list(given.file)
    except KeyFileError as error:
        print(f"python -m service keys: {error}", file=sys.stderr)
        return 2
    return 0


def _parser(file: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service keys", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="make a key and print it", allow_abbrev=False)
    add.add_argument("name", type=_name, help="whose it is; sessions belong to this name")
    add.add_argument(
        "--rights", type=_rights, default=_DEFAULT_RIGHTS, help=f"of {', '.join(get_args(Right))} (%(default)s)"
    )
    add.add_argument(
        "--another", action="store_true", help="beside the key that the name has, which goes on working until removed"
    )
    remove = commands.add_parser("remove", help="take a key back", allow_abbrev=False)
    remove.add_argument("name", type=_name)
    remove.add_argument("--id", help="of the one key to take back, as `list` shows it, where the name has several")
    for command in (add, remove, commands.add_parser("list", help="whose keys there are", allow_abbrev=False)):
        command.add_argument(
            "--file", type=Path, default=file, required=file is None, help=f"the file of keys ({variable('api_keys')})"
        )
    return parser


def _add(path: Path, name: str, rights: list[Right], *, another: bool) -> None:
    keys = read_keys(path) if path.exists() else []
    if not another and any(key.name == name for key in keys):
        raise KeyFileError(f"{name} has a key already: remove it first, or add --another to have both work")
    drawn = draw_key()
    made = ApiKey(name=name, rights=rights, sha256=hashlib.sha256(drawn.encode()).hexdigest())
    write_keys(path, [*keys, made])
    print(f"Key {made.id} of {name} ({', '.join(made.rights)}) is in {path}; it is shown this once:", file=sys.stderr)
    print(drawn)


def _remove(path: Path, name: str, key_id: str | None) -> None:
    keys = read_keys(path)
    going = [key for key in keys if key.name == name and key_id in (None, key.id)]
    if not going:
        raise KeyFileError(f"{name} has no such key in {path}; `list` shows what there is")
    if len(going) > 1:
        raise KeyFileError(f"{name} has {len(going)} keys: name one with --id, of {', '.join(key.id for key in going)}")
    write_keys(path, [key for key in keys if key is not going[0]])
    print(f"Key {going[0].id} of {name} is no longer in {path}; its sessions stay, for other keys of that name.")


def _list(path: Path) -> None:
    for key in read_keys(path):
        print(f"{key.name:24} {key.id}  {', '.join(key.rights)}")


def _name(text: str) -> str:
    if not OWNER.fullmatch(text):
        raise argparse.ArgumentTypeError("expected letters, digits, '.', '_' and '-', at most 64")
    return text


def _rights(text: str) -> list[Right]:
    known: tuple[Right, ...] = get_args(Right)
    names = [part.strip() for part in text.split(",")]
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, with commas between")
    return [right for right in known if right in names]
