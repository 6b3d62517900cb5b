from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.access.caller import KeyLimits
from service.access.keys import PREFIX, ApiKey, KeyFileError, KeyTable, digest_of, draw_key, read_keys, write_keys

SECRET = draw_key()
ENTRY = ApiKey(name="sensors", rights=["predict", "sessions"], sha256=digest_of(SECRET.encode()).hex())
OTHER = ApiKey(name="ops", rights=["admin"], sha256=digest_of(b"other").hex(), requests_per_s=2.5, max_sessions=0)


@pytest.mark.parametrize("name", ["keys.toml", "keys.json"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_keys(path, [ENTRY, OTHER])
    assert read_keys(path) == [ENTRY, OTHER]
    assert SECRET not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    write_keys(path, [])
    assert read_keys(path) == []


def test_writing_keeps_the_files_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, [ENTRY])
    path.chmod(0o640)
    write_keys(path, [OTHER])
    assert path.stat().st_mode & 0o777 == 0o640 and list(tmp_path.iterdir()) == [path]


def test_keys_are_256_random_bits_that_can_stand_in_any_header() -> None:
    drawn = {draw_key() for _ in range(100)}
    assert len(drawn) == 100
    for key in drawn:
        assert key.startswith(PREFIX) and len(key) == len(PREFIX) + 43
        assert key.replace("-", "").replace("_", "").isalnum() and key.isascii()


def test_a_table_finds_who_has_a_key(tmp_path: Path) -> None:
    table = KeyTable([ENTRY, OTHER])
    found = table.find(digest_of(SECRET.encode()))
    assert found is not None and found.name == "sensors" and found.rights == {"predict", "sessions"}
    other = table.find(digest_of(b"other"))
    assert other is not None and other.limits == KeyLimits(requests_per_s=2.5, max_sessions=0)
    for wrong in (b"", digest_of(b"wrong"), digest_of(SECRET.encode())[:-1], bytes.fromhex(ENTRY.sha256)[::-1]):
        assert table.find(wrong) is None
    assert len(table) == 2


BROKEN = {
    "not TOML": "keys = [",
    "nothing": "",
    "another table": "[[key]]\nname = 'a'",
    "no hash": "[[keys]]\nname = 'a'\nrights = ['predict']",
    "the key itself": f"[[keys]]\nname = 'a'\nrights = ['predict']\nsha256 = '{SECRET}'",
    "an unknown right": f"[[keys]]\nname = 'a'\nrights = ['all']\nsha256 = '{'0' * 64}'",
    "no rights": f"[[keys]]\nname = 'a'\nrights = []\nsha256 = '{'0' * 64}'",
    "a slash in a name": f"[[keys]]\nname = 'a/b'\nrights = ['predict']\nsha256 = '{'0' * 64}'",
    "a line end in a name": f'[[keys]]\nname = "a\\n"\nrights = ["predict"]\nsha256 = "{"0" * 64}"',
    "an empty name": f"[[keys]]\nname = ''\nrights = ['predict']\nsha256 = '{'0' * 64}'",
    "a line end in a hash": f'[[keys]]\nname = "a"\nrights = ["predict"]\nsha256 = "{"0" * 64}\\n"',
    "an unknown field": f"[[keys]]\nname = 'a'\nrights = ['predict']\nsha256 = '{'0' * 64}'\nright = 1",
    "one key of two callers": 2 * f"[[keys]]\nname = 'a'\nrights = ['predict']\nsha256 = '{'0' * 64}'\n",
    "a negative bound": f"[[keys]]\nname = 'a'\nrights = ['predict']\nsha256 = '{'0' * 64}'\nrequests_per_s = -1",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_wrong_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(KeyFileError) as refused:
        read_keys(path)
    assert str(refused.value).startswith("keys.toml: ") and SECRET not in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        read_keys(tmp_path / "keys.toml")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyFileError, match="UTF-8"):
        read_keys(tmp_path / "bytes.json")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    with pytest.raises(KeyFileError):
        read_keys(tmp_path / "list.json")
    with pytest.raises(KeyFileError):
        write_keys(tmp_path / "no folder" / "keys.toml", [])


def test_the_message_names_the_entry_and_the_field(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    write_keys(path, [ENTRY])
    path.write_text(path.read_text() + "\n[[keys]]\nname = 'b'\nrights = ['predict']\nsha256 = 'short'\n")
    with pytest.raises(KeyFileError, match=r"key 2, sha256: .*keys add"):
        read_keys(path)
