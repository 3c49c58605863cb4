"""The engine: rows in a batch follow the same paths as they do alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import ToyGenerator
from invertory.inversion.engine.adam import RowAdam
from invertory.inversion.engine.engine import Engine, _RunInputs
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.slots import Outcome, Slots

ONE_THREAD_TOLERANCE = 1e-5  # latents, absolute; batches of other sizes round differently


@dataclass
class PixelLoss:
    """Squared error of the toy's image; rows start at draws of their seeds."""

    generator: ToyGenerator = field(default_factory=lambda: ToyGenerator(resolution=16))
    rate: float = 0.1
    iterate: Literal["best", "last"] = "best"
    most_rows: int = 10**6
    error: Exception = field(default_factory=torch.OutOfMemoryError)
    calls: list[int] = field(default_factory=list)
    weights: ClassVar[Mapping[str, float]] = {"mse": 1.0}
    results: ClassVar[tuple[str, ...]] = ("w_plus",)

    def start(self, rows: Rows) -> Start:
        shape = (self.generator.num_ws, self.generator.w_dim)
        draws = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in rows.seeds]
        return Start({"w_plus": torch.stack(draws).to(rows.targets)}, {"target": rows.targets})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        self.calls.append(len(step))
        if len(step) > self.most_rows:
            raise self.error
        error = self.generator.synthesis(variables["w_plus"]) - constants["target"]
        return {"mse": error.square().mean((1, 2, 3))}

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.rate / (1 + step / 20)  # a function of the row's own step

    def settle(self, variables: Tensors) -> Tensors:
        return {}


