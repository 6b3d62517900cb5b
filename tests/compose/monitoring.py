"""Profile `monitoring`: Prometheus scrapes whatever runs, and every panel of the dashboard has something to show."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import httpx

from benchmarks.server import ROOT
from tests.compose.clients import Observer
from tests.compose.stack import Failed, Stack, answers, stack, until

DASHBOARD = ROOT / "docker/grafana/provisioning/dashboards/unroll.json"
# What has nothing to show as long as all goes well.
_QUIET = ("Refused and failed",)


def run() -> None:
    """Raises Failed if anything is not as promised."""
    with stack("single", "monitoring") as made:
        print(f"  healthy after {made.up():.1f} s", flush=True)
        with httpx.Client(timeout=30) as http:
            _make_traffic(http, f"http://{made.address}")
            _check_targets(http, made)
            _check_panels(http, made)
            until(lambda: answers(f"http://{made.local('GRAFANA_PORT')}/api/health"), "Grafana answers")
            said = http.get(f"http://{made.local('GRAFANA_PORT')}/api/health").json()
            print(
                f"  Grafana answers{' (a stand-in for it: only its wiring is tested)' * ('stub' in said)}", flush=True
            )


def _make_traffic(http: httpx.Client, url: str) -> None:
    http.post(f"{url}/v1/sessions", json={"id": "seen", **Observer.opening}).raise_for_status()
    for value in range(20):
        http.post(f"{url}/v1/sessions/seen/observe", json={"values": [value]}).raise_for_status()
    http.post(
        f"{url}/v1/completions", json={"model": "shakespeare", "prompt": "A", "max_tokens": 20}
    ).raise_for_status()


def _check_targets(http: httpx.Client, made: Stack) -> None:
    def up() -> bool:
        return bool(_query(http, made, "up == 1"))

    until(lambda: answers(f"http://{made.local('PROMETHEUS_PORT')}/-/ready"), "Prometheus is ready")
    until(up, "Prometheus scrapes the service")


def _check_panels(http: httpx.Client, made: Stack) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    for panel in panels:
        asked = [_without_variables(target["expr"]) for target in panel["targets"]]
        if panel["title"] not in _QUIET:
            until(partial(_any_shows, http, made, asked), f"{panel['title']} shows anything")
    print(f"  {len(panels)} panels of the dashboard, each of whose questions Prometheus answers", flush=True)


def _any_shows(http: httpx.Client, made: Stack, asked: list[str]) -> bool:
    return any([_query(http, made, one) for one in asked])


def _without_variables(expression: str) -> str:
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "1m").replace("$__range", "1m"))


def _query(http: httpx.Client, made: Stack, expression: str) -> list[Any]:
    answer = http.get(f"http://{made.local('PROMETHEUS_PORT')}/api/v1/query", params={"query": expression}).json()
    if answer["status"] != "success":
        raise Failed(f"{expression}: {answer}")
    result: list[Any] = answer["data"]["result"]
    return result
