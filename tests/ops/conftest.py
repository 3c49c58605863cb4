"""Fixtures: the toy generator with a scorer whose true scores are known."""

from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest
import torch

from invertory.boundaries import Boundary, project, unit
from invertory.generators.toy import ToyGenerator
from invertory.images import Pixels, resize, to_tensor
from invertory.ops import schemas
from invertory.ops.fit import Fit, FitSpec, read_boundaries
from invertory.ops.render import Renderer, read_latents
from invertory.ops.sample import Sample, draws
from invertory.ops.scored import join_scores
from invertory.ops.streams import run
from invertory.scoring import BadScore, Scores

G = ToyGenerator(resolution=16, frequencies=2)  # w_dim 12, 4 rows
NAMES = ("smile", "old")


def plane(seed: int) -> torch.Tensor:
    return unit(torch.randn(1, G.w_dim, generator=torch.Generator().manual_seed(seed)))


PLANES = {"smile": plane(1), "old": plane(2)}
FORBIDDEN = plane(9)  # direction in which the scorer refuses images


class TruthScorer:
    """score = <normal, w - w_avg> of the latent behind the image."""

    names = NAMES

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        return [self._score(picture) for picture in pictures]

    def _score(self, picture: Pixels) -> Scores | BadScore:
        picture = resize(picture, G.resolution, G.resolution)
        w = G.invert_exactly(to_tensor(picture)) - G.w_avg
        if float(project(w, FORBIDDEN)) > 1.5:
            return BadScore("too far along the forbidden plane")
        return {name: float(project(w, normal)) for name, normal in PLANES.items()}


def make_renderer(**options: object) -> Renderer:
    known = {"size_px": G.resolution, "batch_size": 4, "device": torch.device("cpu")}
    return Renderer(generator=G, scorer=TruthScorer(), **(known | options))


@pytest.fixture(scope="session")
def toy() -> ToyGenerator:
    return G


@pytest.fixture(scope="session")
def renderer() -> Callable[..., Renderer]:
    """renderer(**options) => a `Renderer` of the toy generator at its native size."""
    return make_renderer


@pytest.fixture(scope="session")
def truth() -> dict[str, torch.Tensor]:
    """The normals of the scores; every score is 0 at w_avg. "forbidden": the scorer fails."""
    return PLANES | {"forbidden": FORBIDDEN}


@pytest.fixture(scope="session")
def samples() -> list[pa.RecordBatch]:
    return [
        found.rows for found in run(Sample(renderer=make_renderer()), draws(400), commit_rows=200)
    ]


@pytest.fixture(scope="session")
def latents() -> pa.RecordBatch:
    """30 W+ latents as inversion stores them, without unused columns."""
    w = G.w_avg + 0.4 * torch.randn(30, 4, 12, generator=torch.Generator().manual_seed(5))
    ids = [f"{i:02d}:0" for i in range(30)]
    schema = schemas.latents(4, 12, (), "pixels")
    fields = [schema.field(n) for n in ("crop_id", "image_id", "latent")]
    return pa.RecordBatch.from_arrays(
        [pa.array(ids), pa.array(ids), pa.array(w.tolist(), schemas.latent_type(4, 12))],
        schema=pa.schema(fields),
    )


@pytest.fixture(scope="session")
def attributes(latents: pa.RecordBatch) -> pa.RecordBatch:
    """True scores of all crops except the last."""
    w = read_latents(latents.column("latent")) - G.w_avg
    scores = [project(w, PLANES[name])[:-1].tolist() for name in NAMES]
    ids = latents.column("crop_id").to_pylist()[:-1]
    columns = [pa.array(ids)] * 2 + [pa.array(s, pa.float32()) for s in scores]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.attributes(NAMES))


@pytest.fixture(scope="session")
def boundaries(samples: list[pa.RecordBatch]) -> dict[str, Boundary]:
    """Boundaries fitted on the samples for both scores, with the plane at score 0."""
    specs = [FitSpec(attribute=name, ratio=0.4, threshold=0.0) for name in NAMES]
    verb = Fit(num_ws=4, w_dim=12, sources={"samples": lambda: iter(samples)})
    return read_boundaries([verb(specs).rows])


@pytest.fixture(scope="session")
def joined(latents: pa.RecordBatch, attributes: pa.RecordBatch) -> pa.RecordBatch:
    return next(join_scores([latents], [attributes]))