def images(num_rows: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = ToyGenerator(resolution=16)
    rng = torch.Generator().manual_seed(seed)
    w_plus = torch.randn(num_rows, generator.num_ws, generator.w_dim, generator=rng)
    return generator.synthesis(w_plus), w_plus


def run(targets: Tensor, batch_size: int, *, steps: int = 30, **options: object) -> Outcome:
    engine = Engine(steps=steps, **options)  # type: ignore[arg-type]
    seeds = range(100, 100 + len(targets))
    return engine.run(PixelLoss(), targets, seeds=seeds, batch_size=batch_size)


def work_of(targets: Tensor, seeds: Sequence[int]) -> _RunInputs:
    is_valid = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    return _RunInputs(Rows(targets=targets, seeds=seeds), is_valid, {})


def assert_same(a: Outcome, b: Outcome) -> None:
    torch.testing.assert_close(
        a.results["w_plus"], b.results["w_plus"], rtol=0, atol=ONE_THREAD_TOLERANCE
    )
    torch.testing.assert_close(a.loss, b.loss, rtol=1e-4, atol=1e-6)
    assert a.steps.tolist() == b.steps.tolist()
    assert a.is_finite.tolist() == b.is_finite.tolist()


def test_one_row_moves_as_torch_adam() -> None:
    rng = torch.Generator().manual_seed(0)
    expected = torch.randn(3, 4, generator=rng).double().requires_grad_()
    adam = torch.optim.Adam([expected], lr=0.03)
    row = expected.detach().clone()[None]
    moments = torch.zeros_like(row), torch.zeros_like(row)
    for step in range(50):
        gradient = torch.randn(3, 4, generator=rng).double()
        expected.grad = gradient
        adam.step()
        row, moments = RowAdam().update(
            row,
            gradient[None],
            moments,
            step=torch.tensor([step]),
            rate=torch.tensor([0.03], dtype=torch.float64),
        )
    torch.testing.assert_close(row[0], expected.detach(), rtol=0, atol=1e-12)


def test_a_row_that_began_later_moves_by_its_own_step_count() -> None:
    variable, gradient = torch.zeros(2, 3), torch.ones(2, 3)
    moments = (torch.full((2, 3), 0.1), torch.full((2, 3), 0.001))
    both, _ = RowAdam().update(
        variable, gradient, moments, step=torch.tensor([0, 7]), rate=torch.tensor([0.1, 0.1])
    )
    late, _ = RowAdam().update(
        variable[1:],
        gradient[1:],
        (moments[0][1:], moments[1][1:]),
        step=torch.tensor([7]),
        rate=torch.tensor([0.1]),
    )
    assert torch.equal(both[1:], late)
    assert not torch.equal(both[0], both[1])


def test_inverting_a_linear_generator_returns_the_very_latent() -> None:
    targets, w_plus = images(3)
    outcome = Engine(steps=300).run(PixelLoss(rate=0.5), targets, seeds=[1, 2, 3], batch_size=3)
    torch.testing.assert_close(outcome.results["w_plus"], w_plus, rtol=0, atol=1e-3)


def test_a_batch_of_five_is_five_batches_of_one() -> None:
    targets, _ = images(5)
    together = run(targets, 5)
    alone = [
        Engine(steps=30).run(PixelLoss(), targets[i : i + 1], seeds=[100 + i], batch_size=1)
        for i in range(5)
    ]
    for i, outcome in enumerate(alone):
        torch.testing.assert_close(
            together.results["w_plus"][i],
            outcome.results["w_plus"][0],
            rtol=0,
            atol=ONE_THREAD_TOLERANCE,
        )


def test_refilling_slots_changes_no_row_and_keeps_the_order() -> None:
    targets, _ = images(7)
    assert_same(run(targets, 2), run(targets, 7))


def test_rows_that_stop_early_make_room_and_change_no_row() -> None:
    targets, _ = images(6)
    options = {"target_loss": 0.15, "check_every": 3, "steps": 60}
    slots = run(targets, 2, **options)  # type: ignore[arg-type]
    assert len(set(slots.steps.tolist())) > 1, "the case needs rows of different lengths"
    assert_same(slots, run(targets, 6, **options))  # type: ignore[arg-type]


def test_the_interval_of_looking_changes_no_row() -> None:
    targets, _ = images(4)
    often = run(targets, 4, target_loss=0.15, check_every=1, steps=60)
    seldom = run(targets, 4, target_loss=0.15, check_every=50, steps=60)
    assert often.steps.tolist() == seldom.steps.tolist()
    assert_same(often, seldom)


def test_a_row_stops_at_its_target_loss_and_the_slot_takes_the_next_row() -> None:
    targets, _ = images(4)
    objective = PixelLoss()
    outcome = Engine(steps=200, target_loss=0.15, check_every=1).run(
        objective, targets, seeds=[1, 2, 3, 4], batch_size=2
    )
    assert (outcome.loss <= 0.15).all()
    assert (outcome.steps < 200).all()
    assert outcome.best_step.tolist() == outcome.steps.tolist()
    assert sum(objective.calls) <= int(outcome.steps.sum()) + 4 + 2  # no evaluation is wasted


def test_seeds_belong_to_rows() -> None:
    targets, _ = images(3)
    straight = Engine(steps=5).run(PixelLoss(), targets, seeds=[7, 8, 9], batch_size=3)
    turned = Engine(steps=5).run(PixelLoss(), targets.flip(0), seeds=[9, 8, 7], batch_size=2)
    torch.testing.assert_close(
        straight.results["w_plus"],
        turned.results["w_plus"].flip(0),
        rtol=0,
        atol=ONE_THREAD_TOLERANCE,
    )


def test_a_target_that_is_not_a_number_stops_its_row_alone() -> None:
    targets, _ = images(3)
    healthy = run(targets, 3)
    targets[1, 0, 0, 0] = torch.nan
    broken = run(targets, 3)
    assert broken.is_finite.tolist() == [True, False, True]
    assert broken.steps.tolist() == [30, 0, 30]
    assert torch.isfinite(broken.results["w_plus"]).all()
    for row in (0, 2):
        assert torch.equal(broken.results["w_plus"][row], healthy.results["w_plus"][row])


@dataclass
class Overflowing(PixelLoss):
    """From step 4, the loss of the row with seed 1 overflows."""

    def start(self, rows: Rows) -> Start:
        start = super().start(rows)
        is_bad = torch.tensor([seed == 1 for seed in rows.seeds])
        return replace(start, constants=start.constants | {"is_bad": is_bad})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        mse = super().losses(variables, constants, step)["mse"]
        return {"mse": mse * torch.where(constants["is_bad"] & (step >= 4), torch.inf, 1.0)}


def test_a_row_that_overflows_keeps_its_last_finite_latent() -> None:
    targets, _ = images(2)
    failed = Engine(steps=9).run(Overflowing(), targets, seeds=[0, 1], batch_size=2)
    last = Engine(steps=3).run(PixelLoss(iterate="last"), targets, seeds=[0, 1], batch_size=2)
    assert failed.is_finite.tolist() == [True, False]
    assert failed.best_step.tolist()[1] == 3
    assert torch.equal(failed.results["w_plus"][1], last.results["w_plus"][1])
    assert torch.equal(failed.loss[1], last.loss[1])


class ThereAndBack(PixelLoss):
    """The loss falls for ten steps, then rises."""

    def learning_rate(self, step: Tensor) -> Tensor:
        return torch.where(step < 10, 0.05, -0.05)


def test_the_best_iterate_is_kept_and_the_last_on_request() -> None:
    targets, _ = images(2)
    best = Engine(steps=25).run(ThereAndBack(), targets, seeds=[1, 2], batch_size=2)
    last = Engine(steps=25).run(ThereAndBack(iterate="last"), targets, seeds=[1, 2], batch_size=2)
    assert last.best_step.tolist() == [25, 25]
    assert (best.best_step < 20).all()
    assert (best.loss < last.loss).all()
    again = PixelLoss().losses(best.results, {"target": targets}, torch.zeros(2))["mse"]
    torch.testing.assert_close(again, best.loss)


def test_no_steps_evaluates_the_start() -> None:
    targets, _ = images(2)
    outcome = run(targets, 2, steps=0)
    assert outcome.steps.tolist() == [0, 0]
    assert torch.isfinite(outcome.loss).all()


def test_out_of_memory_halves_the_batch_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    targets, _ = images(5)
    objective = PixelLoss(most_rows=2)
    outcome = Engine(steps=30).run(objective, targets, seeds=range(100, 105), batch_size=5)
    assert_same(outcome, run(targets, 5))
    assert max(objective.calls[1:]) == 2
    assert "batches of 2" in caplog.text


def test_the_cpus_own_words_for_no_memory_count_too(caplog: pytest.LogCaptureFixture) -> None:
    targets, _ = images(3)
    words = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
    objective = PixelLoss(most_rows=1, error=RuntimeError(words))
    outcome = Engine(steps=5).run(objective, targets, seeds=range(100, 103), batch_size=64)
    assert_same(outcome, run(targets, 3, steps=5))
    assert objective.calls[:2] == [3, 1], "64 is more than there are: half of 3 comes next"
    assert "batches of 1" in caplog.text


def test_another_error_is_no_lack_of_memory() -> None:
    targets, _ = images(2)
    objective = PixelLoss(most_rows=1, error=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="do not match"):
        Engine(steps=3).run(objective, targets, seeds=[1, 2], batch_size=2)


def test_a_finished_row_lets_its_cached_constants_go() -> None:
    targets, _ = images(3)
    done: list[Slots] = []
    Engine(steps=2)._drain(PixelLoss(), work_of(targets, [1, 2, 3]), [0, 1, 2], 1, done)
    assert [sorted(slots.tensors) for slots in done] == [["best", "constants", "last", "row"]] * 3
    assert not any(slots.tensors["constants"] for slots in done)


def test_rows_begin_where_they_are_told_to() -> None:
    targets, w_plus = images(3)
    engine = Engine(steps=0)
    found = engine.run(
        PixelLoss(), targets, seeds=[1, 2, 3], batch_size=2, starts={"w_plus": w_plus}
    )
    assert torch.equal(found.results["w_plus"], w_plus)
    assert (found.loss < 1e-10).all()


class Weighed(PixelLoss):
    """The error of the part of the target that the row's input `mask` keeps."""

    results: ClassVar[tuple[str, ...]] = ("w_plus", "mask")

    def start(self, rows: Rows) -> Start:
        start = super().start(rows)
        return replace(start, constants=start.constants | {"mask": rows.inputs["mask"]})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        error = self.generator.synthesis(variables["w_plus"]) - constants["target"]
        return {"mse": (constants["mask"] * error).square().mean((1, 2, 3))}


def test_a_rows_inputs_stay_with_it_whatever_slot_it_takes() -> None:
    targets, _ = images(5)
    mask = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = Engine(steps=9).run(
        Weighed(), targets, seeds=range(5), batch_size=2, inputs={"mask": mask}
    )
    assert torch.equal(found.results["mask"], mask)
    synth = PixelLoss().generator.synthesis(found.results["w_plus"])
    expected = (mask * (synth - targets)).square().mean((1, 2, 3))
    torch.testing.assert_close(found.loss, expected)


def test_a_row_that_is_not_valid_takes_no_step_and_the_others_go_on() -> None:
    targets, _ = images(5)
    is_valid = torch.tensor([True, False, True, True, False])
    found = Engine(steps=9).run(
        PixelLoss(), targets, seeds=range(100, 105), batch_size=2, is_valid=is_valid
    )
    begun = run(targets, 5, steps=0)
    assert torch.equal(found.is_finite, is_valid)
    assert found.steps.tolist() == [9, 0, 9, 9, 0]
    assert torch.equal(found.results["w_plus"][~is_valid], begun.results["w_plus"][~is_valid])
    whole = run(targets, 2, steps=9)
    assert torch.equal(found.results["w_plus"][is_valid], whole.results["w_plus"][is_valid])


def test_rows_none_of_which_is_valid_come_back_all_the_same() -> None:
    targets, _ = images(3)
    none = torch.zeros(3, dtype=torch.bool)
    found = Engine(steps=9).run(PixelLoss(), targets, seeds=[1, 2, 3], batch_size=2, is_valid=none)
    assert not found.is_finite.any() and found.results["w_plus"].isfinite().all()


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"inputs": {"mask": torch.ones(2, 1)}}, r"expected mask \[3, ...\]"),
        ({"is_valid": torch.ones(2, dtype=torch.bool)}, r"expected is_valid \[3, ...\]"),
        (
            {"starts": {"pivot": torch.ones(3, 1)}},
            "got pivot: pass what is not optimised as inputs",
        ),
    ],
)
def test_what_does_not_fit_the_rows_is_refused(extra: dict[str, Any], expected: str) -> None:
    targets, _ = images(3)
    with pytest.raises(ValueError, match=expected):
        Engine(steps=1).run(PixelLoss(), targets, seeds=[1, 2, 3], batch_size=2, **extra)


