"""Compiled and recorded steps give the same rows as eager ones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from invertory.inversion.engine.engine import Engine, _RunInputs
from invertory.inversion.engine.execution import Execution, in_place, is_out_of_memory
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.slots import Outcome


class Mixed:
    """An objective whose target is a fixed mixture of the variable."""

    weights: ClassVar[Mapping[str, float]] = {"mse": 1.0}
    results: ClassVar[tuple[str, ...]] = ("x",)
    iterate: ClassVar[Literal["best", "last"]] = "best"

    def start(self, rows: Rows) -> Start:
        draws = [torch.randn(48, generator=torch.Generator().manual_seed(s)) for s in rows.seeds]
        targets = rows.targets
        return Start({"x": torch.stack(draws).to(targets)}, {"target": targets.flatten(1)})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        x = variables["x"]
        return {"mse": (x + 0.5 * x.roll(1, 1) - constants["target"]).square().mean(1)}

    def learning_rate(self, step: Tensor) -> Tensor:
        return torch.full_like(step, 0.05, dtype=torch.float64)

    def settle(self, variables: Tensors) -> Tensors:
        return {}


def targets(num_rows: int) -> Tensor:
    return torch.rand(num_rows, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def run(execution: Execution, *, device: str = "cpu", objective: Any = None) -> Outcome:
    """Run seven rows of different lengths through three slots."""
    engine = Engine(steps=90, target_loss=0.05, check_every=4, execution=execution)
    return engine.run(objective or Mixed(), targets(7).to(device), seeds=range(7), batch_size=3)


def assert_same(a: Outcome, b: Outcome) -> None:
    assert len(set(b.steps.tolist())) > 1, "the case needs rows of different lengths"
    assert a.steps.tolist() == b.steps.tolist()
    torch.testing.assert_close(a.results["x"], b.results["x"], rtol=0, atol=1e-4)


def compile_nothing(function: Any, **_: object) -> Any:
    def fail(*args: object) -> object:
        raise torch._dynamo.exc.TorchDynamoException("no compiler here\nlong story")

    return fail


def test_what_cannot_be_compiled_runs_uncompiled_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", compile_nothing)
    assert_same(run("compiled"), run("eager"))
    assert [record.getMessage() for record in caplog.records] == [
        "torch.compile failed (no compiler here): continuing uncompiled; install a C++ compiler "
        "(CPU) or Triton (GPU), or set `execution: eager`"
    ]


def test_a_batch_that_is_compiled_keeps_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counted(Mixed):
        def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
            sizes.append(len(step))
            return super().losses(variables, constants, step)

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert_same(run("compiled", objective=Counted()), run("eager"))
    assert set(sizes) == {3}


@pytest.mark.slow
def test_compiled_steps_come_to_the_same_rows() -> None:
    assert_same(run("compiled"), run("eager"))


def test_a_graph_without_a_cuda_device_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert_same(run("graphed"), run("eager"))
    assert "CUDA graphs need a CUDA device, got cpu" in caplog.text


def test_a_step_in_place_is_the_step_and_moves_no_tensor() -> None:
    engine, objective = Engine(steps=9), Mixed()
    rows = Rows(targets=targets(3), seeds=[1, 2, 3])
    work = _RunInputs(rows, torch.ones(3, dtype=torch.bool), {})
    plain, kept = (engine._open(objective, work, [0, 1, 2]) for _ in range(2))
    places = {(g, k): v.data_ptr() for g, named in kept.tensors.items() for k, v in named.items()}
    for _ in range(3):
        engine._step(objective, plain)
        in_place(partial(engine._step, objective), kept)
    for group, named in kept.tensors.items():
        for name, tensor in named.items():
            assert tensor.data_ptr() == places[group, name]
            torch.testing.assert_close(tensor, plain.tensors[group][name], equal_nan=True)


def test_recorded_steps_come_to_the_same_rows() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: a graph cannot be recorded on the CPU")
    assert_same(run("graphed", device="cuda"), run("eager", device="cuda"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError(), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("the size of tensor a must match"), False),
    ],
)
def test_a_lack_of_memory_is_known(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
