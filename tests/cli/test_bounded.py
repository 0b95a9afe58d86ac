"""Files within the limits that are long in one direction are shown; work that grows with the square would not end."""

import json

import pytest
from typer.testing import CliRunner

from jaxsched.cli._app import app

PIECES = 5000
LONG = {
    "milestones.py": (
        "optimizer = dict(type='SGD', lr=0.1)\n"
        "lr_config = dict(policy='step', step=list(range(1, 20000)))\n"
        "runner = dict(type='EpochBasedRunner', max_epochs=30000)\n",
        ["-s", "100"],
    ),
    "pieces.json": (
        json.dumps(
            {
                "$recipe": 1,
                "optimizer": "sgd",
                "steps": 6000,
                "hyperparameters": {
                    "lr": {
                        "$schedule": "piecewise",
                        "values": [0.1 / (i + 1) for i in range(PIECES + 1)],
                        "at": list(range(1, PIECES + 1)),
                    }
                },
            }
        ),
        [],
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_many_milestones_are_shown(name, tmp_path, monkeypatch):
    text, options = LONG[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["show", name, *options])
    assert result.exit_code == 0, result.output
    assert len(result.output) < 20_000  # not each of them is written: 5,000 would be 40,000 characters
