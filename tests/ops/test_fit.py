"""Boundaries fitted and directions imported, on the toy generator."""

import pyarrow as pa
import pytest
import torch

from invertory.boundaries import Boundary, project, unit
from invertory.editing.directions import Direction
from invertory.generators.toy import ToyGenerator
from invertory.ops import schemas
from invertory.ops.fit import Fit, FitSpec, ImportSpec, read_boundaries
from invertory.ops.scored import gather, join_scores
from invertory.ops.streams import Chunk

NAMES = ("smile", "old")


def fit(samples: list[pa.RecordBatch], *specs: FitSpec | ImportSpec, **options: object) -> Chunk:
    verb = Fit(num_ws=4, w_dim=12, sources={"samples": lambda: iter(samples)}, **options)
    return verb(specs)


def test_fitted_boundaries_point_along_the_truth(
    boundaries: dict[str, Boundary], toy: ToyGenerator, truth: dict[str, torch.Tensor]
) -> None:
    for name in NAMES:
        assert float((boundaries[name].normal * truth[name]).sum()) > 0.97
        at_mean = boundaries[name].distance(toy.w_avg[None, None])
        assert abs(float(at_mean)) < 0.15  # the scores are 0 there
        assert boundaries[name].accuracy_validation > 0.9


def test_order_of_rows_and_shards_does_not_matter(samples: list[pa.RecordBatch]) -> None:
    spec = FitSpec(attribute="smile", ratio=0.3)
    forth, back = fit(samples, spec), fit(samples[::-1], spec)
    assert forth.rows.equals(back.rows)


def test_held_rows_are_limited_and_sampled_by_hash(samples: list[pa.RecordBatch]) -> None:
    held = gather(iter(samples), is_mean=True, max_rows=50)
    pieces = (batch.slice(i, 10) for batch in samples for i in range(0, batch.num_rows, 10))
    again = gather(pieces, is_mean=True, max_rows=50)
    assert held.latents.shape == (50, 1, 12)
    assert torch.equal(held.latents, again.latents)
    assert torch.equal(held.scores["old"], again.scores["old"])


def test_conditional_boundary_is_orthogonal_to_its_condition(samples: list[pa.RecordBatch]) -> None:
    specs = [
        FitSpec(attribute="old", ratio=0.4),
        FitSpec(attribute="smile_not_old", score="smile", ratio=0.4, conditions=("old",)),
    ]
    done = fit(samples, *specs)
    found = read_boundaries([done.rows])
    assert abs(float((found["old"].normal * found["smile_not_old"].normal).sum())) < 1e-6
    assert done.rows.column("conditions").to_pylist() == [[], ["old"]]


def test_failed_fits_and_boundaries_conditioned_on_them_are_rejects(
    samples: list[pa.RecordBatch],
) -> None:
    done = fit(
        samples,
        FitSpec(attribute="smile", ratio=0.4),
        FitSpec(attribute="old", ratio=0.001),
        FitSpec(attribute="hat"),
        FitSpec(attribute="smile2", score="smile", ratio=0.4, conditions=("old",)),
    )
    assert done.rows.column("attribute").to_pylist() == ["smile"]
    assert sorted(done.rejects.column("row_id").to_pylist()) == ["hat", "old", "smile2"]
    assert "got ['old', 'smile']" in str(done.rejects.column("error").to_pylist())


def test_contradictory_specs_are_refused(samples: list[pa.RecordBatch]) -> None:
    spec = FitSpec(attribute="smile")
    with pytest.raises(ValueError, match="distinct attributes"):
        fit(samples, spec, spec)
    with pytest.raises(ValueError, match=r"got \['hat'\]"):
        fit(samples, FitSpec(attribute="smile", conditions=("hat",)))


def direction(rows: torch.Tensor, **known: float) -> Direction:
    return Direction(rows=unit(rows), scale=1.0, **known)


