"""What is around an optimizer: accumulation, clipping, averages, skips; and what is read of it."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

PARAMS = {"w": jnp.array([1.0, 2.0]), "b": jnp.zeros(())}


def gradients(i):
    return {"w": jnp.array([0.5, -1.0]) * (i + 1), "b": jnp.float32(i - 2)}


def follow(tx, n, params=PARAMS, of=gradients):
    """Updates, applied and parameters of n steps."""

    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return optax.apply_updates(params, updates), state, updates

    state, seen = tx.init(params), []
    for i in range(n):
        params, state, updates = step(params, state, of(i))
        seen.append((updates, bool(js.did_update(state)), params))
    return seen, state


@pytest.mark.parametrize("mean", [False, True])
def test_accumulation_is_a_step_with_the_gathered_gradient(mean):
    lr = js.linear(0.1, 0.0, 20)
    seen, _ = follow(js.accumulate(js.sgd(lr=lr, momentum=0.9), 3, mean=mean), 9)
    assert [applied for _, applied, _ in seen] == [False, False, True] * 3
    plain = js.sgd(lr=lr, momentum=0.9)
    params, state = PARAMS, plain.init(PARAMS)
    for start in (0, 3, 6):
        total = jax.tree.map(lambda *g: sum(g) / (3 if mean else 1), *(gradients(start + i) for i in range(3)))
        updates, state = plain.update(total, state, params, step=start + 2)  # the clock counts batches
        params = optax.apply_updates(params, updates)
        chex.assert_trees_all_close(seen[start + 2][2], params, rtol=1e-6, atol=1e-7)
        chex.assert_trees_all_equal(seen[start][0], jax.tree.map(jnp.zeros_like, PARAMS))


def test_multiples_of_a_fraction_are_those_of_the_next_whole_number():
    seen, _ = follow(js.accumulate(js.sgd(lr=0.1), 1.5, at_multiples=True), 5)
    assert [applied for _, applied, _ in seen] == [True, False, True, False, True]


def test_an_accumulation_that_is_given_steps_has_waited_for_those_left_out():
    tx = js.accumulate(js.sgd(lr=0.1), 3)
    _, state = tx.update(gradients(0), tx.init(PARAMS), PARAMS, step=0)
    _, state = tx.update(gradients(0), state, PARAMS, step=2)
    assert js.did_update(state)


def test_accumulation_whose_length_is_a_schedule_as_yolov5s_warmup():
    every = js.linear(1.0, 4.0, 6)  # 1, 1.5, 2, 2.5, 3, 3.5, 4, 4 ...
    seen, _ = follow(js.accumulate(js.sgd(lr=0.1), every), 14)
    last, expected = -1, []
    for step in range(14):
        due = step - last >= 1 + 3 * min(step, 6) / 6
        expected.append(due)
        last = step if due else last
    assert [applied for _, applied, _ in seen] == expected


def test_what_waits_at_the_end_of_an_epoch_is_dropped_where_asked():
    tx = js.accumulate(js.sgd(lr=1.0), 2, steps_per_epoch=3)
    seen, _ = follow(tx, 6, params={"w": jnp.zeros(())}, of=lambda i: {"w": jnp.float32(10.0**i)})
    # steps 0, 1: an update of both; step 2 waits and is dropped; step 3 is due (3 - 1 >= 2), alone; then 4 and 5
    assert [float(updates["w"]) for updates, _, _ in seen] == [0.0, -11.0, 0.0, -1000.0, 0.0, -110000.0]
    kept = js.accumulate(js.sgd(lr=1.0), 2)
    seen, _ = follow(kept, 4, params={"w": jnp.zeros(())}, of=lambda i: {"w": jnp.float32(10.0**i)})
    assert [float(updates["w"]) for updates, _, _ in seen] == [0.0, -11.0, 0.0, -1100.0]


def test_accumulation_in_half_precision_sums_in_float32():
    params = {"w": jnp.ones((), jnp.bfloat16)}
    tx = js.accumulate(js.sgd(lr=1.0), 300, mean=True)
    seen, state = follow(tx, 300, params=params, of=lambda i: {"w": jnp.bfloat16(1.0)})
    chex.assert_type(jax.tree.leaves(state.gradients), jnp.float32)
    assert float(seen[-1][0]["w"]) == -1.0  # in bfloat16 the sum would stop at 256
    assert seen[-1][0]["w"].dtype == jnp.bfloat16


def test_accumulation_copies_no_state():
    """The branch that waits passes the state through; nothing the size of a parameter is copied."""
    params = {f"w{i}": jnp.ones((64, 48)) for i in range(3)}
    tx = js.accumulate(optax.chain(js.sgd(lr=0.1, momentum=0.9), js.ema(0.99)), 4)

    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    copies = re.findall(r"f32\[64,48\]\S* copy\(%(\S+)\)", compiled.as_text())
    assert [source for source in copies if "broadcast" not in source] == []  # updates of zero are arrays of their own
    assert compiled.memory_analysis().alias_size_in_bytes >= 4 * 3 * 64 * 48 * 4  # params, gradients, momentum, average


@pytest.mark.parametrize("gather", [js.accumulate, optax.MultiSteps])
def test_which_steps_were_updates_can_be_seen(gather):
    tx, params = gather(js.sgd(lr=0.1), 3), {"w": jnp.ones(())}
    state, seen = tx.init(params), []
    for _ in range(6):
        _, state = tx.update(params, state, params)
        seen.append(bool(js.did_update(state)))
    assert seen == [False, False, True] * 2


def test_bad_accumulation():
    with pytest.raises(ValueError, match="every must be >= 1"):
        js.accumulate(js.sgd(), 0)
    with pytest.raises(ValueError, match="steps_per_epoch must be a positive number of steps"):
        js.accumulate(js.sgd(), 2, steps_per_epoch=0)


@pytest.mark.parametrize("value", ["1", None, True, (1.0,)])
def test_a_number_that_is_none(value):
    for make in (lambda v: js.accumulate(js.sgd(), v), js.clip_norm, js.ema):
        with pytest.raises(TypeError, match="must be a number, got"):
            make(value)


@pytest.mark.parametrize("params_are", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("gradients_are", [jnp.bfloat16, jnp.float32])
def test_accumulated_updates_leave_in_the_dtype_of_the_parameters(params_are, gradients_are):
    tx = js.accumulate(js.sgd(lr=1.001), 2)
    params = {"w": jnp.ones((), params_are)}
    seen, _ = follow(tx, 2, params=params, of=lambda i: {"w": jnp.ones((), gradients_are)})
    for (updates, _, _), expected in zip(seen, (0.0, -2.002), strict=True):
        assert updates["w"].dtype == params_are
        assert updates["w"] == params_are(expected)  # not by way of the gradients' dtype


@pytest.mark.parametrize("scale", [1e-9, 0.1, 1.0, 100.0])
def test_clip_norm_is_torchs(scale):
    torch = pytest.importorskip("torch")
    tree = {"a": np.array([3.0, 4.0]) * scale, "b": np.array([[12.0]]) * scale}
    tensors = [torch.zeros(v.shape, requires_grad=True) for v in tree.values()]
    for tensor, value in zip(tensors, tree.values(), strict=True):
        tensor.grad = torch.tensor(value, dtype=torch.float32)
    torch.nn.utils.clip_grad_norm_(tensors, 1.5)
    tx = js.clip_norm(1.5)
    clipped, _ = tx.update(jax.tree.map(jnp.float32, tree), tx.init(tree))
    for tensor, value in zip(tensors, clipped.values(), strict=True):
        np.testing.assert_allclose(value, tensor.grad, rtol=3e-7)


def test_clip_norm_by_a_schedule():
    tx = js.clip_norm(js.table([1.0, 2.0]))
    state = tx.init({})
    for expected in (1.0, 2.0, 2.0):
        clipped, state = tx.update({"w": jnp.array([30.0, 40.0])}, state)
        assert float(jnp.linalg.norm(clipped["w"])) == pytest.approx(expected, rel=1e-6)


def test_ema_follows_and_other_state_follows_alike():
    decay = js.schedules.exponential_ramp(0.9999, 2000)
    tx = js.accumulate(optax.chain(js.sgd(lr=0.1), js.ema(decay)), 2)
    params, state = PARAMS, tx.init(PARAMS)
    statistics = {"mean": jnp.zeros(2), "seen": jnp.zeros((), jnp.int32)}
    kept, by_hand, by_hand_statistics, updates_done = statistics, PARAMS, np.zeros(2), 0
    for i in range(6):
        updates, state = tx.update(gradients(i), state, params)
        params = optax.apply_updates(params, updates)
        statistics = {"mean": statistics["mean"] + i, "seen": statistics["seen"] + 1}
        kept = js.ema_update(state, kept, statistics)
        if i % 2:
            updates_done += 1
            d = 0.9999 * (1 - math.exp(-updates_done / 2000))
            by_hand = jax.tree.map(lambda a, p, d=d: d * a + (1 - d) * p, by_hand, params)
            by_hand_statistics = d * by_hand_statistics + (1 - d) * np.asarray(statistics["mean"])
    chex.assert_trees_all_close(js.ema_params(state), by_hand, rtol=1e-6)
    np.testing.assert_allclose(kept["mean"], by_hand_statistics, rtol=1e-6)
    assert int(kept["seen"]) == 6


def test_ema_of_half_precision_is_kept_in_float32():
    params = {"w": jnp.ones((), jnp.bfloat16)}
    _, state = follow(optax.chain(js.sgd(lr=0.0), js.ema(0.999)), 2, params=params, of=lambda i: {"w": jnp.bfloat16(1)})
    assert js.ema_params(state)["w"].dtype == jnp.float32


def test_ema_takes_one_minus_its_decay_to_the_last_digit_and_copies_at_0():
    params = {"w": jnp.zeros(())}
    for decay, taken in ((0.9999, np.float32(1e-4)), (0.0, 1.0), (js.constant(0.25), 0.75)):
        tx = js.ema(decay)
        _, state = tx.update({"w": jnp.ones(())}, tx.init(params), params)
        assert js.ema_params(state)["w"] == taken
        assert js.ema_update(state, jnp.zeros(()), jnp.ones(())) == taken
    copied = js.ema(0.0)
    _, state = copied.update({"w": jnp.ones(())}, copied.init({"w": jnp.float32(1e8)}), params)
    assert js.ema_params(state)["w"] == 1.0  # 1e8 + (1 - 1e8) is 0 in float32


def test_ema_leaves_whole_numbers_as_they_are():
    params = {"w": jnp.ones(2), "steps": jnp.array(3)}
    rules = [("steps", "kept"), ("**", "all")]
    tx = js.Recipe("sgd", rules=rules, groups={"kept": None}, ema=0.5, accumulate=js.Accumulation(2)).build()
    before = tx.init(params)
    _, after = jax.jit(tx.update)({"w": jnp.ones(2), "steps": jnp.array(0)}, before, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    assert js.ema_params(after)["steps"].dtype == jnp.int32


def test_asgds_average_is_read_as_an_ema_is():
    seen, state = follow(optax.chain(js.clip_norm(100.0), js.asgd(lr=0.1, t0=0)), 5)
    # the weight of each is 1 / (t - t0), one step late: the mean of what follows the first
    expected = jax.tree.map(lambda *p: sum(p) / len(p), *(params for _, _, params in seen[1:]))
    chex.assert_trees_all_close(js.ema_params(state), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="there must be one ema"):
        js.ema_params(js.sgd().init(PARAMS))


def test_ema_decays_of_timm_and_mmengine():
    steps = np.arange(3000)
    for kwargs in (dict(), dict(power=0.75, steps=10.0, start=0.1, after=7), dict(end=0.9)):
        end, power, gamma = kwargs.get("end", 0.9999), kwargs.get("power", 2 / 3), kwargs.get("steps", 1.0)
        n = np.maximum(steps - kwargs.get("after", 0) - 1, 0)
        timm = np.where(n == 0, 0.0, np.clip(1 - (1 + n / gamma) ** -power, kwargs.get("start", 0.0), end))
        np.testing.assert_allclose(js.transforms.power_ramp(**kwargs)(jnp.asarray(steps)), timm, rtol=1e-6)
    for shift in (0, 7):
        annealing = 1 - np.maximum(0.0002, 100 / (100 + steps + shift))
        found = js.transforms.ratio_ramp(0.9998, 100, shift=shift)(jnp.asarray(steps))
        np.testing.assert_allclose(found, annealing, rtol=1e-6)
    exponential = 1 - ((1 - 0.0002) * np.exp(-(1 + steps) / 2000) + 0.0002)
    np.testing.assert_allclose(js.schedules.exponential_ramp(0.9998, 2000)(jnp.asarray(steps)), exponential, rtol=1e-6)


def test_non_finite_gradients_are_skipped_and_counted():
    bad = {1: jnp.nan, 2: jnp.inf}

    def of(i):
        return {"w": jnp.array([1.0, bad.get(i, 1.0)]), "b": jnp.zeros(())}

    tx = optax.chain(js.skip_nonfinite(js.adam(lr=0.1)), js.ema(0.5))
    seen, state = follow(tx, 5, of=of)
    clean, clean_state = follow(js.adam(lr=0.1), 3, of=lambda i: of(0))
    chex.assert_trees_all_close(seen[-1][2], clean[-1][2], rtol=1e-6)
    assert int(js.transforms.nonfinite_count(state)) == 2
    assert int(js.hyperparams(state) is not None)
    chex.assert_trees_all_close(state[0].inner.slots, clean_state.slots, rtol=1e-6)
    with pytest.raises(ValueError, match="no skip_nonfinite"):
        js.transforms.nonfinite_count(clean_state)


def test_group_norms_within_the_step_and_flat():
    tx = js.sgd(lr=0.1, groups={"bias": dict(lr=0.5)})
    params = {"conv": {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([0.0])}, "fc": {"kernel": jnp.array([12.0])}}

    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        norms = js.group_norms(params, g, updates)
        return js.flatten_dict(js.hyperparams(state), norms, {"loss": jnp.float32(2.0)}, prefix="train/")

    log = step(params, tx.init(params), jax.tree.map(jnp.ones_like, params))
    expected = {
        "weight/param_norm": 13.0,
        "weight/gradient_norm": math.sqrt(3),
        "weight/update_norm": 0.1 * math.sqrt(3),
    }
    expected |= {"weight/update_ratio": 0.1 * math.sqrt(3) / 13, "bias/param_norm": 0.0, "bias/update_ratio": 0.0}
    expected |= {"bias/update_norm": 0.5, "bias/lr": 0.5, "weight/lr": 0.1, "loss": 2.0}
    for key, value in expected.items():
        assert float(log[f"train/{key}"]) == pytest.approx(value, rel=1e-6), key
    with pytest.raises(ValueError, match="two values are named 'a'"):
        js.flatten_dict({"a": 1}, {"a": 2})


def test_layer_decay():
    params = {name: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for name in ("stem", "block0", "block1", "head")}
    by_layer = js.layer_decay(
        ["stem/**", "block0/**", "block1/**", "head/**"], js.linear(0.1, 0.0, 10), 0.5, undecayed=js.role("bias")
    )
    tx = js.sgd(weight_decay=1.0, **by_layer)
    updates, state = tx.update(params, tx.init(params), params)
    for i, name in enumerate(params):
        lr = 0.1 * 0.5 ** (3 - i)
        np.testing.assert_allclose(updates[name]["kernel"], -2 * lr, rtol=1e-6)
        np.testing.assert_allclose(updates[name]["bias"], -lr, rtol=1e-6)
        assert float(js.hyperparams(state)[f"layer {i} undecayed"]["weight_decay"]) == 0.0
    with pytest.raises(ValueError, match="decay must be positive"):
        js.layer_decay(["**"], 0.1, 0.0)


def test_a_resume_with_other_groups_and_schedules_keeps_what_was_gathered():
    old = js.nadam(lr=js.cosine(0.1, 100))
    new = js.nadam(lr=js.linear(0.05, 0.0, 50), rules=[("w", "a"), ("**", "b")], groups={"b": dict(lr=0.01)})
    params, state = PARAMS, old.init(PARAMS)
    for i in range(4):
        updates, state = old.update(gradients(i), state, params)
        params = optax.apply_updates(params, updates)
    moved = js.carry_over(state, new.init(params))
    assert int(moved.count) == 4
    chex.assert_trees_all_equal(moved.slots, state.slots)
    np.testing.assert_array_equal(moved.shared["mu_product"], state.shared["mu_product"][:2])
    assert set(js.hyperparams(moved)) == {"a", "b"}
    # with the values in force made equal, the next step is the one the old optimizer makes
    same = js.nadam(lr=js.cosine(0.1, 100), rules=[("w", "a"), ("**", "b")])
    moved = js.carry_over((state,), (same.init(params),))[0]
    a, _ = same.update(gradients(4), moved, params)
    b, _ = old.update(gradients(4), state, params)
    chex.assert_trees_all_equal(a, b)
    differing = js.nadam(groups={"bias": dict(betas=(0.5, 0.9))})
    state = differing.update(gradients(0), differing.init(PARAMS), PARAMS)[1]
    with pytest.raises(ValueError, match=r"'a', 'b' are new, and the old ones .* differ in mu_product"):
        js.carry_over(state, new.init(params))


@pytest.mark.parametrize("new", [js.adam(lr=0.1), js.sgd(lr=0.1, momentum=0.9, dampening=0.5)], ids=["adam", "sgd"])
def test_another_optimizer_begins_its_averages_anew_and_goes_on_in_the_schedule(new):
    old = js.sgd(lr=0.1)
    state = old.init(PARAMS)
    for i in range(4):
        _, state = old.update(gradients(i), state, PARAMS)
    moved = js.carry_over(state, new.init(PARAMS))
    fresh = new.init(PARAMS)
    for i in range(3):
        a, moved = new.update(gradients(i), moved, PARAMS)
        b, fresh = new.update(gradients(i), fresh, PARAMS)
        chex.assert_trees_all_equal(a, b)
    assert int(moved.count) == 7
