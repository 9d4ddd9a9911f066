"""``mistral-db-manage archive`` on files that engines have written (decision 0044)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from house import House

from mistral.cmd.db_manage import main
from mistral.engine.archive import Archive

TEXT = """
version: '2.0'
good:
  tags: [nightly]
  output: {said: '[done]'}
  tasks: {t: {workflow: below}}
below: {tasks: {t: {action: std.test_dict size=1}}}
bad:
  tasks:
    fine: {action: std.test_dict size=1, on-success: breaks}
    breaks: {workflow: deep}
deep: {tasks: {t: {action: std.fail}}}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Two executions of 2020-01-02, and one of the day after."""
    directory = tmp_path / "archive"
    directory.mkdir()
    house = House(tmp_path)
    house.upload(TEXT)
    archive = Archive(house.database, directory)
    for name, later in (("good", 0.0), ("bad", 86400.0), ("good", 0.0)):
        archive.write(house.run(name)["id"])
        house.advance(later)
    house.close()
    return directory


@pytest.fixture
def manage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """With a configuration file that says where, and a database that is not there."""
    file = tmp_path / "mistral.conf"
    place = tmp_path / "archive"
    file.write_text(
        "[database]\nconnection = postgresql+psycopg://nobody@127.0.0.1:1/none\n"
        f"[execution_expiration_policy]\narchive_directory = {place}\n"
    )

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--config-file", str(file), "archive", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def listed(manage: Run, *words: str) -> list[str]:
    code, out, err = manage("list", *words, "-o", "json")
    assert (code, err) == (0, "")
    return [row["workflow_name"] for row in json.loads(out)]


def file_of(kept: Path, name: str) -> Path:
    for path in sorted(kept.glob("*/*.ndjson")):
        if json.loads(path.read_text().splitlines()[1])["workflow_name"] == name:
            return path
    raise AssertionError(name)


# -- What is there ------------------------------------------------------------


def test_a_list_of_what_is_kept(manage: Run, kept: Path) -> None:
    code, out, _ = manage("list")
    assert code == 0
    assert len(out.splitlines()) == 4 and "workflow name" in out
    assert sorted(listed(manage)) == ["bad", "good", "good"]
    [row] = json.loads(manage("list", "--workflow", "bad", "-o", "json")[1])
    assert row["file"] == str(file_of(kept, "bad"))
    assert row["id"] == Path(row["file"]).stem


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--workflow", "good"), ["good", "good"]),
        (("--state", "error"), ["bad"]),
        (("--state", "SUCCESS", "--until", "2020-01-02"), ["good"]),
        (("--since", "2020-01-03"), ["good"]),
        (("--until", "2020-01-01"), []),
        (("--tag", "nightly"), ["good", "good"]),
        (("--tag", "night"), []),
        (("--project", "nobody's"), []),
    ],
)
def test_filters(manage: Run, kept: Path, words: tuple[str, ...], names: list) -> None:
    assert listed(manage, *words) == names


def test_one_execution_as_a_tree(manage: Run, kept: Path) -> None:
    path = file_of(kept, "bad")
    code, out, err = manage("show", path.stem)
    assert (code, err) == (0, "")
    for name in ("bad", "fine", "breaks", "deep", "ERROR"):
        assert name in out
    assert manage("show", str(path))[1] == out, "a file may be named, too"
    root = json.loads(manage("show", path.stem, "-o", "json")[1])
    assert (root["workflow_name"], root["state"]) == ("bad", "ERROR")
    fine, breaks = root["task_executions"]
    assert [a["name"] for a in fine["action_executions"]] == ["std.test_dict"]
    [deep] = breaks["workflow_executions"]
    [task] = deep["task_executions"]
    assert [a["state"] for a in task["action_executions"]] == ["ERROR"]
    good = manage("show", file_of(kept, "good").stem)[1]
    assert '"said": "[done]"' in good


def test_what_failed_alone(manage: Run, kept: Path) -> None:
    bad = file_of(kept, "bad").stem
    root = json.loads(manage("show", bad, "--errors-only", "-o", "json")[1])
    [breaks] = root["task_executions"]
    assert breaks["name"] == "breaks"
    assert breaks["workflow_executions"][0]["task_executions"][0]["state"] == "ERROR"
    good = file_of(kept, "good").stem
    root = json.loads(manage("show", good, "--errors-only", "-o", "json")[1])
    assert root["task_executions"] == []


def test_what_is_not_there(manage: Run, kept: Path) -> None:
    code, out, err = manage("show", "absent")
    assert (code, out) == (1, "")
    assert "No execution 'absent'" in err and "Traceback" not in err
    outside = kept.parent / "outside.ndjson"
    outside.write_bytes(file_of(kept, "good").read_bytes())
    code, _, err = manage("show", "../outside")
    assert code == 1 and "No execution" in err


def test_an_id_that_was_used_again(manage: Run, kept: Path) -> None:
    path = file_of(kept, "bad")
    other = kept / "2021-01-01"
    other.mkdir()
    (other / path.name).write_bytes(path.read_bytes())
    code, _, err = manage("show", path.stem)
    assert code == 1 and str(path) in err and str(other / path.name) in err
    assert manage("show", str(path))[0] == 0


def test_an_id_that_begins_with_a_dot(manage: Run, kept: Path) -> None:
    path = file_of(kept, "bad")
    path.rename(path.with_name("_.odd.ndjson"))
    assert manage("show", ".odd")[0] == 0


# -- Where, and what else lies there ------------------------------------------


def test_a_directory_may_be_named(manage: Run, kept: Path, tmp_path: Path) -> None:
    other = kept.rename(tmp_path / "elsewhere")
    code, _, err = manage("list")
    assert code == 1 and f"Cannot read {kept}: No such file or directory" in err
    assert len(listed(manage, "--directory", str(other))) == 3


def test_where_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "empty.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/x.sqlite\n")
    assert main(["--config-file", str(file), "archive", "list"]) == 1
    assert "archive_directory is not set" in capsys.readouterr().err


def test_a_state_that_there_is_not(manage: Run, kept: Path) -> None:
    code, out, err = manage("list", "--state", "BOGUS")
    assert (code, out) == (1, "")
    assert "--state: expected one of SUCCESS, ERROR, CANCELLED, found 'BOGUS'" in err
    assert listed(manage, "--state", "cancelled") == []


def test_what_is_no_archive_is_passed_over(manage: Run, kept: Path) -> None:
    day = next(kept.iterdir())
    (day / ".x.ndjson.7.part").write_text("half a line")
    (day / "notes.txt").write_text("mine")
    (kept / "lost+found").mkdir()
    assert len(listed(manage)) == 3


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_days_that_are_none(manage: Run, kept: Path, option: str) -> None:
    code, _, err = manage("list", option, "yesterday")
    assert code == 1
    assert f"{option}: expected YYYY-MM-DD, found 'yesterday'" in err


# -- What is damaged ----------------------------------------------------------


HEAD = '{"kind":"archive","format":"mistral-execution-archive","version":1}\n'
ROOT = '{"kind":"execution","id":"r","state":"ERROR","workflow_name":"w"}\n'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "line 1: there is nothing"),
        ("{}\n", "line 1: expected the head of a file of mistral-execution-archive"),
        (HEAD.replace("1}", "2}"), "line 1: the form has version 2, this release"),
        (HEAD, "line 2: expected the root execution, found"),
        (HEAD + ROOT[:30], "line 2: the file ends in the midst of it"),
        (HEAD + ROOT + "{'a': 1}\n", "line 3: this is not JSON: "),
        (HEAD + ROOT + "\n", "line 3: this is not JSON: "),
        (HEAD + ROOT + "[1]\n", "line 3: expected a JSON object"),
        (HEAD + ROOT + '{"kind":"x"}\n', "line 3: expected an execution, a task or"),
        (HEAD + ROOT + '{"kind":"task"}\n', "line 3: expected 'id' and 'state'"),
        (HEAD + ROOT + "[" * 100_000 + "\n", "line 3: this is not JSON: "),
    ],
)
def test_a_damaged_line_is_named(
    manage: Run, tmp_path: Path, body: str, said: str
) -> None:
    file = tmp_path / "odd.ndjson"
    file.write_text(body)
    code, out, err = manage("show", str(file))
    assert (code, out) == (1, "")
    assert f"{file}, {said}" in err
    assert "Traceback" not in err


def test_bytes_that_are_no_text(manage: Run, tmp_path: Path) -> None:
    file = tmp_path / "odd.ndjson"
    file.write_bytes((HEAD + ROOT).encode() + b'{"kind": "\xff"}\n')
    assert "line 3: no UTF-8 at byte 10" in manage("show", str(file))[2]


def test_lone_surrogates_are_no_damage(manage: Run, tmp_path: Path) -> None:
    """As the writer may have had them of an action."""
    file = tmp_path / "odd.ndjson"
    body = HEAD + ROOT.replace('"w"', '"w\ud800"')
    file.write_bytes(body.encode("utf-8", "surrogatepass"))
    for style in ("table", "json", "yaml"):
        code, out, _ = manage("show", str(file), "-o", style)
        assert code == 0 and "w\\ud800" in out
    assert json.loads(manage("show", str(file), "-o", "json")[1])["workflow_name"]


def test_a_list_goes_on_behind_a_damaged_file(manage: Run, kept: Path) -> None:
    path = file_of(kept, "bad")
    path.write_bytes(path.read_bytes()[:150])
    code, out, err = manage("list", "-o", "json")
    assert code == 1
    assert [row["workflow_name"] for row in json.loads(out)] == ["good", "good"]
    assert f"{path}, line 2: the file ends in the midst of it" in err
    code, out, err = manage("list", "-o", "json", "--skip-damaged")
    assert code == 0 and len(json.loads(out)) == 2 and str(path) in err


def test_what_is_whole_can_be_shown_without_what_is_not(
    manage: Run, kept: Path
) -> None:
    path = file_of(kept, "bad")
    body = path.read_bytes().splitlines(keepends=True)
    [place] = [n for n, line in enumerate(body) if b'"std.test_dict"' in line]
    body[place] = b"\x00\n"
    path.write_bytes(b"".join(body))
    assert manage("show", path.stem)[0] == 1
    code, out, err = manage("show", path.stem, "--skip-damaged", "-o", "json")
    assert code == 0
    assert f"{path}, line {place + 1}: this is not JSON" in err
    fine, breaks = json.loads(out)["task_executions"]
    assert fine["action_executions"] == []
    assert breaks["workflow_executions"][0]["state"] == "ERROR"
