"""What the command line prints and writes: any name, any encoding, any pipe; errors of the system."""

import json
import os
import subprocess
import sys

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import lookalike.cli as command_line
from lookalike.cli.options import keep_inputs
from lookalike.cli.printing import friendly_errors, one_line, print_json, print_table, visible
from lookalike.errors import LookalikeError

COMMAND = "from lookalike.cli import main; main()"
ROWS = (
    "from lookalike.cli import app, main\n"
    "from lookalike.cli.printing import echo, print_table\n"
    "import sys\n"
    "@app.command()\n"
    "def names():\n"
    "    print_table(('rank', 'path'), [('1', '写真.jpg'), ('2', 'caf\\udce9.jpg'), ('3', 'plain.jpg')])\n"
    "    echo('wrote 写真.csv')\n"
    "sys.argv = ['lookalike', 'names']\n"
    "main()\n"
)


def run(code, *arguments, stdout=subprocess.PIPE, **variables):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=stdout, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932", "latin-1", "utf-8"])
def test_no_name_is_lost_on_a_pipe_of_another_encoding(encoding):
    done = run(ROWS, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert "plain.jpg" in text
    assert ("写真.jpg" in text) == (encoding in ("utf-8", "cp932"))
    assert ("\\u5199\\u771f.jpg" in text) == (encoding not in ("utf-8", "cp932"))
    assert r"caf\udce9.jpg" in text


def test_output_that_can_not_be_written_is_said_and_is_no_success():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run(ROWS, stdout=full)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"No space left on device" in done.stderr


def test_a_closed_output_is_no_traceback():
    done = run("import sys; sys.stdout = None; sys.argv = ['lookalike', '--version']\n" + COMMAND)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_working_folder_that_is_gone_is_one_sentence(tmp_path):
    leave = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); sys.argv[1:] = ['doctor']\n"
    (tmp_path / "gone").mkdir()
    done = run(leave + COMMAND, tmp_path / "gone")
    assert done.returncode == 1
    assert done.stderr == b"lookalike: the working folder is gone; change to one that is there\n"


def test_a_closed_pipe_ends_without_a_word():
    reader, writer = os.pipe()
    os.close(reader)
    done = run(ROWS, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_names_do_not_steer_the_terminal(capsys):
    print_table(("path",), [("a\x1b[31m\x07\rb.jpg",), ("gnp\u202egpj.jpg",)])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\u202e" not in printed
    assert r"a\x1b[31m\x07\rb.jpg" in printed


@pytest.mark.parametrize("name", ["写真 0.jpg", "naïve.jpg", "👩‍🚀.png", "می‌خواهم.png", "a\u00a0b.jpg"])
def test_ordinary_names_are_printed_as_they_are(name):
    assert visible(name) == name


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            PermissionError(13, "Permission denied", "/photos/a"),
            "/photos/a: Permission denied; check the path",
        ),
        (
            OSError(24, "Too many open files"),
            r"Too many open files; raise the limit on open files \(ulimit -n\)",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/gone"),
            "/gone: No such file or directory; check",
        ),
        (
            RuntimeError("lance error: No space left on device (os error 28), x.rs"),
            "No space left on device; free",
        ),
        (MemoryError(), "not enough memory"),
    ],
)
def test_errors_of_the_system_are_one_sentence(error, sentence, capsys):
    with pytest.raises(typer.Exit) as caught, friendly_errors():
        raise error
    assert caught.value.exit_code == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert __import__("re").search(sentence, printed)


def test_a_bug_is_no_sentence():
    with pytest.raises(RuntimeError, match="not ours"), friendly_errors():
        raise RuntimeError("not ours")


def test_a_picture_that_can_not_be_drawn_leaves_the_old_file(tmp_path, pictures, monkeypatch):
    for name, picture in zip("ab", pictures, strict=False):
        picture.save(tmp_path / f"{name}.png")
    why = tmp_path / "why.png"
    why.write_bytes(b"old")

    def fail(self, path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    result = CliRunner().invoke(
        command_line.app, ["explain", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(why)]
    )
    assert result.exit_code == 1
    assert "why.png can't be written: No space left on device; free some space" in result.output
    assert why.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "why.png"]


def test_json_holds_names_that_the_terminal_can_not_show(capsys):
    from lookalike.cli.printing import print_json

    print_json({"path": "caf\udce9\x1b.jpg"})
    assert json.loads(capsys.readouterr().out) == {"path": "caf\udce9\x1b.jpg"}


def test_no_output_takes_the_place_of_an_input(tmp_path):
    picture, link = tmp_path / "a.png", tmp_path / "link.png"
    picture.write_bytes(b"a picture")
    link.symlink_to(picture)
    for output in (picture, link):
        with pytest.raises(LookalikeError, match="is read here and would be replaced"):
            keep_inputs(["id of a record", str(picture)], None, output)
    keep_inputs([str(picture)], tmp_path / "b.png", None)


def test_json_has_null_where_a_number_is_not_finite(capsys):
    print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (float("-inf"), "x")}})
    printed = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert printed == {"a": None, "b": [1.5, None], "c": {"d": [None, "x"]}}


def test_a_panic_of_rust_for_want_of_files_is_a_sentence(capsys):
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(typer.Exit) as ended, friendly_errors():
        raise panic('Os { code: 24, kind: Uncategorized, message: "Too many open files" }')
    assert ended.value.exit_code == 1
    assert "raise the limit on open files" in capsys.readouterr().err
    with pytest.raises(panic), friendly_errors():
        raise panic("index out of bounds")


def test_a_name_with_a_line_end_can_not_look_like_a_row():
    assert one_line("a\n1  1.0000  forged.jpg\x1b") == "a\\n1  1.0000  forged.jpg\\x1b"
