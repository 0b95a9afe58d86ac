"""What a person sees on a terminal, and without one."""

import os
import sys

import pytest

from examples.detector.console import Console

ROW = {
    "epoch": 0, "train/box_loss": 0.1, "train/obj_loss": 0.2, "train/cls_loss": 0.3, "metrics/precision": 0.5,
    "metrics/recall": 0.25, "metrics/mAP_0.5": 0.125, "metrics/mAP_0.5:0.95": 0.0625, "x/lr0": 0.1, "x/lr1": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(("terminal", "columns", "bar"), [(True, 80, True), (True, 0, False), (False, 80, False)])
def test_epochs_are_printed_on_any_terminal_and_the_bar_where_it_fits(monkeypatch, capsys, terminal, columns, bar):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    console = Console(steps=10, epochs=2)
    console.say("compiling the training step ...")
    assert capsys.readouterr().err == ""  # a bar now would predict hours
    console.begin(0)
    console.step(1.5)
    console.epoch(ROW)
    console.close()
    printed = capsys.readouterr()
    words = printed.out.splitlines()[-1].split()
    assert words == ["1/2", "0.1000", "0.2000", "0.3000", "0.5000", "0.2500", "0.1250", "0.0625", "0.01"]
    assert ("step" in printed.err) == bar
