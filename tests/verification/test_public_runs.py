"""Runs that people have published, from their files and logs alone: how many of the printed learning rates come out."""

import json
from pathlib import Path

import pytest

from jaxsched import ports
from jaxsched.ports.shared import File
from jaxsched.verification import read_log, verify_run

RUNS = json.loads((Path(__file__).parents[1] / "recorded" / "public_runs.json").read_text())["runs"]
KINDS = {kind.name: kind for kind in ports.kinds()}


def write(folder, run):
    """The folder of a run: its settings, and its log as it was printed. JSON is YAML."""
    settings = run["args"] if run["kind"] == "ultralytics" else {"hyp": run["hyp"], **run["opt"]}
    path = folder / ("args.yaml" if run["kind"] == "ultralytics" else "opt.yaml")
    path.write_text(json.dumps(settings))
    names = list(run["lr"])
    lines = [",".join(["epoch", *names])]
    lines += [",".join(row) for row in zip(run["epoch"], *(run["lr"][name] for name in names), strict=True)]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    return path, folder / "results.csv"


@pytest.mark.parametrize("run", RUNS, ids=[run["run"].split("/")[0] + str(k) for k, run in enumerate(RUNS)])
def test_a_public_run(run, tmp_path):
    path, log = write(tmp_path, run)
    _, verdict = verify_run(KINDS[run["kind"]], File.read(path), read_log(log), {})
    assert verdict.ok, verdict
