from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.request_counts import RequestCounts

BOUNDS = (0.1, 1.0, 10.0)


def rendered(counts: RequestCounts) -> dict[tuple[str, str], float]:
    """Samples by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(counts)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = (sample for family in families for sample in family.samples)
    return {(sample.name, ",".join(sorted(sample.labels.values()))): sample.value for sample in samples}


def test_requests_are_counted_by_route_method_and_status() -> None:
    counts = RequestCounts(BOUNDS)
    for status in (200, 200, 404):
        counts.count("/a", "POST", status, 0.5)
    counts.count("/b", "WS", 200, 0.5)
    found = rendered(counts)
    assert found["unroll_requests_total", "/a,200,POST"] == 2
    assert found["unroll_requests_total", "/a,404,POST"] == 1
    assert found["unroll_requests_total", "/b,200,WS"] == 1


def test_nothing_is_told_of_what_never_came() -> None:
    assert rendered(RequestCounts(BOUNDS)) == {}


def test_durations_are_those_of_a_histogram_of_the_client_library() -> None:
    seconds = [0.0, 0.05, 0.1, 0.1000001, 0.99, 1.0, 5.0, 10.0, 10.5, 1e9]
    counts, registry = RequestCounts(BOUNDS), CollectorRegistry()
    histogram = Histogram("unroll_request_seconds", "x", ["route"], buckets=BOUNDS, registry=registry)
    for one in seconds:
        counts.count("/a", "GET", 200, one)
        histogram.labels("/a").observe(one)
    theirs = {
        (sample.name, ",".join(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    mine = {key: value for key, value in rendered(counts).items() if key[0].startswith("unroll_request_seconds")}
    assert mine == theirs
