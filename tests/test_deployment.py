"""What is deployed fits what is served: manifests against Kubernetes' schemas, names and bounds against the code.

That containers do what they promise is for `python -m tests.compose`, which needs an engine.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from benchmarks.server import ROOT
from service.metrics import Metrics
from service.settings import Settings, variable
from tests.test_readme import README

KUBERNETES = ROOT / "deploy/kubernetes"
# These are for kustomize and for Helm, not for Kubernetes itself.
NO_MANIFESTS = ("kustomization.yaml", "prometheus-adapter-values.yaml")
MANIFESTS = sorted(path.name for path in KUBERNETES.glob("*.yaml") if path.name not in NO_MANIFESTS)
KUBERNETES_VERSION = "1.34"
VARIABLES = {variable(name) for name in Settings.__dataclass_fields__}
WITH_KEYS: dict[str, Any] = yaml.safe_load((ROOT / "docker/keys.yaml").read_text(encoding="utf-8"))["services"]
NGINX = (ROOT / "docker/nginx/nginx.conf").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def services() -> dict[str, Any]:
    composed: dict[str, Any] = read(ROOT / "compose.yaml")["services"]
    return composed


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_fits_the_schema_of_its_kind(name: str) -> None:
    kubernetes_validate.validate(read(KUBERNETES / name), KUBERNETES_VERSION, strict=True)


def test_kustomize_takes_every_manifest() -> None:
    assert sorted(read(KUBERNETES / "kustomization.yaml")["resources"]) == MANIFESTS


def test_only_settings_that_exist_are_set() -> None:
    container = deployment()["containers"][0]
    given = [*read(KUBERNETES / "settings.yaml")["data"], *(one["name"] for one in container["env"])]
    for service in ("service", "service-gpu", "replica"):
        given += services()[service]["environment"]
        given += WITH_KEYS[service]["environment"]
    given += re.findall(r"\bUNROLL_[A-Z_]+(?==)", (ROOT / "docker/service.Dockerfile").read_text(encoding="utf-8"))
    given += re.findall(r"export (UNROLL_[A-Z_]+)", (ROOT / "docker/serve").read_text(encoding="utf-8"))
    assert set(given) <= VARIABLES


def deployment() -> dict[str, Any]:
    pod: dict[str, Any] = read(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]
    return pod


def test_whoever_stops_the_service_waits_longer_than_it_takes() -> None:
    for service in ("service", "service-gpu", "replica"):
        assert float(services()[service]["stop_grace_period"].removesuffix("s")) > Settings.shutdown_grace_s
    pod = deployment()
    before = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = float(read(KUBERNETES / "settings.yaml")["data"]["UNROLL_SHUTDOWN_GRACE_S"])
    assert pod["terminationGracePeriodSeconds"] > before + grace


def test_the_gateway_takes_bodies_as_large_as_the_service_does() -> None:
    found = re.search(r"client_max_body_size (\d+)m;", NGINX)
    assert found is not None and int(found[1]) * 2**20 == Settings.max_request_bytes


def test_ports_are_those_that_the_service_listens_on() -> None:
    ports = {port["containerPort"] for port in deployment()["containers"][0]["ports"]}
    assert ports == {int(port) for port in re.findall(r"listen (\d+)", NGINX)} == {Settings.port, Settings.grpc_port}


def test_every_container_is_locked_down() -> None:
    for name, service in services().items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_ports_are_published_on_the_loopback_address_unless_asked_otherwise() -> None:
    for service in services().values():
        assert all(port.startswith("${UNROLL_ADDRESS:-127.0.0.1}:") for port in service.get("ports", ()))


def test_whether_keys_are_asked_for_is_said_wherever_others_may_reach_the_service() -> None:
    for service in ("service", "service-gpu", "replica"):
        chosen = services()[service]["environment"]["UNROLL_AUTHENTICATION"]
        assert chosen == "${UNROLL_AUTHENTICATION:-off${UNROLL_ADDRESS:+, or required}}", "not off by itself elsewhere"
        with_keys = WITH_KEYS[service]
        assert with_keys["environment"]["UNROLL_AUTHENTICATION"] == "required"
        folder = with_keys["volumes"][0].split(":")[1]
        assert with_keys["environment"]["UNROLL_API_KEYS"].startswith(f"{folder}/")
    assert read(KUBERNETES / "settings.yaml")["data"]["UNROLL_AUTHENTICATION"] == "required"
    container = deployment()["containers"][0]
    (keys,) = (one["value"] for one in container["env"] if one["name"] == "UNROLL_API_KEYS")
    (mount,) = (one for one in container["volumeMounts"] if keys.startswith(one["mountPath"] + "/"))
    (volume,) = (one for one in deployment()["volumes"] if one["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "unroll-api-keys"


def test_the_dashboard_and_the_autoscaler_ask_for_metrics_that_exist() -> None:
    known = known_metrics()
    dashboard = json.loads((ROOT / "docker/grafana/provisioning/dashboards/unroll.json").read_text(encoding="utf-8"))
    asked = {name for panel in dashboard["panels"] for one in panel["targets"] for name in names_in(one["expr"])}
    asked |= {name for one in dashboard["templating"]["list"] for name in names_in(one["definition"])}
    asked |= names_in((KUBERNETES / "autoscaler.yaml").read_text(encoding="utf-8"))
    asked |= names_in((KUBERNETES / "prometheus-adapter-values.yaml").read_text(encoding="utf-8"))
    assert asked and asked <= known


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bunroll_[a-z_]+", text))


def known_metrics() -> set[str]:
    """The series that a process has: metrics without labels, and their kinds, are told before anything happened."""
    told = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().render().decode(), re.MULTILINE)
    parts = {"histogram": ("_bucket", "_count", "_sum")}
    return {name + part for name, kind in told for part in parts.get(kind, ("",))}


def test_the_readme_names_every_profile() -> None:
    profiles = {profile for service in services().values() for profile in service["profiles"]}
    assert profiles == {"single", "scale", "monitoring", "gpu", "train"}
    assert all(f"`{profile}`" in README or f"--profile {profile}" in README for profile in profiles)
