"""Every file of a collection is listed once and can be read, whatever its name."""

import errno
import gzip
import io
import os
import tarfile
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.resources.entries import Entry, deal, decode, encode
from invertory.resources.sources import ImageSource

NAMES = ["a.jpg", "b/c.png", "b.txt", "ü mlaut.jpg", "50%25.png", "a::b.jpg", "new\nline.jpg", "z"]


def content(name: str) -> bytes:
    return b"picture " + os.fsencode(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*NAMES, ".hidden.jpg", ".git/x.jpg", "b/.DS_Store"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))
    return tmp_path / "photos"


def tar_of(folder: Path, path: Path, mode: str = "w", top: str = ".") -> str:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname=top)
    return str(path)


def read_all(source: ImageSource) -> dict[str, bytes]:
    """Entries by file name, as on disk."""
    return {entry.uri: source.read(entry.uri) for entry in source.entries()}


def test_a_folder_lists_visible_files_sorted_with_size_and_time(folder: Path) -> None:
    entries = list(ImageSource(uri=str(folder)).entries())
    assert [entry.uri for entry in entries] == sorted(f"{folder}/{encode(name)}" for name in NAMES)
    assert all(entry.size_bytes and (entry.modified or "").endswith("+00:00") for entry in entries)


def test_bytes_are_read_by_uri(folder: Path) -> None:
    found = read_all(ImageSource(uri=str(folder)))
    assert found == {f"{folder}/{encode(name)}": content(name) for name in NAMES}


@pytest.mark.parametrize(
    ("mode", "ending"), [("w", ".tar"), ("w:gz", ".tar.gz"), ("w:xz", ".tar.xz")]
)
def test_a_tar_gives_the_same_as_its_folder(folder: Path, mode: str, ending: str) -> None:
    path = tar_of(folder, folder.parent / f"photos{ending}", mode)
    source = ImageSource(uri=path)
    assert read_all(source) == {f"{path}::{encode(name)}": content(name) for name in NAMES}
    uris = [entry.uri for entry in source.entries()]
    assert uris == sorted(uris)
    assert ImageSource(uri=path).read(uris[-1]) == source.read(uris[-1])


def test_remote_folders_and_containers(folder: Path) -> None:
    path = f"/{uuid.uuid4().hex}"
    root = f"memory:/{path}"
    memory = fsspec.filesystem("memory")
    for name in [*NAMES, ".hidden"]:
        memory.pipe_file(f"{path}/photos/{name}", content(name))
    tar_of(folder, folder.parent / "p.tar")
    memory.put_file(str(folder.parent / "p.tar"), f"{root}/p.tar")
    found = read_all(ImageSource(uri=f"{root}/photos"))
    assert sorted(found.values()) == sorted(map(content, NAMES))
    assert list(found) == sorted(found)
    assert sorted(read_all(ImageSource(uri=f"{root}/p.tar")).values()) == sorted(found.values())


def test_object_stores(bucket: dict[str, object]) -> None:
    root = f"s3://bucket/{uuid.uuid4().hex}"
    s3 = fsspec.filesystem("s3", **bucket)
    for name in ["b/ü 50%25.png", "a.jpg", ".hidden"]:
        s3.pipe_file(f"{root}/{name}", content(name))
    source = ImageSource(uri=root, storage_options=bucket)
    first, second = source.entries()
    assert (first.uri, first.size_bytes) == (f"{root}/a.jpg", 13)
    assert (first.modified or "").endswith("+00:00")
    assert source.read(second.uri) == content("b/ü 50%25.png")
    with pytest.raises(FileNotFoundError):
        source.read(f"{root}/none.jpg")
    nowhere = ImageSource(uri="s3://no-such-bucket/x", storage_options=bucket)
    with pytest.raises(FileNotFoundError):
        list(nowhere.entries())


def test_names_with_invalid_utf8_and_control_characters(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"tab\there.jpg", b"\xff\xfe.png"]
    for name in names:
        try:
            (tmp_path / os.fsdecode(name)).write_bytes(name)
        except OSError:
            pytest.skip("this filesystem refuses names that are no UTF-8")
    found = read_all(ImageSource(uri=str(tmp_path)))
    assert sorted(found.values()) == sorted(names)
    assert all(uri.isprintable() and uri.encode() for uri in found)
    path = tar_of(tmp_path, tmp_path.parent / "odd.tar")
    assert sorted(read_all(ImageSource(uri=path)).values()) == sorted(names)


