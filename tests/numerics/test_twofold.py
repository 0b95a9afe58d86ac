"""Two floats hold what they promise, as constants too, where XLA reorders what it may."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxsched.numerics import (
    LogRate,
    Mixed,
    Precise,
    as_twofold,
    inverse,
    minus_expm1,
    precise,
    product,
    quotient,
    two_sum,
)

SOME = np.random.default_rng(3)
WHOLE = np.unique(np.concatenate([np.arange(1, 40), SOME.integers(1, 2**31 - 1, 400), [2**24 + 1, 2**31 - 1]]))


def exactly(number):
    high, low = (np.asarray(part, np.longdouble) for part in number)
    return high + low


def test_an_integer_has_all_its_digits():
    high, low = as_twofold(jnp.asarray(WHOLE, jnp.int32))
    np.testing.assert_array_equal(exactly((high, low)), WHOLE)
    np.testing.assert_array_equal(high, WHOLE.astype(np.float32))
    mixed = as_twofold(Mixed(jnp.asarray(WHOLE, jnp.int32), jnp.float32(0.3)))
    np.testing.assert_allclose(exactly(mixed) - WHOLE, np.float32(0.3), rtol=1e-4)


@pytest.mark.parametrize("as_constants", [False, True])
def test_a_product_and_a_quotient(as_constants):
    """To 2**-34 and 2**-42 of themselves."""
    rate = 1 - 1e-6

    def work(whole, log, part):
        return product(whole, log), quotient(whole, part), product(log, inverse(part))

    whole, log, part = jnp.asarray(WHOLE, jnp.int32), LogRate.of(rate).twofold, 2**31 - 77
    evaluate = jax.jit(lambda whole: work(whole, LogRate.of(rate).twofold, part)) if as_constants else jax.jit(work)
    times, share, each = evaluate(whole) if as_constants else evaluate(whole, log, part)
    exact = np.asarray([float(mpmath.log(rate))], np.longdouble)
    np.testing.assert_allclose(exactly(times), WHOLE * exact, rtol=2.0**-34)
    np.testing.assert_allclose(exactly(share), WHOLE / np.longdouble(part), rtol=2.0**-42)
    np.testing.assert_allclose(exactly(each), exact / part, rtol=2.0**-34)


def test_a_quotient_is_exact_at_its_ends():
    whole = jnp.asarray(WHOLE, jnp.int32)
    for part, expected in ((whole, 1.0), (whole * 0, 0.0)):
        high, _ = jax.jit(quotient)(part, whole)
        np.testing.assert_array_equal(high, expected)


def test_a_sum_with_a_constant_loses_nothing():
    """XLA compiles (1 + x) - 1 to x, so what the rounding lost must not be found that way."""
    numbers = np.float32(10) ** SOME.uniform(-8, 8, 300).astype(np.float32)
    found = jax.jit(lambda x: two_sum(jnp.float32(1), x))(numbers)
    np.testing.assert_allclose(exactly(found), 1 + numbers.astype(np.longdouble), rtol=2.0**-46)


def test_minus_expm1_within_two_ulp():
    x = np.float32(10) ** SOME.uniform(-9, 1.5, 4000).astype(np.float32)
    exact = -np.expm1(-x.astype(np.longdouble))
    errors = np.abs(np.asarray(jax.jit(minus_expm1)(x), np.longdouble) - exact) / np.spacing(exact.astype(np.float32))
    assert errors.max() < 2


def test_a_precise_number_keeps_its_digits_through_jit():
    digits = jax.jit(precise)(Precise(0.9))
    np.testing.assert_allclose(exactly(digits), np.longdouble(0.9), rtol=2.0**-48)
    assert repr(Precise(0.9)) == "0.9"
    assert float(jax.tree.map(lambda leaf: leaf, Precise(0.9))) == pytest.approx(0.9, rel=1e-15)
    with jax.enable_x64(True):
        assert exactly(jax.jit(precise)(Precise(0.9))) == np.longdouble(0.9)
