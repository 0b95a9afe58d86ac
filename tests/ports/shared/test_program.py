"""Functions of a file that are followed without being executed: values as Python gives them, or marked as unknown."""

from pathlib import Path

import pytest

from jaxsched.ports.shared import File, SourceError, Unknown, config_of, resolved

HEAD = "import os, math\nimport ml_collections\nfrom ml_collections import config_dict\nfrom other import helper\n"


def built(body, head="", **known):
    """The config that the body of ``get_config`` makes of an empty one."""
    lines = ["config = ml_collections.ConfigDict()", *body.strip().splitlines(), "return config"]
    text = HEAD + head + "\ndef get_config(arg=None):\n" + "".join(f"  {line}\n" for line in lines)
    return resolved(config_of(File(Path("config.py"), text), None, known))


FOLLOWED = {
    "config.a = 1\nconfig.b = dict(c=2)\nconfig.b.c += config.a": dict(a=1, b=dict(c=3)),
    "for i in range(3):\n  if i == 1:\n    continue\n  config[f'a{i}'] = i": dict(a0=0, a2=2),
    "for i in [1, 2, 3]:\n  if i > 1:\n    break\n  config.a = i": dict(a=1),
    "config.a = [1]\nconfig.a += [2]\nconfig.a.append(3)": dict(a=[1, 2, 3]),
    "x, (y, z) = 1, (2, 3)\nconfig.a = {'n': x + y * z}['n']": dict(a=7),
    "def f(x, *rest, k=2, **more):\n  return x * k + len(rest) + more['m']\nconfig.a = f(3, 4, 5, k=10, m=0.5)": dict(
        a=32.5
    ),
    "def f():\n  config.a = 1\n  return\n  config.a = 2\nf()": dict(a=1),
    "config.a = 2\nconfig.b = config.get_ref('a')\nconfig.a = 5": dict(a=5, b=5),
    "config.a = math.ceil(1.2) if config.get('z') is None else 0": dict(a=2),
    "config.a = dict(b=1, c=dict(d=2))\nconfig.update(dict(a=dict(c=dict(e=3))))": dict(a=dict(b=1, c=dict(d=2, e=3))),
    "other = ml_collections.ConfigDict({'x': 1})\nconfig.a = other\nother.x = 2": dict(a=dict(x=2)),
    "plain = {'x': 1}\nconfig.a = plain\nplain['x'] = 2": dict(a=dict(x=1)),
    "c = ml_collections.ConfigDict(dict(y=1, x=2))\nconfig.a = [k for k in c] + [v for _, v in c.items()]": dict(
        a=["x", "y", 2, 1]
    ),
    "with config.unlocked():\n  config.a = 1": dict(a=1),
    "config.a = config_dict.placeholder(int)\nconfig.b = 'x={}'.format(1)": dict(a=None, b="x=1"),
    "config.a = 1\ndel config.a\nassert not config.keys()": {},
    "config.a = [i * 2 for i in (1, 2, 3) if i != 2]": dict(a=[2, 6]),
    "d = dict(x=1)\nconfig.a = dict(p=d, q=d)\nconfig.a.p.x = 2": dict(a=dict(p=dict(x=2), q=dict(x=2))),
    "import copy\nc = ml_collections.ConfigDict({'a': 1})\nc.b = c.get_ref('a')\nconfig.c = copy.deepcopy(c)\n"
    "config.c.a = 5": dict(c=dict(a=5, b=5)),
    "config.a = dict(x=1)\nconfig.b = config.get_ref('a')\nconfig.c = config['b'].x": dict(
        a=dict(x=1), b=dict(x=1), c=1
    ),
}


@pytest.mark.parametrize("body", FOLLOWED)
def test_what_is_followed_is_as_in_python(body):
    assert built(body) == FOLLOWED[body]


