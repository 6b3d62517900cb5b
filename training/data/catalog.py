"""A few well-known public data sets by name: where they are, what they must be, and under which licence.

Downloads go on where they stopped, never take more than was announced, and appear under their name only when every
byte is right.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from service.contract.manifest import sha256_of
from training.errors import TrainingError

CHUNK = 1 << 16
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Dataset:
    """One public file."""

    name: str
    file: str
    url: str
    sha256: str
    size: int
    """Bytes."""
    licence: str
    about: str


_RAW = "https://raw.githubusercontent.com"

CATALOG = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "tinyshakespeare",
            "tinyshakespeare.txt",
            f"{_RAW}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1115394,
            "public-domain text, from the MIT repository karpathy/char-rnn",
            "40,000 lines of Shakespeare, one text",
        ),
        Dataset(
            "etth1",
            "ETTh1.csv",
            f"{_RAW}/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv",
            "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
            2589657,
            "CC BY-ND 4.0, from zhouhaoyi/ETDataset",
            "two years of hourly transformer loads and oil temperature, wide",
        ),
        Dataset(
            "melbourne-temperature",
            "daily-min-temperatures.csv",
            f"{_RAW}/jbrownlee/Datasets/master/daily-min-temperatures.csv",
            "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
            67921,
            "not stated; Australian Bureau of Meteorology, through jbrownlee/Datasets",
            "ten years of daily minimum temperatures in Melbourne, wide",
        ),
        Dataset(
            "airline-passengers",
            "airline-passengers.csv",
            f"{_RAW}/jbrownlee/Datasets/master/airline-passengers.csv",
            "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
            2180,
            "not stated; Box and Jenkins, 1976, through jbrownlee/Datasets",
            "twelve years of monthly airline passengers, wide",
        ),
        Dataset(
            "m4-hourly",
            "Hourly-train.csv",
            f"{_RAW}/Mcompetitions/M4-methods/master/Dataset/Train/Hourly-train.csv",
            "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
            2347115,
            "released publicly by the organisers of the M4 competition",
            "414 hourly series of the M4 competition, --layout rows",
        ),
    )
}


def find_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        TrainingError: there is none; names those there are.
    """
    if name not in CATALOG:
        raise TrainingError(f"data set: expected one of {', '.join(CATALOG)}, got {name!r}")
    return CATALOG[name]


def download(dataset: Dataset, folder: Path, advanced: Callable[[int], None] = lambda received: None) -> Path:
    """The data set's file in a folder, downloaded unless it is there already.

    What an earlier attempt left is continued, if the server can. The file gets its name when its checksum is right.

    Args:
        advanced: told the bytes that are there, after each chunk.

    Raises:
        TrainingError: no answer, cut off (the next call goes on from there), too long, or another checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / dataset.file, folder / f".{dataset.file}.part"
    if target.is_file():
        if sha256_of(target) == dataset.sha256:
            return target
        raise TrainingError(f"{target.name}: there already, with another checksum; move it away and try again")
    if part.exists() and part.stat().st_size > dataset.size:
        part.unlink()
    if not part.exists() or part.stat().st_size < dataset.size:
        _receive(dataset, part, advanced)
    found = sha256_of(part)
    if found != dataset.sha256:
        part.unlink()
        raise TrainingError(
            f"{dataset.name}: expected SHA-256 {dataset.sha256}, got {found}; what came was deleted."
            " The source may have changed: do not use it without looking"
        )
    part.replace(target)
    return target


def _receive(dataset: Dataset, part: Path, advanced: Callable[[int], None]) -> None:
    """Append to the part what is missing of it."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(dataset.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            resumed = have > 0 and _continues(answer, have)
            with part.open("ab" if resumed else "wb") as file:
                received = _copy(answer, file.write, dataset, have if resumed else 0, advanced)
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        raise TrainingError(f"{dataset.name}: expected the file, got HTTP {error.code} from {dataset.url}") from error
    except (OSError, HTTPException) as error:
        raise TrainingError(f"{dataset.name}: the download broke off ({error}); try again, it goes on") from error
    if received < dataset.size:
        raise TrainingError(
            f"{dataset.name}: expected {dataset.size} bytes, got {received}; try again, it goes on from there"
        )


def _continues(answer: HTTPResponse, have: int) -> bool:
    """Whether the answer begins where the part ends; a server without ranges sends the whole file again."""
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _copy(
    answer: HTTPResponse,
    write: Callable[[bytes], int],
    dataset: Dataset,
    received: int,
    advanced: Callable[[int], None],
) -> int:
    while chunk := answer.read(CHUNK):
        received += len(chunk)
        if received > dataset.size:
            raise TrainingError(f"{dataset.name}: expected {dataset.size} bytes, but the server sends more; stopped")
        write(chunk)
        advanced(received)
    return received
