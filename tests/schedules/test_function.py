"""Functions of the step as schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js


def test_a_traceable_function():
    schedule = js.from_function(lambda step: 1 / (1 + step))
    np.testing.assert_allclose(jax.jit(schedule)(jnp.arange(3)), [1, 1 / 2, 1 / 3], rtol=3e-7)


def test_a_function_with_numbers_of_its_own_stays_a_pytree():
    inner = js.linear(1.0, 0.0, 2)
    assert js.from_function(inner)(1) == 0.5
    assert js.from_function(inner) == js.from_function(inner)


def test_a_function_that_is_not_traceable_is_called_once_a_step_on_the_host():
    called = []

    def rate(epoch):
        called.append(epoch)
        return 0.5 if epoch in {1, 2} else 1.0

    schedule = js.tabulate(rate, 4)
    assert called == [0, 1, 2, 3]
    assert all(type(epoch) is int for epoch in called)
    np.testing.assert_array_equal(schedule(jnp.arange(6)), [1, 0.5, 0.5, 1, 1, 1])


def test_a_table_has_all_its_digits_in_float64():
    schedule = js.table([0.1, 1 / 3])
    assert float(schedule(1)) == np.float32(1 / 3)
    with jax.enable_x64(True):
        assert float(schedule(1)) == 1 / 3


def test_arithmetic_with_any_function_of_the_step():
    lr, ramp = js.constant(0.5), optax.linear_schedule(0.0, 1.0, 4)
    found = [
        lr * ramp,
        ramp * lr,
        lr + ramp,
        ramp + lr,
        lr - ramp,
        ramp - lr,
        ramp / lr,
        lr / optax.constant_schedule(2.0),
    ]
    assert [float(one(2)) for one in found] == [0.25, 0.25, 1.0, 1.0, 0.0, 0.0, 1.0, 0.25]
    with pytest.raises(TypeError, match="unsupported operand"):
        lr * None


@pytest.mark.parametrize("wrap", [lambda f: js.warmup(f, 10), lambda f: js.constant(1.0) * f, js.from_function, js.sgd])
def test_what_is_no_function_of_the_step_is_an_error_where_it_is_given(wrap):
    with pytest.raises(TypeError, match=r"must be a schedule, and this makes one, step_decay.* StepLR\(30\)\(0.1\)"):
        wrap(js.ports.torch.StepLR(30))
    with pytest.raises(TypeError, match=r"must be a function of the step alone, but .* needs steps too: call it first"):
        wrap(js.cosine)
    with pytest.raises(TypeError, match=r"needs decay_steps too: call it first"):
        wrap(optax.cosine_decay_schedule)
    with pytest.raises(TypeError, match="is a stateful schedule"):
        wrap(Stateful())
    with pytest.raises(ValueError, match=r"must give one number for a step, but gives an array of shape \(2,\)"):
        wrap(lambda step: jnp.ones(2))


class Stateful(optax.schedules.StatefulSchedule):
    """Optax's protocol, which asks for a state where a step is given."""
