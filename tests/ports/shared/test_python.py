"""Python source as data: values of expressions, and what statements leave."""

import ast

import pytest

from jaxsched.ports import shared
from jaxsched.ports.shared import Budget, Script, Unknown, value_of


def value(text, **names):
    return value_of(ast.parse(text, mode="eval").body, lambda node: names.get(node.id, Unknown(1, node.id)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("n // 3 + 0.5", 10.5), ("[n, (1, 'a')]", [30, (1, "a")]), ("{'a': n}['a']", 30), ("-n if n > 3 else 0", -30)],
)
def test_an_expression_has_the_value_that_python_gives_it(text, expected):
    assert value(text, n=30) == expected


@pytest.mark.parametrize(
    "text",
    ["f(3)", "other + 1", "2 ** 10 ** 9", "'a' * 10 ** 9", "[0] * 10 ** 6", "1 / 0", "[[0] * 99 for i in (1, 2) * 999]"]
    + ["[" * 150 + "]" * 150, "1" + " + 1" * 120],
)
def test_what_is_not_known_or_takes_too_much_work_says_where_it_is(text):
    unknown = value(text)
    assert isinstance(unknown, Unknown)
    assert unknown.line == 1
    assert unknown.source[:20] == ast.unparse(ast.parse(text))[:20]


def test_elements_of_a_list_may_be_unknown():
    first, second = value("[1, f(2)]")
    assert first == 1
    assert second.source == "f(2)"


def follow(text):
    script = Script(Budget(), "a.py")
    script.run(shared.parse_python(shared.File("a.py", text)).body)
    return script.results()


def test_a_value_is_right_or_unknown_but_never_stale():
    found = follow("a = [1]\nb = dict(inner=a, lr=0.1)\nc = b['inner']\ntune(c)\nd = b['lr']\ne = [*a]")
    assert (found["d"], found["b"]["lr"]) == (0.1, 0.1)
    assert all(isinstance(found[name], Unknown) for name in "ace")
    assert found["a"].reason == "calling `tune` would run code"


@pytest.mark.parametrize(
    "text",
    [
        "x = {d.update(lr=3)}",
        "x = helper() or d.update(lr=3)",
        "x = helper() + int(d.update(lr=3) or 0)",
        "x = {**helper(), 1: d.update(lr=3)}",
        "x = [d.update(lr=3) for _ in helper()]",
        "f = d.update\nf(lr=3)",
        "x = helper() or (d := dict(lr=3))",
        "match [1]:\n  case [d]:\n    pass",
    ],
)
def test_what_is_not_evaluated_may_have_been(text):
    assert isinstance(follow(f"d = dict(lr=0.1)\n{text}\nlr = d['lr']")["lr"], Unknown)


def test_a_keyword_given_twice_is_an_error_with_its_place():
    with pytest.raises(ValueError, match=r"a\.py:2: it is not Python: keyword argument repeated: lr"):
        follow("x = 1\ny = lambda: dict(lr=1, **{}, lr=2)")