def test_imported_direction_without_a_plane(samples: list[pa.RecordBatch]) -> None:
    spec = ImportSpec(
        attribute="pose", direction=direction(torch.ones(1, 12), spread=2.0), uri="pose.pt"
    )
    done = fit(samples, spec)
    row = done.rows.to_pylist()[0]
    assert (row["kind"], row["offset"], row["spread"], row["source"]) == (
        "direction", None, 2.0, "pose.pt",
    )  # fmt: skip


def test_calibrated_import_has_plane_and_sign(
    samples: list[pa.RecordBatch], toy: ToyGenerator, truth: dict[str, torch.Tensor]
) -> None:
    spec = ImportSpec(
        attribute="smile",
        direction=direction(-truth["smile"]),
        uri="smile.pt",
        calibrate="samples",
        threshold=0.0,
    )
    done = fit(samples, spec)
    found = read_boundaries([done.rows])["smile"]
    torch.testing.assert_close(found.normal, truth["smile"], atol=1e-6, rtol=0)
    assert float(found.distance(toy.w_avg[None, None])) == pytest.approx(0, abs=0.1)
    assert done.rows.column("kind").to_pylist() == ["boundary"]


def test_one_wide_direction_widens_the_table(samples: list[pa.RecordBatch]) -> None:
    wide = torch.randn(4, 12, generator=torch.Generator().manual_seed(8))
    done = fit(
        samples,
        ImportSpec(attribute="pose", direction=direction(wide), uri="pose.pt"),
        FitSpec(attribute="smile", ratio=0.4),
    )
    assert done.rows.schema.equals(schemas.boundaries(4, 12))
    found = read_boundaries([done.rows])
    assert found["smile"].normal.shape == (1, 12) and found["pose"].normal.shape == (4, 12)


def test_wide_condition_of_a_boundary_in_w(samples: list[pa.RecordBatch]) -> None:
    wide = torch.randn(4, 12, generator=torch.Generator().manual_seed(8))
    done = fit(
        samples,
        ImportSpec(attribute="pose", direction=direction(wide), uri="pose.pt"),
        FitSpec(attribute="smile", ratio=0.4, conditions=("pose",), threshold=0.0),
    )
    assert done.rejects.num_rows == 0
    found = read_boundaries([done.rows])
    assert abs(float(project(found["smile"].normal[None], found["pose"].normal))) < 1e-6
    moved = torch.zeros(1, 4, 12) + found["smile"].normal
    shift = found["smile"].distance(moved) - found["smile"].distance(torch.zeros(1, 4, 12))
    assert float(shift) == pytest.approx(1.0, abs=1e-6)


def test_direction_of_another_generator_is_a_reject(samples: list[pa.RecordBatch]) -> None:
    spec = ImportSpec(attribute="age", direction=direction(torch.ones(1, 512)), uri="age.pt")
    done = fit(samples, spec)
    assert "belongs to another generator" in done.rejects.column("error")[0].as_py()


@pytest.mark.parametrize("rows", ["mean", "joint", "each"])
def test_boundaries_of_a_collection(
    latents: pa.RecordBatch, attributes: pa.RecordBatch, rows: str
) -> None:
    spec = FitSpec(attribute="old", source="collection", rows=rows, ratio=0.5, threshold=0.0)
    verb = Fit(
        num_ws=4, w_dim=12, sources={"collection": lambda: join_scores([latents], [attributes])}
    )
    done = verb([spec])
    assert done.rejects.num_rows == 0
    found = read_boundaries([done.rows])["old"]
    assert found.normal.shape == (1 if rows == "mean" else 4, 12)
    assert done.rows.column("source").to_pylist() == ["collection"]


def test_join_keeps_every_row(latents: pa.RecordBatch, attributes: pa.RecordBatch) -> None:
    parts = [latents.slice(0, 13), latents.slice(13)]
    joined = pa.Table.from_batches(join_scores(parts, [attributes]))
    assert joined.num_rows == 30
    assert joined.column("score_old").to_pylist()[-1] is None
    assert joined.column("score_old").to_pylist()[:-1] == attributes.column("score_old").to_pylist()
