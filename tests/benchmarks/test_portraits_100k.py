"""What the benchmark of 100,000 portraits says of its curve."""

import math

import pytest

from benchmarks.portraits_100k.curve import COLUMNS, STAGES
from benchmarks.portraits_100k.report import growth_bytes, table, thinned


def curve(rss_mb, images):
    lines = [dict.fromkeys(COLUMNS, 0.0) for _ in rss_mb]
    for i, (line, size, done) in enumerate(zip(lines, rss_mb, images, strict=True)):
        line |= {"elapsed_s": i + 1.0, "cpu_s": i + 1.0, "rss_mb": size, STAGES[-1]: done}
    return lines


def shards(peaks_mb):
    """A curve of shards of 100 images: little while they are listed, then up to the peak."""
    lines = curve([0.0] * (4 * len(peaks_mb)), [0.0] * (4 * len(peaks_mb)))
    for i, line in enumerate(lines):
        shard, step = divmod(i, 4)
        line["images"] = 100.0 * shard + min(50.0 * (step + 1), 100.0)
        line[STAGES[-1]] = 100.0 * shard + [0, 0, 50, 100][step]
        line["rss_mb"] = peaks_mb[shard] - [300, 200, 100, 0][step]
    return lines


def test_growth_is_that_of_the_peaks_of_later_shards():
    loads = [600.0, 700.0, 800.0, 850.0]
    assert growth_bytes(shards([*loads, *[900.0] * 4])) == pytest.approx(0, abs=1e-3)
    grows = [900.0 + i for i in range(4)]
    assert growth_bytes(shards([*loads, *grows])) == pytest.approx(2**20 / 100)


def test_few_shards_have_no_growth_to_tell():
    assert math.isnan(growth_bytes(shards([900.0, 910.0, 920.0, 930.0])))


def test_thinning_keeps_peaks_and_the_last_line():
    kept = thinned(curve([1.0, 9.0, 2.0, 3.0, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0]), 3)
    assert [line["rss_mb"] for line in kept] == [9.0, 3.0, 1.0]
    assert kept[-1][STAGES[-1]] == 4


def test_the_table_says_what_the_curve_shows():
    text = table(curve([900.0, 950.0, 950.0, 950.0], [0.0, 10.0, 20.0, 30.0]), "about")
    assert "30 images in 0.1 min" in text
    assert "largest resident size 950 MB" in text
