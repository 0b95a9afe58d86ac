"""The sweep gives what the trainings would give one by one."""

import re

import jax
import numpy as np
import pytest

from examples.lr_sweep import Options, digits, main, recipe, train

pytestmark = pytest.mark.usefixtures("compile_quickly")


def test_trainings_at_once_are_the_trainings_one_by_one(tmp_path):
    """In float64, where the order of a product's sums moves a loss by 1e-16 at first and 40 steps enlarge that."""
    options = Options(rates=3, lowest=0.01, highest=0.5, steps=40, out=tmp_path / "sweep.png", compare=False)
    with jax.enable_x64(True):
        losses = main(options)
        x, y = digits()
        order = jax.random.randint(jax.random.key(1), (options.steps, options.batch_size), 0, len(x))
        rates = np.geomspace(options.lowest, options.highest, options.rates)
        compiled = jax.jit(train)
        alone = np.stack([compiled(recipe(float(rate), options.steps), order, x, y) for rate in rates])
    assert losses.shape == (3, 40)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, alone, rtol=1e-12)
    assert losses[1, -5:].mean() < 0.5 * losses[1, :5].mean()
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"rates": 0}, "--rates is 0; it must be at least 1"), ({"steps": 10}, "--steps is 10; it must be at least 20"),
     ({"batch_size": 0}, "--batch-size is 0"), ({"lowest": 0.0}, "0 < lowest <= highest"),
     ({"lowest": 20.0}, "--lowest is 20.0, --highest 10.0")],
)  # fmt: skip
def test_wrong_options_are_refused(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Options(**changes)
