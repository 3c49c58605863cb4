"""Files that rot, get lost or are changed: named, counted, and made again with equal results."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

METHOD = "projector"
SLOW = pytest.mark.slow
BASE = "store/toy"


def flip(path: Path, bit: int) -> None:
    """One bit, and the file's time as it was."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip_page(path: Path) -> None:
    """A bit of the first column's data, which names the rows and which every stage reads."""
    column = pq.read_metadata(path).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    flip(path, (start + column.total_compressed_size // 2) * 8)


def tables_of(copy) -> list[Path]:
    return sorted(path for path in (copy.folder / BASE).rglob("*.parquet")
                  if not {"sets", "_corrupt"} & set(path.parts))  # fmt: skip


def verify(copy, *options: str) -> tuple[int, list[str]]:
    code, out, _ = copy.invertory("verify", "toy.yaml", *options)
    return code, out.splitlines()


def test_a_sound_store_verifies(copy):
    (told,) = copy.json("verify", "toy.yaml")
    assert told["corrupt"] == []
    assert told["num_files"] >= len(tables_of(copy))


def test_verify_names_a_rotten_file_and_repairs_it(copy, read_tables):
    before = read_tables(copy.store)
    path = copy.folder / BASE / f"latents/{METHOD}/shard-000001.parquet"
    flip_page(path)
    code, lines = verify(copy)
    assert code == 1
    assert "latents/projector/shard-000001.parquet" in lines[0]
    assert "invertory verify toy --repair && invertory run toy" in lines[0]
    assert verify(copy, "--repair")[0] == 0
    assert copy.run()["num_computed"] > 0
    assert verify(copy)[0] == 0
    assert read_tables(copy.store) == before


def test_verify_names_a_table_file_that_is_gone(copy):
    path = copy.folder / BASE / f"latents/{METHOD}/shard-000001.parquet"
    path.unlink()
    code, lines = verify(copy)
    assert code == 1
    assert f"latents/{METHOD}/shard-000001.parquet: it is missing; `invertory run" in lines[0]
    assert copy.run()["num_computed"] > 0
    assert verify(copy)[0] == 0


@pytest.mark.parametrize("table", [
    f"latents/{METHOD}",
    *(pytest.param(name, marks=SLOW) for name in (
        "images", "aligned", "attributes", f"boundaries/{METHOD}", f"augmentation/{METHOD}")),
])  # fmt: skip
def test_a_run_that_reads_a_rotten_table_computes_it_again(copy, table, read_tables):
    before = read_tables(copy.store)
    (rotten, *_) = sorted((copy.folder / BASE / table).glob("*.parquet"))
    flip_page(rotten)
    for name in ("aligned", "attributes", "latents", "boundaries", "edits", "augmentation",
                 "exports"):  # fmt: skip
        if name != table.split("/")[0]:
            shutil.rmtree(copy.folder / BASE / name)
    told = copy.run()
    assert told["failures"] == []
    assert str(rotten.relative_to(copy.folder)) in " ".join(told["corrupt"])
    assert told["status"]["corrupt"] == []
    assert read_tables(copy.store) == before
    assert verify(copy)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_bit_goes_unnoticed(copy, seed):
    draw = random.Random(seed)
    sets = [p for p in (copy.folder / BASE / "sets").rglob("*") if p.is_file()]
    for _ in range(30):
        path = draw.choice([*tables_of(copy), *sets])
        whole, times = path.read_bytes(), path.stat()
        flip(path, draw.randrange(len(whole) * 8))
        code, lines = verify(copy)
        assert code == 1
        assert path.name in lines[0]
        path.write_bytes(whole)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify(copy)[0] == 0


@pytest.mark.parametrize(("harm", "kind"), [
    ("changed", "parquet"),
    *(pytest.param(harm, kind, marks=SLOW) for harm in ("lost", "cut")
      for kind in ("webdataset", "imagefolder", "parquet")),
])  # fmt: skip
def test_a_harmed_set_is_not_up_to_date(copy, harm, kind):
    folder = copy.folder / BASE / f"sets/{METHOD}/{kind}"
    path = sorted(p for p in folder.resolve().rglob("*") if p.suffix != ".json" and p.is_file())[0]
    whole = path.read_bytes()
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] if harm == "cut" else whole[:-1] + b"#")
    status = copy.json("status", "toy.yaml")[0]
    assert path.name in " ".join(status["corrupt"])
    assert verify(copy)[0] == 1
    assert copy.run()["num_computed"] == 1
    assert path.read_bytes() == whole
    assert verify(copy)[0] == 0


@pytest.mark.parametrize("table", [
    f"latents/{METHOD}",
    *(pytest.param(name, marks=SLOW) for name in ("aligned", f"exports/{METHOD}")),
])  # fmt: skip
def test_lost_rejects_are_not_up_to_date(copy, table, read_tables):
    before = read_tables(copy.store)
    path = next((copy.folder / BASE / table / "_rejects").iterdir())
    path.unlink()
    assert path.name in " ".join(copy.json("status", "toy.yaml")[0]["corrupt"])
    assert not copy.run()["is_up_to_date"]
    assert read_tables(copy.store) == before


@pytest.mark.parametrize(
    "harm", ["lost", pytest.param("cut", marks=SLOW), pytest.param("rotten", marks=SLOW)]
)
def test_lost_entries_are_restored_and_nothing_is_numbered_anew(copy, harm, draw_pictures,
                                                                num_drawn):  # fmt: skip
    path = copy.folder / BASE / "entries/shard-000002.parquet"
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        flip_page(path)
    assert verify(copy)[0] == 1
    assert copy.run()["is_up_to_date"]
    assert verify(copy)[0] == 0
    draw_pictures(copy.folder / "pictures", 1, first=num_drawn)
    assert copy.run()["new_shards"] == ["shard-000003"]
    assert copy.store.num_rows("images", "shard-000003") == 1


def test_touched_files_whose_images_are_rotten_are_no_new_entries(copy):
    flip_page(copy.folder / BASE / "images/shard-000002.parquet")
    for path in (copy.folder / "pictures").glob("*.png"):
        path.touch()
    told = copy.run()
    assert (told["failures"], told["new_shards"]) == ([], [])
    assert verify(copy)[0] == 0


def test_entries_lost_with_their_images_are_named(copy):
    for table in ("entries", "images"):
        (copy.folder / BASE / table / "shard-000002.parquet").unlink()
    code, _, errors = copy.invertory("run", "toy.yaml")
    assert code == 1
    assert "entries/shard-000002.parquet" in errors
    assert "invertory verify RECIPE --repair" in errors
    assert verify(copy, "--repair")[0] == 0
    assert copy.run()["failures"] == []
    assert verify(copy)[0] == 0


def test_shards_of_duplicates_alone_stop_nothing(copy, whole_recipe):
    recipe = whole_recipe()
    fitted = {"fit": "collection", "ratio": 0.5, "solver": "linear"}
    copy.write(recipe | {"boundaries": {"red": fitted, "green": fitted}})
    for number in range(3):
        name = f"pictures/twin-{number}.png"
        shutil.copy(copy.folder / f"pictures/{number:03d}.png", copy.folder / name)
    told = copy.run()
    assert told["failures"] == []
    assert told["new_shards"] == ["shard-000003"]
    assert copy.store.num_rows(f"latents/{METHOD}", "shard-000003") == 0
    assert copy.invertory("gallery", "toy.yaml")[0] == 0
    assert copy.run()["is_up_to_date"]
    assert verify(copy)[0] == 0
