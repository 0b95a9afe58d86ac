"""What the README prints: each program runs alone, the commands run, and the links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_each_program_runs_alone(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})


def test_what_the_readme_links_to_exists():
    paths = re.findall(r"github(?:usercontent)?\.com/jaxsched/jaxsched/(?:(?:blob|tree)/)?main/([^)]+)\)", TEXT)
    assert len(paths) > 10
    for path in paths:
        assert (README.parent / path).exists(), path


def test_the_command_prints_what_the_readme_shows(monkeypatch):
    testing = pytest.importorskip("typer.testing")
    from jaxsched.cli._app import app

    monkeypatch.chdir(README.parent)
    shown = re.findall(r"^\$ \.venv/bin/jaxsched (.*?)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert shown
    for command, output in shown:
        result = testing.CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "120"})
        assert result.exit_code == 0, result.output
        for part in output.split("...\n"):
            assert part in result.output, result.output
