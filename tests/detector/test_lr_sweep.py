"""The sweep gives what the trainings would give one by one."""

import jax
import numpy as np

from examples.lr_sweep import Options, digits, main, recipe, train


def test_trainings_at_once_are_the_trainings_one_by_one(tmp_path):
    options = Options(rates=3, lowest=0.01, highest=0.5, steps=40, out=tmp_path / "sweep.png", compare=False)
    losses = main(options)
    assert losses.shape == (3, 40)
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    x, y = digits()
    order = jax.random.randint(jax.random.key(1), (options.steps, options.batch_size), 0, len(x))
    middle = np.geomspace(options.lowest, options.highest, options.rates)[1]
    alone = jax.jit(train)(recipe(float(middle), options.steps), order, x, y)
    np.testing.assert_allclose(losses[1], alone, rtol=1e-3)
    assert losses[1, -5:].mean() < 0.5 * losses[1, :5].mean()
