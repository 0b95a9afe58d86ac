"""Values in errors: one line, however large, deep or hostile the value is."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.checks import did_you_mean, one_line, short


class Counted(list):
    """A list that counts how many of its items are read."""

    read = 0

    def __iter__(self):
        for item in super().__iter__():
            self.read += 1
            yield item


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def alias_bomb():
    """Ten lines of YAML whose aliases stand for 9**60 strings."""
    value = "lol"
    for _ in range(60):
        value = [value] * 9
    return value


CYCLE = [1]
CYCLE.append(CYCLE)


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-1.5, "-1.5"),
        (float("nan"), "nan"),
        ("it's", '"it\'s"'),
        (b"ab", "b'ab'"),
        ((1,), "(1,)"),
        ((), "()"),
        ([1, "a", None], "[1, 'a', None]"),
        ({"a": [1, 2], "b": ()}, "{'a': [1, 2], 'b': ()}"),
        (frozenset([3]), "{3}"),
        (2**60, str(2**60)),
        (10**5000, "an integer of about 5,000 digits"),
        (-(10**100), "an integer of about 100 digits"),
        ([10**5000], "[an integer of about 5,000 digits]"),
        (np.arange(2.0), "array([0., 1.])"),
        (jnp.eye(2), "Array([[1., 0.], [0., 1.]], dtype=float32)"),
        ("\x1b[2J\r\n\udc80\u202e", r"'\x1b[2J\r\n\udc80\u202e'"),
        (Broken(), "<Broken>"),
        (js.constant(1.0), "constant(value=1.0)"),
    ],
    ids=itertools.count(),
)
def test_a_short_value_is_shown_whole(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, "\x00" * 10**6, alias_bomb(), nested(10**4), CYCLE, {f"key{i}": [i] for i in range(10**5)}],
    ids=["string", "control characters", "alias bomb", "nested", "cycle", "mapping"],
)
def test_a_large_value_is_cut(value):
    text = short(value)
    assert len(text) <= 60
    assert text.endswith("...")
    assert text.isprintable()
    assert len(short(value, most=20)) <= 20


def test_a_container_is_read_only_as_far_as_it_is_shown():
    items = Counted(range(10**6))
    short(items)
    assert items.read <= 60


def test_a_name_is_one_line():
    assert one_line("a\nb\x1b[31m") == r"a\nb\x1b[31m"
    assert one_line("a" * 100, most=10) == "aaaaaaa..."


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: js.cosine(bad, 10),
        lambda bad: js.cosine(0.1, bad),
        lambda bad: js.multi_step(0.1, bad),
        lambda bad: js.exponential(0.1, bad),
        lambda bad: js.exponential(0.1, 0.5, staircase=bad),
        lambda bad: js.one_cycle(0.1, 10, shape=bad),
        lambda bad: js.from_function(bad),
        lambda bad: js.sequential(bad, at=[1]),
        lambda bad: js.table(bad),
    ],
)
@pytest.mark.parametrize(
    "bad", [alias_bomb(), "x" * 10**6, {"\x1b": 1}, 10**5000], ids=["bomb", "string", "map", "int"]
)
def test_an_error_is_one_line_whatever_the_value(make, bad):
    with pytest.raises((TypeError, ValueError)) as error:
        make(bad)
    assert len(str(error.value)) < 250
    assert str(error.value).isprintable()


def test_a_long_name_has_no_neighbour():
    assert did_you_mean("momentun", ["momentum", "lr"]) == "; did you mean 'momentum'?"
    assert did_you_mean("momentun" * 10**6, ["momentum"]) == ""
    assert did_you_mean(alias_bomb(), ["momentum"]) == ""
