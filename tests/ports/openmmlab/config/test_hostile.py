"""The reader of OpenMMLab configs on files made to harm: a result or a SourceError, in bounded time and memory."""

import contextlib
import pickle
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxsched.ports.openmmlab.config._read import MAX_BYTES, read_config
from jaxsched.ports.shared import SourceError, Unknown

MARKED = {
    "power": "x = 10 ** 10 ** 10",
    "negative power": "x = 0.5 ** -10 ** 10",
    "shift": "x = 1 << 10 ** 12",
    "text": "x = 'a' * 10 ** 9",
    "list": "x = [0] * 10 ** 9",
    "range": "x = list(range(10 ** 12))",
    "comprehension": "x = [i for i in range(10 ** 12)]",
    "sum": "x = sum(range(10 ** 12))",
    "format": "x = f'{1:{10 ** 9}}'",
    "round": "x = round(5, -10 ** 10)",
    "replace": "x = ('a' * 10 ** 5).replace('a', 'b' * 10 ** 5)",
    "join": "x = ('a' * 10 ** 5).join(['b'] * 10 ** 4)",
    "digits": "x = '{:999999}'.format(1)",
    "squares": "x = 7" + "\nx = x * x" * 40,
    "nested tuple as a key": "x = ()" + "\nx = (x, x)" * 60 + "\nx = {x: 1}",
    "comparison": "a = []\nb = []" + "\na = [a, a]\nb = [b, b]" * 60 + "\nx = a == b\ndel a, b",
    "doubling in place": "x = [1]" + "\nx[1:1] = x" * 60,
    "doubling": "x = [1]" + "\nx += x" * 60,
}

REFUSED = {
    "laughs": "x = [1] * 10" + "\nx = [x] * 10" * 12,
    "laughs of dicts": "x = {}" + "\nx = dict(a=x, b=x)" * 40,
    "loops": "x = [0 for i in range(10 ** 5) for j in range(10 ** 5)]",
    "for": "for i in range(10 ** 5):\n    for j in range(10 ** 5):\n        x = 1",
    "memory": "x = []\nfor i in range(10 ** 5):\n    x.append([0] * 10 ** 5)",
    "itself": "x = []\nx.append(x)",
    "itself in a dict": "x = dict()\nx['x'] = x",
    "long texts": "s = 'a' * 90000\nx = []\nfor i in range(30000):\n    x.append(f'{s}{i}')",
    "many ranges": "x = zip(*[range(10 ** 5)] * 1000)",
    "depth": "x = []\nfor i in range(5000):\n    x = [x]",
    "additions": "x = 1" + " + 1" * 5000,
    "signs": "x = " + "-" * 5000 + "1",
    "parentheses": "x = " + "(" * 5000 + ")" * 5000,
    "attributes": "x = a" + ".b" * 5000,
    "calls": "x = f" + "()" * 50_000,
    "elifs": "if 0:\n    x = 1\n" + "elif 0:\n    x = 1\n" * 3000,
    "digits": "x = " + "9" * 5000,
    "size": "x = 1  # " + "a" * MAX_BYTES,
    "unclosed references": "x = '" + "{{$a:" * 20_000,
    "unknown calls": "x = [[] for i in range(10 ** 4)]\n" + "f(x)\nx = [[] for i in range(10 ** 4)]\n" * 400,
}


@pytest.fixture
def bounded(tmp_path):
    """Reads a text, and fails if that takes more than 10 s of the processor or 300 MB."""

    def bounded(text):
        path = tmp_path / "config.py"
        path.write_text(text)
        tracemalloc.start()
        start = time.process_time()
        try:
            return read_config(path)
        finally:
            seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert seconds < 10
            assert peak < 300e6

    return bounded


@pytest.mark.parametrize("name", MARKED)
def test_a_value_that_would_be_huge_is_marked(bounded, name):
    assert isinstance(bounded(MARKED[name])["x"], Unknown)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_would_take_long_is_refused(bounded, name):
    with pytest.raises(SourceError, match=r"config\.py"):
        bounded(REFUSED[name])


def test_bases_that_multiply_are_refused(tmp_path):
    for i in range(40):
        text = "" if i == 39 else f"_base_ = ['level{i + 1}.py', 'level{i + 1}.py']"
        (tmp_path / f"level{i}.py").write_text(text)
    with pytest.raises(SourceError, match="more than 200 files"):
        read_config(tmp_path / "level0.py")


