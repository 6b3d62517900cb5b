"""What the audit of the dependencies makes of its report; the advisories themselves are elsewhere."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.audit import judge

CLEAN: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
CONCERNED: dict[str, Any] = {
    "name": "c",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("packages", "status", "told"),
    [
        ([CLEAN], 0, "1 packages audited, nothing known\n"),
        ([CLEAN, SKIPPED], 0, "1 packages audited, nothing known; NOT AUDITED: b\n"),
        ([SKIPPED, SKIPPED], 0, "NOT AUDITED: none of 2 packages could be looked up\n"),
        ([CLEAN, CONCERNED], 1, "c 1: PYSEC-1, mended in 2\nc 1: PYSEC-2, mended in no version yet\n"),
        ([SKIPPED, CONCERNED], 1, "c 1: PYSEC-1, mended in 2\nc 1: PYSEC-2, mended in no version yet\n"),
    ],
)
def test_advisories_fail_it_and_what_could_not_be_looked_up_is_said(
    packages: list[dict[str, Any]], status: int, told: str
) -> None:
    out = io.StringIO()
    assert judge(json.dumps({"dependencies": packages}), "", out) == status
    assert out.getvalue() == told


@pytest.mark.parametrize("report", ["", "not JSON", "[]", "{}"])
def test_a_look_up_that_failed_is_said_with_its_reason(report: str) -> None:
    out = io.StringIO()
    assert judge(report, "WARNING: x\nERROR: cannot connect\n", out) == 0
    assert out.getvalue() == "NOT AUDITED: the advisories could not be looked up: ERROR: cannot connect\n"
    assert judge(report, "", out) == 0
