"""Each training as an asset `models/<name>`: its networks, their quality, a sheet of samples."""

# No `from __future__ import annotations` here: Dagster reads the annotations of an asset.
import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from PIL import Image

from invertory.pipelines.digests import digest
from invertory.pipelines.gallery.thumbnails import data_uri, jpeg
from invertory.pipelines.networks.resolve import WeightsError
from invertory.pipelines.processes.abandoned import tag_served
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.retry import Retry
from invertory.pipelines.training.cards import headline
from invertory.pipelines.training.runs import Trained, run_training
from invertory.pipelines.training.training import TrainingSpec, maker_of
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.redaction import hiding_secrets, redacted

GROUP = "models"
SHEET_BYTES = 100_000
PERMANENT = (ValueError, TypeError, LookupError, AttributeError, ImportError, WeightsError)


def key_path(training: str) -> list[str]:
    """["models", "portraits_generator"]"""
    return [GROUP, training]


def training_assets(specs: Sequence[TrainingSpec]) -> list[dg.AssetsDefinition]:
    """The trainings as assets; one that uses another's network depends on it."""
    return [training_asset(spec, specs) for spec in specs]


def training_asset(spec: TrainingSpec, others: Sequence[TrainingSpec]) -> dg.AssetsDefinition:
    """The training as an asset on a leased device; an interrupted run resumes."""

    @dg.asset(
        key=key_path(spec.name),
        group_name=GROUP,
        description=spec.description or f"Trained by {spec.trainer}.",
        deps=deps_of(spec.uses.values(), others),
        kinds={"pytorch"},
        owners=[spec.owner],
        pool="gpu",
        code_version=digest(spec.model_dump(mode="json", exclude={"resources"}))[:8],
        retry_policy=Retry(spec.resources.retries),
        metadata={"trainer": spec.trainer, "gives": ", ".join(spec.named.values())},
        tags={"invertory/stage": "training"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        models: ModelStore,
        reporting: dg.ResourceParam[Reporting],
        gpu: Gpu,
    ) -> dg.MaterializeResult[None]:
        tag_served(context.instance, context.run)
        with hiding_secrets(), _once():
            trained = run_training(spec, models, gpu, reporting.to(context))
        return dg.MaterializeResult(metadata=describe(trained), data_version=version_of(trained))

    return asset


def record(trained: Trained, instance: dg.DagsterInstance) -> None:
    """Report a training from the command line to Dagster, so that the graph shows it."""
    event = dg.AssetMaterialization(
        asset_key=key_path(trained.training),
        metadata=describe(trained),
        tags={"dagster/data_version": version_of(trained).value},
    )
    instance.report_runless_asset_event(event)


def deps_of(uris: Any, specs: Sequence[TrainingSpec]) -> list[dg.AssetKey]:
    """The assets that make the networks at these addresses."""
    makers = [maker_of(uri, specs) for uri in uris]
    names = dict.fromkeys(maker.name for maker in makers if maker)
    return [dg.AssetKey(key_path(name)) for name in names]


def version_of(trained: Trained) -> dg.DataVersion:
    """A digest of the weights."""
    return dg.DataVersion(digest(sorted(card["sha256"] for card in trained.cards.values())))


def describe(trained: Trained) -> dict[str, Any]:
    """Metadata: quality, images seen, digests and licences of the networks, and a sheet."""
    first = next(iter(trained.cards.values()))
    metadata: dict[str, Any] = {
        **{name: float(value) for name, value in headline(first["quality"]).items()},
        "quality": dg.MetadataValue.json(first["quality"]),
        "images_seen": first["images_seen"],
        "training_s": first["seconds"],
        "reused": trained.is_up_to_date,
        "networks": dg.MetadataValue.table(
            [
                dg.TableRecord({k: str(card[k]) for k in ("name", "kind", "sha256", "licence")})
                for card in trained.cards.values()
            ]
        ),
        "command": first["command"],
        "dagster/uri": str(trained.networks_folder),
        **trained.peaks,
    }
    if trained.sheet:
        sheet = sheet_uri(trained.sheet.read_bytes())
        text = f"Real images above, generated ones below.\n\n![sheet]({sheet})"
        metadata["sheet"] = dg.MetadataValue.md(text)
    return metadata


def sheet_uri(data: bytes) -> str:
    """An image as a data URI of at most `SHEET_BYTES`."""
    image: Image.Image = Image.open(io.BytesIO(data))
    while len(data := jpeg(image, 85)) > SHEET_BYTES:
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5))
    return data_uri(data)


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """Errors that a second try would meet again fail for good; others follow the retry policy."""
    from invertory.training.loop.train import NonFiniteError

    try:
        yield
    except (*PERMANENT, NonFiniteError) as error:
        text = redacted(f"{type(error).__name__}: {error}")
        raise dg.Failure(text, allow_retries=False) from error
