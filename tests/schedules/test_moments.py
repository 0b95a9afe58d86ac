"""Where something happens in a schedule: as its parts declare it, and true of its values."""

import jax
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import huggingface, timm, torch
from jaxsched.ports.shared import by_update
from jaxsched.schedules import Length, Mark, Number, Value, ends, moments, value_at

CASES = [
    (js.constant(0.1), []),
    (js.cosine(0.1, 100), [(100, "cosine ends")]),
    (js.warmup(js.cosine(0.1, 100), 10), [(10, "warm-up ends"), (100, "cosine ends")]),
    (js.per_epoch(js.multi_step(0.1, at=(3, 5)), 20), [(60, "milestone"), (100, "milestone")]),
    (js.schedules.delayed(js.per_epoch(js.multi_step(0.1, at=(3,)), 20), by=7), [(67, "milestone")]),
    (js.per_epoch(js.schedules.delayed(js.multi_step(0.1, at=(3,)), by=1), 20), [(80, "milestone")]),
    (
        js.sequential([js.linear(0.0, 0.1, 10), js.cosine(0.1, 90)], at=[10]),
        [(10, "next part"), (10, "warm-up ends"), (100, "cosine ends")],
    ),
    (js.one_cycle(0.1, 100, up=30), [(30, "next part"), (30, "warm-up ends"), (100, "cosine ends")]),
    (js.schedules.one_cycle_momentum(100, up=30), [(30, "next part"), (30, "cosine ends"), (100, "rise ends")]),
    (js.exponential(0.1, 0.9, every=40, staircase=True), [(40, "milestone"), (80, "milestone")]),
    (js.schedules.periodic_cosine(0.1, 40), [(40, "floor of the wave"), (80, "top of the wave")]),
    (js.table(np.ones(51)), [(50, "table ends")]),
    (js.cosine_restarts(0.1, 10, stretch=2), [(10, "restart"), (30, "restart"), (70, "restart"), (150, "restart")]),
    (js.step_decay(0.1, every=40), [(40, "milestone"), (80, "milestone")]),
    (js.cyclic(0.0, 0.1, up=30, down=20), [(30, "top of a cycle"), (50, "restart"), (80, "top of a cycle")]),
    (js.cooldown(0.1, at=80, steps=20), [(80, "cooldown begins"), (100, "cooldown ends")]),
    (0.5 * js.multi_step(0.1, at=(60,)), [(60, "milestone")]),
]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_moments(schedule, expected):
    found = [(m.step, m.what) for m in moments(schedule, 120) if m.step <= 150]
    assert [item for item in found if item in expected] == expected
    assert len(found) >= len(expected)


def test_a_milestone_is_the_first_step_of_the_new_value():
    lr = js.per_epoch(js.schedules.delayed(js.multi_step(1.0, at=(2, 4), factor=0.5), by=1), 7)
    values = np.asarray(lr(np.arange(60)))
    assert [m.step for m in moments(lr)] == (np.flatnonzero(np.diff(values)) + 1).tolist()


def test_where_a_schedule_counts_updates():
    """Of 4 batches, but for the last of an epoch of 11, which has 3: the first batch that the new value is used for."""
    lr = by_update(js.sequential([js.linear(0.0, 1.0, 2), js.multi_step(1.0, at=(2, 5), factor=0.5)], at=[2]), 4, 11)
    values = np.asarray(lr(np.arange(60)))
    found = moments(lr, 60)
    assert [m.step for m in found if m.what == "milestone"] == (np.flatnonzero(np.diff(values) < 0) + 1).tolist()
    (warm,) = (m.step for m in found if m.what == "warm-up ends")
    assert warm == int(np.argmax(values == 1.0))


def test_an_epoch_is_whole_before_what_comes_in_its_middle():
    lr = js.schedules.delayed(js.per_epoch(js.step_decay(1.0, every=2.4), 10), by=3)
    values = np.asarray(lr(np.arange(100)))
    steps = [m.step for m in moments(lr, 100) if m.step < 100]
    assert steps == (np.flatnonzero(np.diff(values)) + 1).tolist()