UNKNOWN = {
    "config.a = os.environ['A']": ("a",),
    "config.a = 1\nconfig.b = 2\nif os.environ.get('X'):\n  config.a = 2": ("a",),
    "config.a = 1\nconfig.b = 2\nwhile config.b:\n  config.a = 5": ("a",),
    "config.a = 1\ntry:\n  config.a = 2\nexcept KeyError:\n  pass\nconfig.b = 2": ("a",),
    "config.b = 2\ndef f(x):\n  return helper(x)\nconfig.a = f(3)": ("a",),
    "config.b = 2\nlst = [1]\nhelper(lst)\nconfig.a = lst[0]": ("a",),
    "config.b = 2\ndef f():\n  config.a = 3\nif helper:\n  pass\nfor x in helper():\n  f()": ("a",),
    "config.b = 2\nconfig.a = 2 ** 10 ** 10": ("a",),
    "config.a = 1\nhelper(config)": ("a",),
    "config.b = 2\nlst = [1]\nlst.append(os.getpid())\nconfig.a = lst[0]": ("a",),
    "config.a = 1\nconfig.update(os.environ)": ("a",),
    "config.a = 1\ndef f(c, x=0):\n  c.a = 2\nf(config, **os.environ)": ("a",),
    "config.a = 1\ndef f():\n  config.a = 2\nhelper(f)": ("a",),
    "config.b = 2\nconfig.a = max(config.b, os.getpid())": ("a",),
    "config.a = 1\nconfig.b = 2\ndef f():\n  if os.getpid():\n    return\n  config.a = 3\nf()": ("a",),
    "config.a = 1\ndef f():\n  for i in (1, 2):\n    config.a = i\n    if os.getpid():\n      return\nf()": ("a",),
    "config.a = 1\nfor i in (1, 2):\n  if os.getpid():\n    if i:\n      break\n  config.a = i": ("a",),
    "config.a = 1\nconfig.b = 2\nfor i in (1, 2):\n  for j in os.environ:\n    break\nconfig.a = os.x()": ("a",),
    "config.a = 1\nhelper(x=[config])": ("a",),
    "x = 1\ny = [x := 2]\nconfig.a = x": ("a",),
    "config.a = 1\ny = {config.update(a=2)}": ("a",),
    "config.a = 1\ny = helper() or config.update(a=2)": ("a",),
    "g = lambda: config.update(a=2)\nconfig.a = 1\ng()": ("a",),
    "@helper\ndef g():\n  config.a = 2\nconfig.a = 1\ng()": ("a",),
    "class A:\n  def g(self):\n    config.a = 2\nconfig.a = 1\nA().g()": ("a",),
    "def g():\n  config.a = 2\nconfig.a = 1\nhelper([g])": ("a",),
    "def g():\n  config.a = 2\nh = helper.partial(g)\nconfig.a = 1\nh()": ("a",),
    "def g(x):\n  config.a = 2\nconfig.a = 1\nsorted([1], key=g)": ("a",),
    "def g():\n  config.a = 2\ndef run(f):\n  helper(f)\nconfig.a = 1\nrun(g)": ("a",),
    "x = 1\ndef g():\n  nonlocal x\n  x = 2\nhelper(g)\nconfig.a = x": ("a",),
    "x = 1\nmatch [1, 2]:\n  case [_, x]:\n    pass\nconfig.a = x": ("a",),
    "d = {}\nhelper(d)\nconfig.a = d.get('x', 1)": ("a",),
    "d = {}\nhelper(d)\nconfig.a = len(d)": ("a",),
    "d = [1]\nhelper(d)\nconfig.a = 1 if d else 2": ("a",),
    "d = []\nhelper(d)\nconfig.a = 1\nfor x in d:\n  config.a = 2": ("a",),
    "d = {'x': 1}\nif os.getpid():\n  del d['x']\nconfig.a = 'x' in d": ("a",),
    "config.a = 1\nr = config.get_ref('a')\nr.set(2)": ("a",),
    "config.a = 1\nhelper(config.get_ref('a'))": ("a",),
    "config.a = 1\nconfig.c = config.get_ref('a')\nif os.getpid():\n  config.c = 5": ("a", "c"),
    "config.a = 1\nconfig.c = config.get_ref('a')\ndel config.a": ("c",),
    "config.a = 1\nwhile os.getpid():\n  c = config\n  c.a = 2": ("a",),
    "config.a = 1\nif os.getpid():\n  c = [config]\n  c[0].a = 2": ("a",),
    "config.b = 2\ns = ml_collections.ConfigDict({'x': {'y': 1}})\nhelper(s.get('x'))\nconfig.a = s.x.y": ("a",),
    "config.b = 2\nd = {'x': 1}\nhelper(d)\nconfig.a = ml_collections.ConfigDict({'d': d}).d": ("a",),
    "config.b = 2\nlst = [1]\ndef f(x=lst):\n  x.append(2)\nhelper(f)\nconfig.a = lst[0]": ("a",),
    "config.b = 2\nlst = [1]\nconfig.a = lst\nhelper(lst)": ("a",),
    "g = [lambda: c.update(a=2) for c in [config]]\nconfig.a = 1\ng[0]()": ("a",),
    "config.a = 1\nconfig.update = 3\nconfig.update(helper())": ("a", "update"),
}


