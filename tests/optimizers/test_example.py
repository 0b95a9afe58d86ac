"""The example of two optimizers runs, and learns."""

from examples import two_optimizers


def test_two_optimizers_learn_the_digits(capsys):
    assert two_optimizers.main() > 0.85
    assert "matrices/lr" in capsys.readouterr().out
