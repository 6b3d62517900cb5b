"""`python -m benchmarks`: run the benchmarks and print their tables in Markdown.

`python -m benchmarks` runs all of them, `python -m benchmarks serving --help` tells what one of them can be told.
"""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = (
    "serving",
    "bulk",
    "one_stream",
    "long_prefill",
    "live_sessions",
    "text",
    "text_controls",
    "startup",
    "journal",
    "durability",
    "stored_sessions",
    "overload",
    "neighbour",
    "forecast_peers",
    "gpu",
    "gpu_generate",
)
TOOLS = ("load", "session_memory", "textbook_figures", "trained_cells", "long_memory")
ACCURACY = ("m4_hourly", "etth_rolling", "etth_long", "nab", "pjm_load")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [*BENCHMARKS, *TOOLS, *ACCURACY]
    parser.add_argument("name", nargs="?", choices=names, help="one of them; all benchmarks if left out")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="its own options")
    chosen = parser.parse_args()
    for name in [chosen.name] if chosen.name else BENCHMARKS:
        importlib.import_module(f"benchmarks.{name}").main(chosen.options)


if __name__ == "__main__":
    main()