def test_out_of_memory_with_one_row_is_an_error() -> None:
    targets, _ = images(2)
    with pytest.raises(torch.OutOfMemoryError):
        Engine(steps=3).run(PixelLoss(most_rows=0), targets, seeds=[1, 2], batch_size=2)


def test_bf16_keeps_variables_in_float32() -> None:
    targets, _ = images(2)
    outcome = run(targets, 2, precision="bfloat16")
    assert outcome.results["w_plus"].dtype == torch.float32
    assert outcome.is_finite.all()


def test_a_missing_seed_is_refused() -> None:
    targets, _ = images(2)
    with pytest.raises(ValueError, match="one seed per target"):
        Engine(steps=1).run(PixelLoss(), targets, seeds=[1], batch_size=2)


def test_the_callers_no_grad_does_not_matter() -> None:
    targets, _ = images(2)
    with torch.no_grad():
        inside = run(targets, 2)
    assert_same(inside, run(targets, 2))


def test_the_loop_does_not_wait_for_the_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: waiting cannot be seen on the CPU")
    targets, _ = images(2)
    generator = ToyGenerator(resolution=16).cuda()
    engine = Engine(steps=50, check_every=1000)
    objective = PixelLoss(generator=generator)
    slots = engine._open(objective, work_of(targets.cuda(), [1, 2]), [0, 1])
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            engine._step(objective, slots)
    finally:
        torch.cuda.set_sync_debug_mode("default")
