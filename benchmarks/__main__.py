"""`python -m benchmarks`: run the benchmarks and print their tables in Markdown."""

from __future__ import annotations

from benchmarks import serving


def main() -> None:
    serving.main()


if __name__ == "__main__":
    main()
