"""What goes wrong outside ends in one line with address and remedy, and in its exit code."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from invertory.pipelines.cli import running
from invertory.pipelines.errors import explain as explaining
from invertory.pipelines.networks import resolve as networks
from invertory.resources import atomic


@pytest.fixture
def broken(place, draw_pictures, whole_recipe):
    """broken(*arguments, **parts): (exit code, the line on stderr) of a run of a changed recipe."""

    def run(*arguments: str, **parts: Any) -> tuple[int, str]:
        if not (place.folder / "pictures").exists():
            draw_pictures(place.folder / "pictures", 3)
        place.write(whole_recipe() | {"resources": {"device": "cpu", "retries": 0}} | parts)
        code, _, errors = place.invertory("run", "toy.yaml", *arguments)
        lines = [line for line in errors.splitlines() if line.startswith("invertory: ")]
        assert "Traceback" not in errors and len(lines) == 1, errors
        return code, lines[0]

    return run


def collection(uri: str) -> dict[str, Any]:
    return {"collection": {"uri": uri}}


def test_a_host_that_is_down(broken):
    code, line = broken(**collection("http://127.0.0.1:9/photos/more.tar"))
    assert code == 1 and "expected an answer from http://127.0.0.1:9/photos/more.tar" in line


def test_a_host_that_is_down_while_a_folder_is_listed(broken):
    code, line = broken(**collection("http://127.0.0.1:9/photos/*.png"))
    assert code == 1 and "expected an answer from http://127.0.0.1:9/photos/*.png" in line


def test_a_protocol_that_nobody_knows(broken):
    code, line = broken(**collection("nope://bucket/photos"))
    assert code == 1 and "'nope'" in line and "nope://bucket/photos" in line and "s3://" in line


def test_a_driver_that_is_not_installed(broken):
    code, line = broken(**collection("sftp://host/photos"))
    assert code == 1 and "pip install paramiko" in line


def test_a_package_that_there_is_not(broken, monkeypatch):
    monkeypatch.setenv("INVERTORY_OFFLINE", "1")
    code, line = broken(**collection("pypi://no-such-package==1.0#*.png"))
    assert code == 1 and "pypi://no-such-package==1.0" in line and "sha256" in line


def test_a_parquet_file_that_is_broken(broken, place):
    (place.folder / "images.parquet").write_bytes(b"PAR1 and no more")
    code, line = broken(**collection("images.parquet"))
    assert code == 1 and "images.parquet" in line and "Parquet" in line


def test_labels_in_another_encoding(broken, place, whole_recipe):
    (place.folder / "labels.csv").write_bytes("file,old\nM\u00fcller.png,1\n".encode("latin-1"))
    attributes = whole_recipe()["attributes"] | {"old": {"scorer": "labels", "uri": "labels.csv"}}
    code, line = broken(attributes=attributes)
    assert code == 1 and "UTF-8" in line and "iconv" in line and "labels.csv" in line


@pytest.mark.parametrize("where", ["entries", "images"])
def test_a_full_disk(broken, monkeypatch, where):
    def full(file: Any) -> None:
        if where in file.name:
            raise OSError(errno.ENOSPC, "No space left on device", file.name)

    monkeypatch.setattr(atomic, "_sync", full)
    code, line = broken()
    assert code == 1 and ("INVERTORY_STORE" in line or "No space left" in line)


def test_a_full_dagster_home(broken, monkeypatch):
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(running, "free_abandoned", full)
    code, line = broken()
    assert code == 1 and "DAGSTER_HOME" in line and "full disk" in line


@pytest.mark.parametrize(
    "text",
    [
        "storage: {sqlite: {bse_dir: x}}",
        "concurrency: [",
        "storage: {postgres: {postgres_url: 'postgresql://u:word1234@127.0.0.1:9/db'}}",
    ],
)
def test_an_instance_that_does_not_open(broken, place, text):
    (place.folder / "dagster").mkdir()
    (place.folder / "dagster/dagster.yaml").write_text(text)
    code, line = broken()
    assert code == 1 and "dagster.yaml" in line and "expected Dagster" in line
    assert "word1234" not in line


def test_a_dagster_home_that_is_a_file(broken, place):
    (place.folder / "dagster").write_text("")
    code, line = broken()
    assert code in (1, 3) and "dagster" in line


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/g.safetensors", "no/such/g.safetensors"])
def test_a_generator_that_is_unavailable_names_the_cause(broken, uri):
    code, line = broken(generator={"name": "stylegan2", "weights": uri})
    expected = "an answer from" if "://" in uri else "a file at"
    assert code == 4 and f"generator is unavailable: expected {expected} {uri}" in line


def test_a_fault_of_ours_says_so_and_how_to_see_more(broken, place, monkeypatch):
    def wrong(*_: Any, **__: Any) -> None:
        raise KeyError("crop_id")

    monkeypatch.setattr(running, "deal_new", wrong)
    code, line = broken()
    assert code == 1 and "fault of Invertory" in line and "--debug" in line and "KeyError" in line
    _, _, errors = place.invertory("run", "toy.yaml", "--debug")
    assert "Traceback" in errors and errors.splitlines()[-1].startswith("invertory: ")


def test_a_script_gets_an_object(broken, place, whole_recipe):
    place.write(whole_recipe("no/such/folder"))
    code, out, errors = place.invertory("run", "toy.yaml", "--json")
    told = json.loads(out)["error"]
    assert code == told["exit_code"] == 3
    assert "no/such/folder" in told["message"] and errors.count("\n") == 1


def test_an_interrupted_command_says_how_to_go_on(place, whole_recipe, monkeypatch):
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "deal_new", stop)
    (place.folder / "pictures").mkdir()
    place.write(whole_recipe())
    code, _, errors = place.invertory("run", "toy.yaml")
    assert code == 130 and "the same command" in errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pa.ArrowInvalid("Could not open Parquet input source"), "whole Parquet or CSV"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), "expected an answer"),
        (TimeoutError("timed out"), "expected an answer"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "access to /data"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/data"), "a file or folder at /data"),
        (ImportError("Install s3fs to access S3"), "pip install -e '.[s3]'"),
        (ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2"), "'.[postgres]'"),
        (UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid start byte"), "iconv"),
        (MemoryError("Unable to allocate 3 GiB"), "resources.batch_size"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "/store"),
            "expected room to write at /store",
        ),
        (AssertionError(), "fault of Invertory"),
    ],
)
def test_each_kind_of_error_has_its_line(error, words):
    line = explaining.explained(error)
    assert words in line and "\n" not in line


def test_an_address_is_named_where_the_error_does_not():
    error = networks.WeightsError("expected so, got so; do so")
    assert explaining.explained(error, "s3://a") == str(error)
    assert "s3://a" in explaining.explained(ConnectionError("refused"), "s3://a")


def test_a_line_is_no_longer_than_a_screen():
    assert len(explaining.explained(ValueError("x" * 10_000))) <= explaining.MAX_CHARS
    assert Path(explaining.__file__).is_file()