@pytest.mark.parametrize(
    "name", ["a", "%41", "a::b", "a:::b", "\x00\x7f\x85", "é", "\udce9%", "%%", "::"]
)
def test_encoding_round_trips(name: str) -> None:
    assert decode(encode(name)) == name
    assert "::" not in encode(name)


def test_links_that_loop_or_dangle_neither_hang_nor_vanish(folder: Path) -> None:
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "me").symlink_to("me")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "o.jpg").write_bytes(b"o")
    (folder.parent / "outside" / "back").symlink_to(folder.parent / "outside")
    (folder / "link").symlink_to(folder.parent / "outside")
    source = ImageSource(uri=str(folder))
    found = {entry.uri.removeprefix(f"{folder}/"): entry for entry in source.entries()}
    assert set(found) == {*map(encode, NAMES), "b/me", "gone.jpg", "link/o.jpg"}
    assert found["gone.jpg"].size_bytes is None
    with pytest.raises(FileNotFoundError):
        source.read(found["gone.jpg"].uri)
    with pytest.raises(OSError, match="symbolic links"):
        source.read(found["b/me"].uri)


def test_pipes_and_folders_do_not_block(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    source = ImageSource(uri=str(folder))
    assert Entry(f"{folder}/pipe") in list(source.entries())
    with pytest.raises(OSError, match="regular file"):
        source.read(f"{folder}/pipe")
    with pytest.raises(IsADirectoryError):
        source.read(str(folder))


@pytest.mark.parametrize("kind", ["folder", "tar", "memory"])
def test_a_file_beyond_the_limit_is_not_read(folder: Path, kind: str) -> None:
    uri = f"{folder}/a.jpg"
    if kind == "tar":
        uri = tar_of(folder, folder.parent / "p.tar") + "::a.jpg"
    if kind == "memory":
        uri = f"memory://{uuid.uuid4().hex}/a.jpg"
        fsspec.filesystem("memory").pipe_file(uri, content("a.jpg"))
    with pytest.raises(OSError, match="at most 5 bytes") as caught:
        ImageSource(uri=str(folder), max_bytes=5).read(uri)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize(
    "make", [str, lambda f: tar_of(f, f.parent / "p.tar"), lambda f: "memory://"]
)
def test_a_vanished_file_is_not_found(folder: Path, make: Callable[[Path], str]) -> None:
    root = make(folder)
    with pytest.raises(FileNotFoundError):
        ImageSource(uri=root).read(f"{root}{'::' if root.endswith('.tar') else '/'}never.jpg")


def test_pattern_and_star(folder: Path) -> None:
    found = ImageSource(uri=str(folder), pattern="*.png").entries()
    assert [Path(entry.uri).name for entry in found] == ["50%2525.png", "c.png"]
    for number in (2, 1):
        tar_of(folder / "b", folder.parent / f"{number}.tar")
    stars = ImageSource(uri=f"{folder.parent}/*.tar")
    assert [stars.read(entry.uri) for entry in stars.entries()] == [content("b/c.png")] * 2


def test_a_list_of_files(folder: Path) -> None:
    missing = f"{folder}/none.jpg"
    source = ImageSource(
        uris=[f"{folder}/z", missing, f"{folder}/a.jpg", f"file://{folder}/50%25.png"]
    )
    entries = list(source.entries())
    assert [entry.size_bytes for entry in entries] == [13, None, 9, 17]
    assert source.read(entries[-1].uri) == content("50%25.png") or entries[-1].uri == missing


def test_a_single_file_is_a_collection(folder: Path) -> None:
    assert [e.uri for e in ImageSource(uri=f"{folder}/a.jpg").entries()] == [f"{folder}/a.jpg"]


def test_an_empty_place_and_an_empty_address(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a folder or a file of images"):
        list(ImageSource(uri=str(tmp_path / "none")).entries())
    with pytest.raises(ValueError, match="either uri or uris"):
        list(ImageSource().entries())


def parquet(path: Path, kind: str) -> str:
    pictures = [b"0", b"11", None, b"3333"]
    if kind == "struct":
        pictures = [p and {"bytes": p, "path": "x.png"} for p in pictures]  # type: ignore[misc]
    table = pa.table({"image": pictures, "id": ["d", "c", "b", "a"], "label": [1, 2, 3, 4]})
    pq.write_table(table, path, row_group_size=3)
    return str(path)


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_rows_are_images(tmp_path: Path, kind: str) -> None:
    path = parquet(tmp_path / "p.parquet", kind)
    source = ImageSource(uri=path)
    uris = [entry.uri for entry in source.entries()]
    assert uris == [f"{path}::{row:09d}" for row in range(4)]
    assert [source.read(uris[row]) for row in (3, 0, 1)] == [b"3333", b"0", b"11"]
    with pytest.raises(OSError, match="is null in this row"):
        source.read(uris[2])
    with pytest.raises(FileNotFoundError):
        source.read(f"{path}::000000004")


def test_parquet_ids_name_the_rows(tmp_path: Path) -> None:
    path = parquet(tmp_path / "p.parquet", "struct")
    source = ImageSource(uri=path, id_column="id", column="image")
    assert [entry.uri[-1] for entry in source.entries()] == ["d", "c", "b", "a"]
    assert source.read(f"{path}::a") == b"3333"
    with pytest.raises(ValueError, match="expected column 'name'"):
        list(ImageSource(uri=path, id_column="name").entries())


def test_parquet_without_a_single_image_column_needs_its_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match="name it as `column`"):
        list(ImageSource(uri=str(tmp_path / "p.parquet")).entries())


def test_a_truncated_tar_is_an_error(folder: Path, tmp_path: Path) -> None:
    path = Path(tar_of(folder, tmp_path / "p.tar"))
    path.write_bytes(path.read_bytes()[:2600])
    with pytest.raises(OSError, match=r"complete tar|the tar is truncated"):
        read_all(ImageSource(uri=str(path)))


def test_tar_members_that_are_not_files_are_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        real = tarfile.TarInfo("real.jpg")
        real.size = 3
        tar.addfile(real, io.BytesIO(b"abc"))
    assert list(read_all(ImageSource(uri=str(tmp_path / "p.tar"))).values()) == [b"abc"]


def test_the_last_member_of_a_name_wins(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        for data in (b"first", b"other", b"last"):
            member = tarfile.TarInfo("b.jpg" if data == b"other" else "./a.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert list(read_all(ImageSource(uri=str(tmp_path / "p.tar"))).values()) == [b"last", b"other"]


def test_a_tar_needs_little_memory_beyond_its_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        for i in range(2000):
            tar.addfile(tarfile.TarInfo(f"{i:06d}.png"))
    source = ImageSource(uri=str(tmp_path / "p.tar"))
    tracemalloc.start()
    try:
        assert len(list(source.entries())) == 2000
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / 2000 < 150  # bytes; a TarInfo and its names take a kilobyte


def test_only_a_few_containers_stay_open_and_all_can_be_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invertory.resources.sources.MAX_OPEN", 2)
    for i in range(6):
        tar_of(folder, tmp_path / f"{i}.tar")
    source = ImageSource(uri=str(tmp_path / "*.tar"))
    entries = list(source.entries())
    assert len(entries) == 6 * len(NAMES)
    opened = {os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()}
    assert len([path for path in opened if path.startswith(str(tmp_path))]) <= 2
    assert {source.read(entry.uri) for entry in reversed(entries)} == set(map(content, NAMES))


def test_a_gzip_that_is_not_a_tar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.tar.gz").write_bytes(gzip.compress(b"x" * 2000))
    with pytest.raises(OSError, match="expected a complete tar"):
        list(ImageSource(uri=str(tmp_path / "p.tar.gz")).entries())


ENTRIES = [Entry(f"u{i}", i, "t") for i in range(5)]


def test_dealing_fills_shards_in_order() -> None:
    dealt = list(deal(ENTRIES, set(), 2, 7))
    assert [(name, len(entries)) for name, entries in dealt] == [
        ("shard-000007", 2), ("shard-000008", 2), ("shard-000009", 1),
    ]  # fmt: skip
    assert [entry for _, entries in dealt for entry in entries] == ENTRIES


def test_known_entries_are_skipped_and_changed_ones_are_new() -> None:
    changed = Entry("u1", 1, "later")
    known = set(ENTRIES[:3])
    assert list(deal(ENTRIES[:3], known, 2, 2)) == []
    assert list(deal([ENTRIES[0], changed, ENTRIES[4]], known, 2, 2)) == [
        ("shard-000002", [changed, ENTRIES[4]])
    ]


def test_shard_size_is_positive() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        list(deal(ENTRIES, set(), 0))
