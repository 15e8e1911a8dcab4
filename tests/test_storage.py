"""Files on disk and in an object store: whole or not there, whatever happens to their writer."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from s3fs import S3FileSystem

import stores
from wayfare import storage
from wayfare.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wayfare.settings import Settings


def _names(url: str) -> list[str]:
    return sorted(file.rpartition("/")[2] for file in storage.files(url))


def _fill(url: str, text: str) -> None:
    fs, path = storage.filesystem(url)
    fs.pipe_file(path, text.encode())


def test_only_temporary_files_of_more_than_a_day_are_swept(anywhere: Settings) -> None:
    folder = f"{anywhere.storage}/a"
    for name, age_days in [("1.parquet.aa.tmp", 2), ("1.parquet.bb.tmp", 0.9), ("1.parquet", 2)]:
        stores.write(f"{folder}/{name}", b"x", age_days=age_days)
    assert storage.sweep(anywhere.storage) == 1
    assert _names(folder) == ["1.parquet", "1.parquet.bb.tmp"]


def test_an_object_store_tells_when_files_were_written_as_it_lists_them(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        stores.write(f"{s3}/listed/{n}.parquet", b"x", age_days=n)
    call, asked = S3FileSystem._call_s3, []

    async def asking(self: S3FileSystem, method: str, *given: object, **named: object) -> object:
        asked.append(method)
        return await call(self, method, *given, **named)

    monkeypatch.setattr(S3FileSystem, "_call_s3", asking)
    found = storage.files(f"{s3}/listed", ".parquet")
    now = dt.datetime.now(dt.UTC)
    assert [round((now - at) / dt.timedelta(days=1)) for at in found.values()] == [0, 1, 2]
    assert asked == ["list_objects_v2"]


def test_a_failed_write_leaves_the_old_file_and_no_other(anywhere: Settings) -> None:
    url = f"{anywhere.storage}/deep/file.txt"
    storage.write_atomic(url, lambda t: _fill(t, "one"))

    def fail(temporary: str) -> None:
        _fill(temporary, "two")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        storage.write_atomic(url, fail)
    assert _names(anywhere.storage) == ["file.txt"]
    assert storage.read_text(url) == "one"


def test_what_went_wrong_is_told_though_nothing_can_be_swept_up(tmp_path: Path) -> None:
    def fail(temporary: str) -> None:
        Path(temporary).mkdir()  # which is not removed as a file is
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        storage.write_atomic(f"{tmp_path}/file.txt", fail)


def test_what_another_process_writes_is_there_at_once(anywhere: Settings) -> None:
    folder = f"{anywhere.storage}/a"
    stores.write(f"{folder}/1.parquet", b"x")
    assert storage.children(folder) == [f"{folder}/1.parquet"]
    other, path = fsspec.core.url_to_fs(f"{folder}/2.parquet", skip_instance_cache=True)
    other.pipe_file(path, b"x")
    assert storage.exists(f"{folder}/2.parquet")
    assert storage.children(folder) == [f"{folder}/1.parquet", f"{folder}/2.parquet"]


def test_a_file_that_appears_meanwhile_may_be_left_as_it_is(anywhere: Settings) -> None:
    url = f"{anywhere.storage}/deep/file.txt"

    def slowly(temporary: str) -> None:
        storage.write_atomic(url, lambda t: _fill(t, "the other's"))
        _fill(temporary, "ours")

    storage.write_atomic(url, slowly, replace=False)
    assert _names(anywhere.storage) == ["file.txt"]
    assert storage.read_text(url) == "the other's"


_WRITE = """
import sys, time
from wayfare import storage

def fill(temporary):
    fs, path = storage.filesystem(temporary)
    with fs.open(path, "wb", block_size=5 * 2**20) as file:
        file.write(b"x" * 6 * 2**20)
        print("half", flush=True)
        time.sleep(60)

storage.write_atomic(sys.argv[1], fill)
"""


def test_a_killed_writer_leaves_no_half_file(anywhere: Settings) -> None:
    url = f"{anywhere.storage}/deep/file.txt"
    with subprocess.Popen([sys.executable, "-c", _WRITE, url], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert [name for name in _names(anywhere.storage) if not name.endswith(".tmp")] == []
    storage.write_atomic(url, lambda t: _fill(t, "whole"))
    assert storage.read_text(url) == "whole"


def test_a_file_that_is_not_there_is_told_from_a_storage_that_does_not_answer(anywhere: Settings) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_text(f"{anywhere.storage}/nothing.txt")
    with pytest.raises(ServiceError, match="nosuch"):
        storage.read_text("nosuch://bucket/nothing.txt")


def _write(url: str) -> None:
    storage.write_atomic(url, lambda t: _fill(t, "one"))


@pytest.mark.parametrize("ask", [storage.exists, storage.files, storage.children, storage.remove, _write])
def test_what_a_storage_says_is_told_as_a_sentence(ask: Callable[[str], object]) -> None:
    with pytest.raises(ServiceError, match="failed at nosuch://bucket/a/b: "):
        ask("nosuch://bucket/a/b")


def test_a_storage_that_cannot_be_is_told_as_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="Not a directory"):
        _write(f"{tmp_path}/file/folder/b")


def test_a_prefix_that_is_a_pattern_is_refused() -> None:
    for prefix in ("a[1]", "a?b", "a*"):
        with pytest.raises(ConfigurationError, match="must not contain"):
            storage.exists(f"s3://wayfare/{prefix}/snapshots")
