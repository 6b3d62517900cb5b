from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from service.run_counts import RunCounts


def rendered(counts: RunCounts) -> list[str]:
    registry = CollectorRegistry()
    registry.register(counts)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_run_falls_into_the_bucket_of_its_duration_and_of_its_width() -> None:
    counts = RunCounts((0.001, 0.01), (1, 4))
    counts.count("pump", "observe", 3, 12, 0.002)
    counts.count("pump", "observe", 9, 9, 0.5)
    lines = rendered(counts)
    assert 'unroll_run_seconds_bucket{graph="observe",le="0.001",model="pump"} 0.0' in lines
    assert 'unroll_run_seconds_bucket{graph="observe",le="0.01",model="pump"} 1.0' in lines
    assert 'unroll_run_seconds_bucket{graph="observe",le="+Inf",model="pump"} 2.0' in lines
    assert 'unroll_run_rows_bucket{graph="observe",le="4.0",model="pump"} 1.0' in lines
    assert 'unroll_run_rows_sum{graph="observe",model="pump"} 12.0' in lines
    assert 'unroll_steps_total{graph="observe",model="pump"} 21.0' in lines


def test_graphs_and_models_are_counted_apart() -> None:
    counts = RunCounts((1.0,), (1,))
    for model, graph in (("a", "observe"), ("a", "generate"), ("b", "observe")):
        counts.count(model, graph, 1, 1, 0.1)
    assert sum(line.startswith("unroll_steps_total") and line.endswith(" 1.0") for line in rendered(counts)) == 3
