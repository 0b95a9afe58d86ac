"""Each example runs, top to bottom, as it is printed."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(path for path in (Path(__file__).parents[1] / "examples").glob("*.py") if path.stem != "__init__")


SLOW = {"lr_sweep"}  # trains its networks a second time, one by one
CASES = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in EXAMPLES]


@pytest.mark.parametrize("path", CASES)
def test_example(path, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip(), "an example prints what it did"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name="__main__")
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_every_example_is_in_the_index_and_every_file_of_the_detector_in_its_map():
    index = (EXAMPLES[0].parent / "README.md").read_text()
    assert [path.name for path in EXAMPLES if f"({path.name})" not in index] == []
    detector = EXAMPLES[0].parent / "detector"
    named = (detector / "README.md").read_text()
    assert [
        path.name
        for path in detector.glob("[!_]*")
        if path.suffix in (".py", ".yaml") and f"`{path.name}`" not in named
    ] == []
