"""A job as it reaches a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synobench.errors import BenchError, SealedError
from synobench.jobs import Job, Stage
from synobench.registry import Origin, Registered
from synobench.suite import Cell

Cells = Callable[..., list[Cell]]


def found(name: str) -> Registered:
    return Registered(None, Origin(name, "strange", "1.0", name))  # type: ignore[arg-type]


def told(stage: Stage) -> tuple[str, str | None]:
    return stage.name, stage.plugin


def test_a_stage_that_ends_gives_back_the_one_around_it() -> None:
    stage = Stage()
    with stage.at("train", found("rule")):
        with stage.at("step", found("pruner")):
            assert told(stage) == ("step", "'pruner' of strange 1.0")
        assert told(stage) == ("train", "'rule' of strange 1.0")
    assert told(stage) == ("start", None)


def test_a_stage_that_breaks_stays_told() -> None:
    stage = Stage()

    def broken() -> None:
        with stage.at("train", found("rule")), stage.at("step", found("pruner")):
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        broken()
    assert told(stage) == ("step", "'pruner' of strange 1.0")


@pytest.fixture
def job(suite_cells: Cells, job_of: Callable[..., dict[str, Any]]) -> Callable[..., Job]:
    def make(**fields: Any) -> Job:
        return Job(job_of(suite_cells(**fields)[0]), lambda _: None)

    return make


def test_a_job_makes_what_its_inputs_name(job: Callable[..., Job], tmp_path: Path) -> None:
    made = job(pruners=["magnitude[scope=layer]"], rule="backprop[rate=0.25]", more="tune = 'still[loss=2]'")
    pruner, origin = made.pruner()
    assert (pruner.scope, origin.entry.name) == ("layer", "magnitude")
    rule, entry, _ = made.rule("tune")
    assert (rule.loss, entry.name) == (2.0, "still")
    assert made.rule("rule")[0]._params.rate == 0.25
    assert (len(made.training), len(made.validation)) == (1257, 180)
    assert made.kept("parents", "abcd") == tmp_path / "cache" / "parents" / "ab" / "abcd"
    assert made.device == "cpu"


def test_what_a_parameter_cannot_be_is_told_with_the_plugin(job: Callable[..., Job]) -> None:
    made = job()
    made.facts["inputs"]["rule"] = {"name": "backprop", "params": {"rate": "fast"}}
    with pytest.raises(BenchError, match=r"rule backprop\[rate\] must be of type float"):
        made.rule("rule")
    assert made.stage.name == "make"
    assert "'backprop'" in str(made.stage.plugin)


def test_the_data_come_with_the_test_view_sealed(job: Callable[..., Job]) -> None:
    made = job()
    with pytest.raises(SealedError):
        made.feed(made.splits.sealed)
    assert len(made.feed(made.splits.unseal())) == 360


def test_plugins_that_a_run_uses_are_told_with_their_digests(job: Callable[..., Job]) -> None:
    told_of = job(pruners=["early"]).plugins
    assert set(told_of) == {"backprop", "datasets", "models", "tiny_pruners"}
    assert told_of["tiny_pruners"][0] == "local file"
    assert all(digest.startswith("sha256:") for _, _, digest in told_of.values())
    assert "neurons" in job(model="snn-conv[width=2]").plugins