@pytest.mark.parametrize("body", UNKNOWN)
def test_what_is_not_followed_is_marked_with_all_that_it_may_change(body):
    found = built(body)
    assert {name for name, value in found.items() if isinstance(value, Unknown)} == set(UNKNOWN[body])
    assert found.get("b", 2) == 2


@pytest.mark.parametrize(
    "asks",
    ["'x' in c", "len(c)", "1 if c else 2", "not c", "dict(c)", "{**c}", "list(c)", "[k for k in c]", "sorted(c)"],
)
def test_what_asks_for_all_keys_of_a_changed_config_is_unknown(asks):
    found = built(f"c = ml_collections.ConfigDict()\nhelper(c)\nconfig.a = {asks}")
    assert isinstance(found["a"], Unknown)


def test_a_value_in_place_of_a_reference_is_set_where_that_refers_to():
    assert built("config.a = 1\nconfig.b = config.get_ref('a')\nconfig.b = 5") == dict(a=5, b=5)
    looped = built("config.a = 1\nconfig.b = config.get_ref('a')\nconfig.a = config.get_ref('b')")
    assert isinstance(looped["a"], Unknown)


def test_a_config_that_other_code_was_handed_may_have_more():
    assert built("helper(config)").unsure.source == "helper(config)"
    assert built("config.a = 1").unsure is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no such model')", "config.py:8: it raises `ValueError\\('no such model'\\)`"),
        ("config.a = 1\nassert config.a == 2", "config.py:9: `assert config.a == 2` does not hold"),
        ("def f():\n  return f()\nf()", "more than 20 calls within calls"),
        ("x = [0] * 90_000\nfor i in range(99_999):\n  x = list(x)", "more than 300000 steps"),
        ("global y\ny = 1", "`global y` is not followed"),
        ("exec('config.a = 2')", "`exec` can change any name"),
        ("locals()['config'].a = 2", "`locals` can change any name"),
        ("f = config.update\nf(a=2)", "`config.update` is only followed where it is called"),
        ("d = {str(i): 0 for i in range(30000)}\nfor i in range(20000):\n  config.d = d", "more than 300000 steps"),
        ("d = {}\n" + "d = {'a': d, 'b': d}\n" * 60 + "config.d = d", "more than 300000 steps"),
        ("d = []\n" + "d = [d, d]\n" * 60 + "config.d = d", "more than 300000 steps"),
        ("for i in range(9000):\n  config[str(i)] = 0\nfor i in range(9000):\n  helper(config)", "300000 steps"),
        ("x = " + " + ".join(["helper()"] * 2000), "nested"),
        ("config.a = " + "(" * 150 + "1" + ",)" * 150, "nested"),
    ],
)
def test_what_raises_or_takes_long_is_an_error_with_its_line(body, message):
    with pytest.raises(SourceError, match=message):
        built(body)


def test_known_functions_stand_for_those_of_the_original():
    assert built("config.a = helper(3)", **{"other.helper": lambda x: x + 1}) == dict(a=4)


def test_functions_of_the_same_package_are_followed(tmp_path):
    package = tmp_path / "pack" / "configs"
    package.mkdir(parents=True)
    (package / "base.py").write_text(
        "from pack.configs import config\nSIZE = 8\ndef fill(c, size=SIZE):\n  c.size = size\n"
    )
    text = HEAD + "from pack.configs.base import fill\nfrom pack.configs import base as b\nimport pack.gone as gone\n"
    text += "def get_config():\n  c = ml_collections.ConfigDict()\n  fill(c)\n  c.more = b.SIZE * 2\n  return c\n"
    (package / "config.py").write_text(text)
    assert config_of(File.read(package / "config.py"), None, {}) == dict(size=8, more=16)
    with pytest.raises(SourceError, match="get_config\\(\\) does not take these arguments; leave arg out"):
        config_of(File.read(package / "config.py"), "x", {})
    alone = config_of(File(Path("-"), text), None, {})
    assert alone.unsure.source == "fill(c)"
    assert isinstance(alone["more"], Unknown)
