"""aeseg/files.py: writes are atomic, disk errors give one sentence, and unknown content is not overwritten."""

import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from aeseg import files
from aeseg.types import UserError


@pytest.fixture
def small_disk():
    """Limit files of this process to 1,000 bytes, as on a full disk (EFBIG instead of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_file_is_replaced_atomically_and_its_folder_created(tmp_path):
    path = tmp_path / "new" / "file"
    for text in ("first", "second"):
        files.write(str(path), text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file"]


def test_a_full_disk_keeps_only_the_old_file(tmp_path, small_disk):
    path = tmp_path / "file"
    files.write(str(path), "old")
    with pytest.raises(UserError, match=r"Cannot write to .*file: File too large\. Free some space or name another --workdir"):
        files.write(str(path), "x" * 2000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_in_the_writer_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write(str(path), "old")

    def fail():
        with files.replacing(str(path)) as temporary, open(temporary, "w") as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write(str(tmp_path / "link"), "new")
    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / "link").read_text() == "new"


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    (tmp_path / "folder").mkdir()
    for write in (lambda: files.write(str(tmp_path / "folder"), "x"), lambda: files.append(str(tmp_path / "folder"), b"x")):
        with pytest.raises(UserError, match=r"Cannot write to .*folder: Is a directory"):
            write()
    assert os.listdir(tmp_path) == ["folder"]


def test_appending_to_a_full_disk_leaves_no_part_of_a_line(tmp_path, small_disk):
    path = tmp_path / "file"
    files.append(str(path), b"x" * 900 + b"\n")
    with pytest.raises(UserError, match="Cannot write to"):
        files.append(str(path), b"y" * 200 + b"\n")
    assert path.read_bytes() == b"x" * 900 + b"\n"


def test_lines_that_threads_append_at_once_do_not_mix(tmp_path):
    path = str(tmp_path / "file")
    lines = [bytes([65 + number]) * 5000 + b"\n" for number in range(8)]
    threads = [threading.Thread(target=lambda line=line: [files.append(path, line) for _ in range(20)]) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(path, "rb") as file:
        assert sorted(file.readlines()) == sorted(lines * 20)


def test_moving_a_file_aside_overwrites_nothing(tmp_path):
    for number in range(3):
        (tmp_path / "x").write_text(str(number))
        files.move_aside(str(tmp_path / "x"))
    assert [(tmp_path / name).read_text() for name in ("x.damaged", "x.damaged-2", "x.damaged-3")] == ["0", "1", "2"]


def test_only_lines_with_objects_are_returned(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n\n3\n\0\0\0\n[1]\n\xff\xfe{\n{"b":\n' + b"[" * 100_000 + b'\n{"a": 2}')
    found, others = files.json_objects(str(path))
    assert found == [{"a": 1}, {"a": 2}]
    assert len(others) == 6
    assert files.json_objects(str(tmp_path / "none")) == ([], [])


def test_a_process_killed_during_a_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write(str(path), "old")
    script = f"""
import os, signal
from aeseg import files
with files.replacing({str(path)!r}) as temporary, open(temporary, "w") as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "5", "", "{", "\0\0", "[" * 100_000, '{"a":' * 100_000])
def test_a_json_file_without_an_object_is_an_error(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config.json (is not JSON|must hold a JSON object).*Restore the file"):
        files.read_json(str(path))
    path.write_text('{"a": 1}')
    assert files.read_json(str(path)) == {"a": 1}
