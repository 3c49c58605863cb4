"""The metrics of inversions, their formatting, and the table that compares methods."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from invertory.pipelines.gallery.shots import Summary


class Metric(NamedTuple):
    """How a metric of an inversion is displayed."""

    title: str
    short: str
    unit: str
    sign: int  # 1 if higher is better, -1 if lower is
    decimals: int

    def written(self, value: float) -> str:
        return f"{value:.{self.decimals}f}{self.unit}"


METRICS: Final = {  # by column name
    "psnr_db": Metric("PSNR", "PSNR", " dB", 1, 1),
    "ssim": Metric("SSIM", "SSIM", "", 1, 3),
    "perceptual": Metric("Perceptual", "perc.", "", -1, 3),
    "mse": Metric("MSE", "MSE", "", -1, 4),
}
ROW_METRICS: Final = {name: METRICS[name] for name in ("psnr_db", "ssim", "perceptual")}


class Cell(NamedTuple):
    """A method's mean and standard deviation; `is_best` marks the best of several methods."""

    mean: str
    deviation: str = ""
    is_best: bool = False


class Line(NamedTuple):
    """The row of a method in the table."""

    method: str
    cells: Sequence[Cell]
    num_crops: int


class Comparison(NamedTuple):
    """The table of methods; it has no columns if nothing was measured."""

    columns: Sequence[str]
    lines: Sequence[Line]


def compare_methods(summary: Summary) -> Comparison:
    """Compute the mean and standard deviation of each metric over all crops, for each method."""
    methods = summary.methods
    names = [name for name in METRICS if any(values.get(name) for values in methods.values())]
    best = {name: _best_mean(name, methods) for name in names}
    return Comparison(
        [_title(name, summary.perceptual) for name in names],
        [
            Line(
                method,
                [_cell(name, values.get(name, ()), best[name]) for name in names],
                max((len(v) for v in values.values()), default=0),
            )
            for method, values in methods.items()
        ],
    )


def _best_mean(name: str, methods: Mapping[str, Mapping[str, Sequence[float]]]) -> float | None:
    """Return the best mean if there are several to compare."""
    means = [statistics.fmean(values[name]) for values in methods.values() if values.get(name)]
    sign = METRICS[name].sign
    return sign * max(sign * mean for mean in means) if len(means) > 1 else None


def _title(name: str, perceptual: str) -> str:
    title = perceptual if name == "perceptual" else METRICS[name].title
    return f"{title} {'↑' if METRICS[name].sign > 0 else '↓'}"


def _cell(name: str, values: Sequence[float], best: float | None) -> Cell:
    if not values:
        return Cell("-")
    mean, metric = statistics.fmean(values), METRICS[name]
    deviation = f"{statistics.stdev(values):.{metric.decimals}f}" if len(values) > 1 else "-"
    return Cell(f"{mean:.{metric.decimals}f}", f"{deviation}{metric.unit}", mean == best)