def test_a_base_that_is_a_bomb_is_refused(tmp_path):
    (tmp_path / "bomb.py").write_text("a = [1] * 10" + "\na = [a] * 10" * 12)
    (tmp_path / "config.py").write_text("_base_ = 'bomb.py'")
    with pytest.raises(SourceError, match=r"bomb\.py"):
        read_config(tmp_path / "config.py")


@pytest.mark.parametrize(
    "change",
    ["_base_.a = x", "_base_.a.update(b=x)", "_base_.a.merge(dict(b=x))"],
)
def test_a_bomb_put_into_a_base_is_refused(tmp_path, change):
    (tmp_path / "base.py").write_text("a = dict()")
    (tmp_path / "config.py").write_text(
        "_base_ = 'base.py'\nx = [1] * 10" + "\nx = [x] * 10" * 12 + f"\n{change}\nx = 1"
    )
    with pytest.raises(SourceError, match=r"config\.py"):
        read_config(tmp_path / "config.py")


def test_a_config_error_survives_pickling():
    error = pickle.loads(pickle.dumps(SourceError("broken", "a.py", 3)))
    assert (str(error), error.file, error.line) == ("a.py:3: broken", "a.py", 3)


# Fuzzing: any text at all, and texts made of the grammar's own pieces

ATOMS = [
    "x",
    "y",
    "_base_",
    "_base_.a",
    "1",
    "0",
    "-1",
    "1e308",
    "10**9",
    "'a'",
    "''",
    "None",
    "True",
    "[]",
    "{}",
    "()",
]
ATOMS += ["dict(a=1)", "range(9)", "copy", "undefined", "{{_base_.a}}", "f'{x}'", "lambda: x", "..."]


def combined(inner):
    binary = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<<", "|", "<", "==", "in", "is", "and", "or"])
    calls = [
        "len",
        "list",
        "dict",
        "sum",
        "max",
        "sorted",
        "round",
        "zip",
        "enumerate",
        "str",
        "exec",
        "f",
        "x.update",
    ]
    calls += [
        "x.append",
        "x.pop",
        "x.insert",
        "_base_.a.update",
        "_base_.merge",
        "copy.deepcopy",
        "'a'.replace",
        "'a'.join",
    ]
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("[{}, *{}]".format, inner, inner),
        st.builds("{{{}: {}, **{}}}".format, inner, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}[{}:{}]".format, inner, inner, inner),
        st.builds("{}({}, a={})".format, st.sampled_from(calls), inner, inner),
        st.builds("{}({})".format, st.sampled_from(calls), inner),
        st.builds("[{} for x in {} if {}]".format, inner, inner, inner),
        st.builds("{{{}: {} for x, y in {}}}".format, inner, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("f'{{{}:{{{}}}}}'".format, inner, inner),
    )


EXPRESSION = st.recursive(st.sampled_from(ATOMS), combined, max_leaves=8)
TARGET = st.sampled_from(["x", "y", "x.a", "x[0]", "x['a']", "_base_.a", "_base_", "x, y", "x, *y", "x[:]"])
STATEMENT = st.one_of(
    st.builds("{} = {}".format, TARGET, EXPRESSION),
    st.builds("{} {}= {}".format, TARGET, st.sampled_from(["+", "*", "**", "|"]), EXPRESSION),
    st.builds("{}".format, EXPRESSION),
    st.builds("del {}".format, TARGET),
    st.builds("for x in {}: y = {}".format, EXPRESSION, EXPRESSION),
    st.builds("if {}: x = {}".format, EXPRESSION, EXPRESSION),
    st.builds("def f(): x = {}".format, EXPRESSION),
    st.builds("with read_base(): from .base import {}".format, st.sampled_from(["*", "a", "b"])),
    st.sampled_from(
        ["import copy", "from copy import *", "_base_ = 'base.py'", "_base_ = ['../x.py']", "global x", "f()"]
    ),
)
PROGRAM = st.builds(
    "_base_ = 'base.py'\nx = dict(a=[1])\ny = [x, x]\n{}".format,
    st.lists(STATEMENT, max_size=8).map("\n".join),
)
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "base.py").write_text("a = dict(b=1, c=[dict(d=2)])")

    def fuzzed(content: bytes):
        (folder / "config.py").write_bytes(content)
        with contextlib.suppress(SourceError):
            pickle.dumps(read_config(folder / "config.py"))  # plain data, or a SourceError

    return fuzzed


@settings(FUZZ, max_examples=600)
@given(program=PROGRAM)
def test_any_program_reads_or_is_refused(fuzzed, program):
    fuzzed(program.encode())


@settings(FUZZ, max_examples=200)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_read_or_are_refused(fuzzed, content):
    fuzzed(content)
