"""The proposal on simulated edges, whose latency is known, and on a real one."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.edge_load.load import Load
from benchmarks.edge_load.proposal import MAX_PHONES, ProposalError, chosen, divisors, search
from mvstylizer_cli import main as cli

ROOT = Path(__file__).parents[3]


def simulated(service_s: float, workers: int) -> object:
    """An edge on which each request takes `service_s`, and phones wait for one of its workers."""

    def load(phones: int) -> Load:
        latency = service_s * max(1.0, phones / workers)
        return Load([latency] * 20, wall=20 * latency / phones)

    return load


@given(st.floats(0.001, 0.5), st.integers(1, 8), st.integers(1, 2000))
def test_the_largest_number_within_the_goal_is_found(service_s: float, workers: int, goal_ms: int) -> None:
    load = simulated(service_s, workers)
    trials = search(load, goal_ms, workers, 1, lambda _: None)  # type: ignore[arg-type]
    within = [trial.phones for trial in trials if trial.reaches(goal_ms)]
    most = min(MAX_PHONES, int(workers * goal_ms / 1000 / service_s))
    if 1000 * service_s > goal_ms + 0.06:  # latencies are rounded to 0.1 ms
        assert within == []
        with pytest.raises(ProposalError, match="best p95"):
            chosen(trials, goal_ms)
    elif 1000 * service_s < goal_ms - 0.06:
        assert max(within) >= 0.85 * most - 1
        assert chosen(trials, goal_ms).best.phones <= max(most + 1, workers)
    assert len(trials) <= 14


def test_the_highest_throughput_wins_and_the_command_can_be_run() -> None:
    trials = [
        trial
        for workers, service_s in ((1, 0.05), (2, 0.08), (4, 0.2))
        for trial in search(simulated(service_s, workers), 400, workers, 4 // workers, lambda _: None)  # type: ignore[arg-type]
    ]
    proposal = chosen(trials, 400)
    assert proposal.best.workers == 2
    words = shlex.split(proposal.command)
    assert words[:2] == ["mvstylizer", "serve"]
    command = typer.main.get_command(cli.app)
    assert command.commands["serve"].make_context("serve", words[2:]).params["workers"] == 2  # type: ignore[attr-defined]
    assert json.loads(json.dumps(proposal.as_dict()))["command"] == proposal.command


def test_instances_use_all_cores() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]


@pytest.mark.long
@pytest.mark.server
def test_a_real_edge_gets_a_proposal() -> None:
    command = [sys.executable, "-m", "mvstylizer_cli", "bench", "serving", "--quick", "--json"]
    command += ["--bundle", "mvstylizer/models/lite", "--resolution", "320x192", "--propose"]
    done = subprocess.run([*command, "30000"], cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["best"]["p95_ms"] <= 30000
    assert result["command"].startswith("mvstylizer serve --workers ")
    failed = subprocess.run([*command, "1"], cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "No configuration of this machine answers within 1 ms" in failed.stderr
