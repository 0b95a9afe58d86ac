"""The fused forms against the plain ones: values, moments and gradients; pooling likewise."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.detector import fused
from examples.detector.model import EPSILON, convolution, max_pool


def inputs(dtype):
    random = np.random.default_rng(0)
    x = random.normal(3.0, 2.0, (8, 5, 6, 7))
    return tuple(jnp.asarray(a, dtype) for a in (x, *random.normal(1.0, 0.5, (3, 7)), random.normal(size=x.shape)))


def plain(x, scale, bias):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return jax.nn.silu((x - mean) / jnp.sqrt(var + EPSILON) * scale + bias), mean, var


def norm_silu(x, scale, bias, about):
    return fused.norm_silu(x, scale, bias, about, EPSILON)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 2e-5)])  # some 100 roundings, cancelling
def test_value_moments_and_gradient_are_those_of_the_plain_formula(dtype, rtol):
    with jax.enable_x64(dtype == "float64"):
        x, scale, bias, about, cotangent = inputs(dtype)
        with jax.default_matmul_precision("highest"):
            ours, pull = jax.vjp(lambda *a: norm_silu(*a, about), x, scale, bias)
            want, pull_plain = jax.vjp(plain, x, scale, bias)
        zeros = jax.tree.map(jnp.zeros_like, ours[1:])
        got, expected = (ours, pull((cotangent, *zeros))), (want, pull_plain((cotangent, *zeros)))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.abs(b).max()))


def test_half_precision_in_and_out_with_moments_in_full():
    x, scale, bias, about, cotangent = inputs("float32")
    (y, mean, var), pull = jax.vjp(lambda *a: norm_silu(*a, about), x.astype(jnp.bfloat16), scale, bias)
    of_x, of_scale, _ = pull((cotangent.astype(jnp.bfloat16), jnp.zeros_like(mean), jnp.zeros_like(var)))
    assert (y.dtype, of_x.dtype) == (jnp.bfloat16, jnp.bfloat16)
    assert {mean.dtype, var.dtype, of_scale.dtype} == {jnp.dtype("float32")}
    rounded = plain(x.astype(jnp.bfloat16).astype(jnp.float32), scale, bias)[0]
    np.testing.assert_allclose(y.astype(jnp.float32), rounded, rtol=2**-8, atol=2**-8 * 1e-3)  # one rounding


def test_a_constant_channel_gives_its_bias_and_no_nan():
    x = jnp.full((4, 8, 8, 1), 1e4)
    y, _, var = norm_silu(x, jnp.ones(1), jnp.zeros(1), jnp.zeros(1))
    assert float(var.min()) >= 0
    assert np.isfinite(np.asarray(y)).all()
    of_x = jax.grad(lambda x: norm_silu(x, jnp.ones(1), jnp.zeros(1), jnp.zeros(1))[0].sum())(x)
    assert np.isfinite(np.asarray(of_x)).all()


@pytest.mark.parametrize(("size", "stride", "padding"), [(1, 1, 0), (6, 2, 2), (3, 2, 1), (3, 1, 1)])
def test_each_kind_of_convolution_is_the_convolution(size, stride, padding):
    random = np.random.default_rng(1)
    x, kernel = jnp.asarray(random.normal(size=(2, 16, 12, 3))), jnp.asarray(random.normal(size=(size, size, 3, 5)))
    want, pull_plain = jax.vjp(lambda x, kernel: convolution(x, kernel, stride, padding), x, kernel)
    got, pull = jax.vjp(lambda x, kernel: fused.convolve(x, kernel, stride, padding), x, kernel)
    cotangent = jnp.asarray(random.normal(size=want.shape), want.dtype)
    for a, b in zip((got, *pull(cotangent)), (want, *pull_plain(cotangent)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))  # sums of a few hundred


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (5, 3)])
def test_a_kernel_gradient_of_a_product_is_the_product_of_the_transpose(inputs, outputs):
    random = np.random.default_rng(4)
    x, gradient = random.normal(size=(40, inputs)), random.normal(size=(40, outputs))
    got = jax.jit(fused.transposed_product)(jnp.asarray(x), jnp.asarray(gradient))
    np.testing.assert_allclose(got, x.T @ gradient, rtol=1e-5, atol=1e-5)  # sums of 40
    half = fused.transposed_product(jnp.asarray(x, jnp.bfloat16), jnp.asarray(gradient, jnp.bfloat16))
    assert (half.dtype, half.shape) == (jnp.bfloat16, (inputs, outputs))


@pytest.mark.parametrize(("size", "stride", "inputs", "dtype"), [
    (3, 2, 4, "float32"), (3, 1, 32, "float32"), (5, 2, 4, "float32"), (3, 2, 4, "bfloat16"),
])  # fmt: skip
def test_a_large_convolution_has_the_gradients_of_the_convolution(size, stride, inputs, dtype, monkeypatch):
    """An image has 8 or 4 rows, of which a block takes half: 3 of 4 are too many for it, and 3 of 8 leave a rest."""
    random = np.random.default_rng(3)
    x = jnp.asarray(random.normal(size=(3, 8, 6, inputs)), dtype)
    kernel = jnp.asarray(random.normal(size=(size, size, inputs, 5)), dtype)
    monkeypatch.setattr(fused, "LARGE", 0)
    want, pull_plain = jax.vjp(lambda x, k: convolution(x, k, stride, size // 2), x, kernel)
    monkeypatch.setattr(fused, "BLOCK", 3 * want.shape[2])
    cotangent = jnp.asarray(random.normal(size=want.shape), dtype)
    got, pull = jax.vjp(lambda x, k: fused.convolve(x, k, stride, size // 2), x, kernel)
    assert {"length=3", f"length={4 // stride}"} <= set(re.findall(r"length=\d+", str(jax.make_jaxpr(pull)(cotangent))))
    rtol = 1e-5 if dtype == "float32" else 2**-7  # sums of a few hundred; one rounding to bfloat16 on either side
    for a, b in zip((got, *pull(cotangent)), (want, *pull_plain(cotangent)), strict=True):
        assert a.dtype == b.dtype
        a, b = a.astype(jnp.float32), b.astype(jnp.float32)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.abs(b).max()))


def test_the_gradient_of_an_input_takes_its_memory(monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 0)
    x, kernel = jnp.ones((4, 64, 64, 16)), jnp.ones((3, 3, 16, 32))
    gradient = jax.grad(lambda x, kernel: jnp.square(fused.convolve(jnp.sin(x), kernel, 2, 1)).sum(), (0, 1))
    memory = jax.jit(gradient).lower(x, kernel).compile().memory_analysis().temp_size_in_bytes
    # sin(x), the result of half its size and parts of one image of four: 1.9 times x; 2.8 with an array of its own.
    assert memory < 2.3 * x.nbytes


def test_a_gpu_keeps_the_gradient_that_xla_writes(monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 8)
    x, kernel = jax.ShapeDtypeStruct((4, 8, 8, 4), "float32"), jax.ShapeDtypeStruct((3, 3, 4, 4), "float32")
    gradient = jax.jit(jax.grad(lambda kernel, x: fused.convolve(x, kernel, 2, 1).sum()))
    loops = {
        p: "while" in str(gradient.trace(kernel, x).lower(lowering_platforms=(p,)).as_text()) for p in ("cpu", "cuda")
    }
    assert loops == {"cpu": True, "cuda": False}


def test_pooling_is_the_maximum_and_the_first_of_equals_has_the_gradient():
    x = jnp.asarray(np.random.default_rng(2).integers(0, 4, (2, 6, 7, 3)), jnp.float32)
    window = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 5, 5, 1), (1, 1, 1, 1), "SAME")
    np.testing.assert_array_equal(max_pool(x), window)
    row = jnp.asarray([1.0, 2.0, 2.0, 0.0]).reshape(1, 1, 4, 1)
    gradient = jax.grad(lambda x: max_pool(x, 3).sum())(row)
    np.testing.assert_array_equal(gradient.ravel(), [0, 3, 1, 0])
