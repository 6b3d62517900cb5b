"""`python -m training data NAME`: download a named public data set, its licence and checksum shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from training.data.catalog import CATALOG, download, find_dataset
from training.waiting import waiting


def data(
    name: Annotated[str | None, typer.Argument(help="data set; without one, those there are")] = None,
    folder: Annotated[Path, typer.Option(help="where the file goes")] = Path("data"),
) -> None:
    """Download a well-known public data set; an interrupted download goes on where it stopped."""
    console = Console()
    if name is None:
        table = Table(Column("name", no_wrap=True), "size", "what", "licence")  # a name cut short is of no use
        for dataset in CATALOG.values():
            table.add_row(dataset.name, f"{dataset.size / 1e3:,.0f} kB", dataset.about, dataset.licence)
        console.print(table)
        return
    dataset = find_dataset(name)
    console.print(
        f"{dataset.name}: {dataset.about}\nlicence: {dataset.licence}\nfrom: {dataset.url}",
        highlight=False,
        soft_wrap=True,
    )
    with waiting(dataset.file) as advanced:
        path = download(dataset, folder, lambda received: advanced(received / dataset.size))
    console.print(f"{path} ({dataset.size} bytes, SHA-256 {dataset.sha256})", highlight=False, soft_wrap=True)
