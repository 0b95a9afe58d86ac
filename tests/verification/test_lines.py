"""The forms of the lines that trainers print."""

import re

import pytest

from jaxsched.verification._lines import _FORMS, from_lines


@pytest.mark.parametrize("form", _FORMS, ids=lambda form: form.pattern.pattern[:20])
def test_what_lies_between_is_bounded(form):
    """Without a bound a search goes on to the end of the line from each place where a form begins: 3 MB took 20 min."""
    unbounded = re.search(r"\[\^[^\]]*\][*+]", form.pattern.pattern)
    assert unbounded is None or form.pattern.pattern.startswith("^")  # which begins once a line


def test_six_decimals_are_rounded_and_full_numbers_are_not():
    line = "Epoch: [0]  [ {}/20]  eta: 0:00:03  lr: {}  loss: 0.69\n"
    assert from_lines(line.format(0, "0.000100") + line.format(10, "0.000004"))[1] == {"lr": 6}
    assert from_lines(line.format(0, "0.000100") + line.format(10, "0.0001"))[1] == {}
    assert from_lines(line.format(0, "0.1"))[1] == {}


def test_updates_that_deepspeed_skipped_do_not_step_the_schedule():
    rows, _, _ = from_lines("step=10, skipped=0, lr=[0.1], mom=[0.9]\nstep=20, skipped=3, lr=[0.2], mom=[0.9]")
    assert [row["step"] for row in rows] == ["10", "17"]
