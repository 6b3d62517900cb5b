"""`python -m tests.audit`: whether anything is known against the exact versions that this project is built from.

Asks for the advisories of every package in constraints.txt. What is found ends with status 1; a look-up that could not
be made is said and ends with 0, for whoever checks a change where nothing can be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, TextIO

from benchmarks.server import ROOT

PATIENCE_S = 300


def main() -> int:
    """1 where there are advisories, else 0."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"NOT AUDITED: no answer about the dependencies within {PATIENCE_S} seconds")
        return 0
    return judge(asked.stdout, asked.stderr, sys.stdout)


def judge(report: str, complaints: str, out: TextIO) -> int:
    """What the audit's report comes to, written down in words; 1 where it has advisories.

    Args:
        complaints: what the audit said beside its report.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaints.strip().splitlines() or ["it said nothing"])[-1]
        print(f"NOT AUDITED: the advisories could not be looked up: {last}", file=out)
        return 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    concerned = [package for package in packages if package.get("vulns")]
    for package in concerned:
        for advisory in package["vulns"]:
            mended = ", ".join(advisory.get("fix_versions") or ["no version yet"])
            print(f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}", file=out)
    if concerned:
        return 1
    if len(skipped) == len(packages):
        print(f"NOT AUDITED: none of {len(packages)} packages could be looked up", file=out)
    elif skipped:
        looked_up = len(packages) - len(skipped)
        print(f"{looked_up} packages audited, nothing known; NOT AUDITED: {', '.join(skipped)}", file=out)
    else:
        print(f"{len(packages)} packages audited, nothing known", file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
