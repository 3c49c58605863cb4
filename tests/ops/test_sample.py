"""Samples and their scores."""

from collections.abc import Callable, Iterator

import pyarrow as pa
import torch

from invertory.generators.toy import ToyGenerator
from invertory.ops.render import Renderer, read_latents
from invertory.ops.sample import Sample, draws
from invertory.ops.streams import Chunk, run


def table(chunks: Iterator[Chunk] | list[Chunk]) -> pa.Table:
    return pa.Table.from_batches([found.rows for found in chunks])


def test_a_longer_list_of_draws_begins_with_a_shorter_one() -> None:
    long, short = (pa.Table.from_batches(draws(n, batch_rows=7)) for n in (20, 9))
    assert long.slice(0, 9).equals(short)
    assert len(set(long.column("seed").to_pylist())) == 20


def test_every_draw_is_a_row_or_a_reject(renderer: Callable[..., Renderer]) -> None:
    done = Sample(renderer=renderer())(next(draws(100)))
    assert done.rows.schema.equals(Sample(renderer=renderer()).schema)
    assert done.rows.num_rows + done.rejects.num_rows == done.num_inputs == 100
    assert set(done.rejects.column("status").to_pylist()) == {"not_scored"}
    assert set(done.rejects.column("row_id").to_pylist()).isdisjoint(
        done.rows.column("sample_id").to_pylist()
    )


def test_sample_is_the_mapping_of_its_seed(
    renderer: Callable[..., Renderer], toy: ToyGenerator
) -> None:
    row = Sample(renderer=renderer())(next(draws(1))).rows
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(row["seed"][0].as_py()))
    assert torch.equal(read_latents(row.column("w"))[:, 0], toy.mapping(z))


def test_chunks_do_not_change_the_samples(renderer: Callable[..., Renderer]) -> None:
    whole, parts = (
        table(run(Sample(renderer=renderer()), draws(24), commit_rows=n)) for n in (24, 5)
    )
    assert whole.combine_chunks().equals(parts.combine_chunks())


def test_truncation_pulls_towards_the_mean(
    renderer: Callable[..., Renderer], toy: ToyGenerator
) -> None:
    found = [
        {row["sample_id"]: torch.tensor(row["w"][0]) for row in done.rows.to_pylist()}
        for done in (
            Sample(renderer=renderer(), truncation_psi=psi)(next(draws(8))) for psi in (1, 0.5, 0)
        )
    ]
    for name in found[0].keys() & found[1].keys():
        full, half, none = (w[name] for w in found)
        torch.testing.assert_close(half - toy.w_avg, (full - toy.w_avg) / 2)
        assert torch.equal(none, toy.w_avg)


def test_non_finite_images_are_rejects(renderer: Callable[..., Renderer]) -> None:
    w = torch.full((1, 1, 12), float("nan"))
    (found,) = renderer().render(w)
    assert found.status == "non_finite"


def test_images_are_resized_to_the_requested_size(
    renderer: Callable[..., Renderer], toy: ToyGenerator
) -> None:
    found = [f for f in renderer(size_px=8).render(toy.w_avg.expand(3, 1, -1))]
    assert all(f.pixels.shape == (8, 8, 3) for f in found)
