"""The README's programs run, top to bottom, in one session."""

import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_programs_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    names = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


def test_paths_in_the_readme_exist():
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README.read_text()):
        assert (README.parent / path).exists(), path


def test_the_commands_on_a_hyp_yaml_run(tmp_path, monkeypatch):
    testing = pytest.importorskip("typer.testing")
    from jaxsched.cli._app import app

    monkeypatch.chdir(tmp_path)
    numbers = dict(lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3, warmup_momentum=0.8)
    Path("hyp.yaml").write_text("".join(f"{k}: {v}\n" for k, v in numbers.items()) + "warmup_bias_lr: 0.1\n")
    commands = re.findall(r"^jaxsched (\w+ hyp\.yaml .*?)(?: +#.*)?$", README.read_text(), re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        result = testing.CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, (command, result.output)
