"""Statements that are followed against Python, where code that is not in the file changes all that it can reach."""

import contextlib

import pytest

from jaxsched.ports.shared import Budget, File, Function, Script, Unknown, parse_python

START = "import copy\nd = dict(n=1, a=[1, 2])\ne = {'k': d['a']}\nl = [1, 2]\nm = l\nx = 1\n"

PROGRAMS = {
    "aliases": ["m.append(3)", "e['k'].append(3)", "m *= 2", "m += [3]", "d['a'] *= 2", "m[0] += 1; x = l[0]"],
    "copies": [
        "z = copy.deepcopy([l, l]); z[0].append(3)",
        "z = copy.copy(d); z['a'].append(3)",
        "z = d.copy(); z['n'] = 2",
        "z = [*l]; z.append(3)",
    ],
    "arguments once": ["z = {2: 1, 1: 1}; z[l.pop()] += 1", "z = [l.pop(), l.pop()]", "z = [1, 1, 1]; z[l.pop()] *= 2"],
    "iterators": [
        "z = (i for i in l); l.append(3); x = list(z)",
        "z = zip(l, l); x = list(z), list(z)",
        "z = d.keys(); d['w'] = 1; x = list(z)",
        "z = reversed(l); x = [*z]; y = [*z]",
    ],
    "loops": [
        "for i in l:\n  x = i\n  if i == 1:\n    break\nelse:\n  x = 9",
        "for i in l:\n  if flag():\n    break\n  x = i",
        "for i in l:\n  if flag():\n    continue\n  x = i",
        "for i in l:\n  for j in tune:\n    pass\n  else:\n    break\n  x = 5",
        "for d['n'] in l:\n  pass",
        "for i in l:\n  tune(d)\n  x = d['n']",
    ],
    "functions": [
        "def f(a, b=l):\n  b.append(a)\n  return b\nx = f(3)\nf(4)",
        "def f(b=l):\n  b.append(3)\ntune(f)",
        "def f():\n  def g():\n    l.append(3)\n  return g\nf()()",
        "def f():\n  def g():\n    l.append(3)\n  tune(g)\nf()",
        "def f():\n  global x\n  x = 2\nf()",
        "def f():\n  if flag():\n    return 1\n  l.append(3)\nx = f()",
        "def f():\n  for i in l:\n    if flag():\n      return i\n    d['n'] = i\nx = f()",
        "def f(n):\n  return n if n > 5 else f(n + 1)\nx = f(0)",
        "def f(*a, k=1, **o):\n  return [len(a), k, o]\nx = f(1, 2, k=3, z=4)",
        "def f():\n  yield l.append(3)\nx = list(f())",
        "@tune\ndef f():\n  l.append(3)\nf()",
        "h = l.append\nh(3)",
        "def len(v):\n  v.append(3)\n  return 1\nx = tune.n + len(l)",
    ],
    "kept code": [
        "z = [lambda: v.append(3) for v in [l]]\nz[0]()",
        "z = lambda: l.append(3)\nx = [z() for i in l if i == 1]",
        "def f():\n  d['n'] = 2\ntune(f)\nd['n'] = 3\ntune()",
        "def make(v):\n  return lambda: v.append(3)\nz = make(l), make(e['k'])\nz[0](), z[1]()",
        "class A:\n  def f(self):\n    l.append(3)\nA().f()",
    ],
    "names": [
        "y = [(x := i) for i in l]",
        "y = flag() and (x := 5)",
        "from other import *",
        "with tune as x:\n  pass",
        "match l:\n  case [x, *z]:\n    pass",
        "try:\n  x = tune\nexcept KeyError as x:\n  pass",
        "del x\nx = l",
        "globals()['x'] = 2",
    ],
    "values": [
        "tune(d); x = d.get('n', 1)",
        "tune(d); x = 'w' in d",
        "tune(d); x = {**d}",
        "tune(d); x = [*d]",
        "tune(l); x = len(m)",
        "tune(l); x = dict(k=e, l=l)",
        "tune([l]); x = copy.deepcopy([l, d])",
        "while flag():\n  c = d\n  c['n'] = 7",
        "if flag():\n  c = [d]\n  c[0]['n'] = 7",
        "x = flag() or d.update(n=5)",
        "x = [i.update(n=5) for i in [d] if flag()]",
        "x = tune.n + [d.pop('n')][0]",
        "if flag():\n  d['a'] += [3]",
        "assert d.pop('n')",
    ],
}


def run(text):
    """What the statements leave where the code that they call spoils whatever it is handed."""

    def tune(*values):
        for value in values:
            if callable(value):
                value()
            elif isinstance(value, dict):
                tune(*value.values())
                value.update(n=-9, w=-9)
            elif isinstance(value, list | tuple):
                tune(*value)
                value += [-9] if isinstance(value, list) else ()
        return tune

    tune.n = 1
    calls = []
    world = {"tune": tune, "flag": lambda: calls.append(1) or len(calls) % 2 == 1}
    with contextlib.suppress(Exception):
        exec(compile(text, "config.py", "exec"), world)
    return world


def agrees(found, real):
    if isinstance(found, Unknown | Function):
        return True
    if isinstance(found, dict):
        return isinstance(real, dict) and found.keys() == real.keys() and all(agrees(found[k], real[k]) for k in found)
    if isinstance(found, list | tuple):
        return type(found) is type(real) and len(found) == len(real) and all(map(agrees, found, real))
    return found == real


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_value_is_as_in_python_or_marked(kind):
    for program in PROGRAMS[kind]:
        text = START + program.replace("; ", "\n") + "\n"
        script = Script(Budget(), "config.py")
        script.run(parse_python(File("config.py", text)).body)
        real = run(text)
        for name, value in script.results().items():
            assert agrees(script.budget.copy(value), real.get(name)), (program, name, value, real.get(name))