def test_cycles_of_timm_and_of_transformers():
    equal = timm.CosineLRScheduler(t_initial=10, cycle_limit=3)(0.1)
    assert [(m.step, m.what) for m in moments(equal)] == [(10, "restart"), (20, "restart"), (30, "last cycle ends")]
    longer = timm.CosineLRScheduler(t_initial=10, cycle_mul=2.0, cycle_limit=2)(0.1)
    assert [(m.step, m.what) for m in moments(longer)] == [(10, "restart"), (30, "last cycle ends")]
    uneven = huggingface.get_scheduler("cosine_with_restarts", 0, 100, {"num_cycles": 3})(0.1)
    assert [(m.step, m.what) for m in moments(uneven)] == [(34, "restart"), (67, "restart"), (100, "last cycle ends")]


def test_what_another_part_cuts_off_does_not_happen():
    lr = js.sequential([js.multi_step(0.1, at=(5, 20)), js.cosine(0.1, 10)], at=[10])
    assert [(m.step, m.happens) for m in moments(lr) if m.what == "milestone"] == [(5, True), (20, False)]


def test_nothing_is_claimed_of_a_schedule_that_a_user_wrote():
    @js.schedule
    def mine(step, at, steps):
        return 1.0 + 0 * at * steps * step

    assert moments(mine(at=3, steps=5)) == []


def test_a_user_declares_where_a_schedule_ends_and_how_its_parts_count():
    @js.schedule(moments=ends("steps", "low", "high"))
    def ramp(step, low: Number, high: Number, steps: Length):
        return low + (high - low) * (step / steps).clip(0, 1)

    @js.schedule(
        moments=lambda a, run: [Mark(a.number("at"), "other", "turns")], clock=lambda a, c: {"inner": c.faster(2)}
    )
    def twice_as_fast(step, inner: Value, at: Length):
        return value_at(inner, 2 * step)

    found = moments(js.sequential([ramp(0.0, 0.1, 10), twice_as_fast(js.multi_step(0.1, at=(20,)), 30)], at=[10]))
    assert [(m.step, m.what) for m in found if m.kind != "part"] == [
        (10, "warm-up ends"),
        (20, "milestone"),
        (40, "turns"),
    ]
    assert [m.what for m in moments(ramp(0.1, 0.0, 10))] == ["ramp ends"]


def test_what_is_called_with_the_step_itself_counts_as_its_caller_does():
    """So a user's schedule around another needs no declaration; one that changes the step is opaque without."""

    @js.schedule
    def scaled(step, schedule: Value, by: Number = 2.0):
        return by * schedule(step)

    @js.schedule
    def shifted(step, schedule: Value):
        return schedule(step + 7)

    @js.schedule
    def odd(step, schedule: Value):
        return schedule.arguments["no such argument"] * step

    inner = js.multi_step(0.1, at=(30, 2000))
    assert [m.step for m in moments(js.schedules.delayed(scaled(inner), by=5))] == [35, 2005]
    assert moments(shifted(inner)) == moments(odd(inner)) == []


def test_of_what_only_a_compiled_program_knows_nothing_is_claimed():
    found = []
    jax.jit(lambda steps: found.append(moments(js.warmup(js.cosine(0.1, steps), 10))))(100)
    assert [[(m.step, m.what) for m in one] for one in found] == [[(10, "warm-up ends")]]


@pytest.mark.parametrize("up", [2.5, 3, 7.25])
def test_a_cycle_whose_sizes_are_not_whole_turns_where_its_values_do(up):
    lr = torch.CyclicLR(base_lr=0.0, max_lr=1.0, step_size_up=up)(0.1)
    tops = [m.step for m in moments(lr, 100) if m.what == "top of a cycle" and m.step <= 100]
    exact = [up * (2 * k + 1) for k in range(100) if up * (2 * k + 1) <= 100]
    assert tops == [int(np.ceil(t)) for t in exact]
