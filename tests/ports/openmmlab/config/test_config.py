"""The reader of OpenMMLab configs: each construct once, and what it does where it cannot know."""

import textwrap
from pathlib import Path

import pytest

from jaxsched.ports.openmmlab.config import require
from jaxsched.ports.openmmlab.config._read import merge, read_config
from jaxsched.ports.shared import SourceError, Unknown


@pytest.fixture
def read(tmp_path):
    """Reads the last of some files, given as name=text."""

    def read(text: str, *, packages=None, environment=None, **bases: str):
        (tmp_path / "_base_").mkdir(exist_ok=True)
        for name, content in bases.items():
            (tmp_path / "_base_" / f"{name}.py").write_text(textwrap.dedent(content))
        path = tmp_path / "model_1x.py"
        path.write_text(textwrap.dedent(text))
        return read_config(path, packages=packages, environment=environment)

    return read


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-3", -3),
        ("0.02 / 8 * 2", 0.005),
        ("7 // 2 + 7 % 4 - 2 ** 3", -2),
        ("'a' + 'b' * 3", "abbb"),
        ("[1] * 2 + [3]", [1, 1, 3]),
        ("(1, 2)", (1, 2)),
        ("dict(a=1, **dict(b=2))", {"a": 1, "b": 2}),
        ("{**{'a': 1}, 'b': [*range(2)]}", {"a": 1, "b": [0, 1]}),
        ("f'stage{3 - 1}.{0.5:.2f}.{\"x\"!r}'", "stage2.0.50.'x'"),
        ("[10, 20, 30][-1]", 30),
        ("[10, 20, 30, 40][1:3]", [20, 30]),
        ("dict(a=dict(b=4))['a']['b']", 4),
        ("[2 * i for i in range(5) if i % 2]", [2, 6]),
        (
            "{f's{i}.{j}': i * j for i, n in enumerate([1, 2]) for j in range(n)}",
            {"s0.0": 0, "s1.0": 0, "s1.1": 1},
        ),
        ("sum(x for x in [1, 2])", 3),
        ("[a + b for a, b in zip([1, 2], (3, 4))]", [4, 6]),
        ("3 if 2 > 1 and not None else 4", 3),
        ("1 <= 2 < 3 and 'a' in ['a'] and None is None", True),
        (
            "len([1, 2]), max(1, 5), min([3, 2]), abs(-2), round(2.567, 1), int('7'), float(2)",
            (2, 5, 2, 2, 2.6, 7, 2.0),
        ),
        ("sorted([3, 1, 2], reverse=True)", [3, 2, 1]),
        ("list(dict(a=1).items())", [("a", 1)]),
        ("tuple(reversed([1, 2]))", (2, 1)),
        ("1 << 4 | 1", 17),
        ("1e-3", 0.001),
        ("'{}_{}'.format('a', 1).upper()", "A_1"),
        ("[3, 4].pop() + dict(a=1).setdefault('b', 2)", 6),
        ("range(3)", [0, 1, 2]),
    ],
)
def test_an_expression_has_the_value_that_python_gives_it(read, expression, value):
    assert read(f"x = {expression}") == {"x": value}


def test_functions_of_math_are_known(read):
    assert read("import math\nimport numpy as np\nx = math.ceil(117266 / 64), np.sqrt(4)") == {"x": (1833, 2.0)}


def test_a_keyword_given_twice_is_no_python(read):
    with pytest.raises(SourceError, match=r"model_1x.py:3: it is not Python: keyword argument repeated: lr"):
        read("x = 1\nif x == 2:\n    optimizer = dict(lr=1, momentum=0.9, lr=2)")


def test_of_a_key_given_twice_the_last_counts_with_a_caution(tmp_path):
    path, notes = tmp_path / "c.py", []
    path.write_text("keys = {'norm': 1, 'bias': 2,\n 'norm': 3}\nboth = dict(**{'norm': 4}, norm=5)\n")
    config = read_config(path, notes=notes)
    assert config["keys"] == {"norm": 3, "bias": 2}
    assert isinstance(config["both"], Unknown)  # a TypeError in Python
    (note,) = notes
    assert "c.py:2: a dict gives the key 'norm' twice; the last counts, as in Python" in note


def test_statements_change_what_they_name(read):
    config = read(
        """
        custom_keys = dict(norm=1)
        custom_keys.update({f'stage{i}': i for i in range(2)})
        dropped = custom_keys.pop('norm')
        alias = custom_keys
        alias['late'] = 5
        steps = [1]
        steps += [2]
        steps.append(3)
        steps[0] = 9
        n = 1
        n *= 4
        a, (b, c) = 1, (2, [3, 4])
        if n > 3:
            kind = 'big'
        else:
            kind = 'small'
        for i in range(2):
            custom_keys[f'for{i}'] = i
        del alias
        """
    )
    assert config == {
        "custom_keys": {"stage0": 0, "stage1": 1, "late": 5, "for0": 0, "for1": 1},
        "dropped": 1,
        "steps": [9, 2, 3],
        "n": 4,
        "a": 1,
        "b": 2,
        "c": [3, 4],
        "kind": "big",
        "i": 1,
    }


def test_dunder_names_imports_and_functions_are_no_entries(read):
    config = read(
        """
        '''A docstring.'''
        import math
        from torch import nn as layers
        __version__ = 1
        def helper(): return 1
        x = 2
        """
    )
    assert config == {"x": 2}


# Inheritance


def test_merging_follows_the_original():
    base = {"a": {"b": 1, "c": {"d": 2}}, "list": [1, 2], "kept": 0}
    assert merge({"a": {"c": {"d": 3}}}, base, "f") == {
        "a": {"b": 1, "c": {"d": 3}},
        "list": [1, 2],
        "kept": 0,
    }
    assert merge({"a": {"_delete_": True, "e": 4}, "list": [3]}, base, "f") == {
        "a": {"e": 4},
        "list": [3],
        "kept": 0,
    }
    assert merge({"a": 5}, base, "f")["a"] == 5
    assert merge({"a": {"_delete_": False, "b": 7}}, base, "f")["a"] == {"b": 7, "c": {"d": 2}}
    with pytest.raises(SourceError, match=r"kept is a dict here but int in the base: write _delete_=True"):
        merge({"kept": {"x": 1}}, base, "f")
    # consumed only where a base dict is merged over
    assert merge({"new": {"_delete_": True}}, base, "f")["new"] == {"_delete_": True}
    nested = {"_delete_": True, "c": {"_delete_": True}}
    assert merge({"a": nested}, base, "f")["a"] == {"c": {"_delete_": True}}


def test_a_config_inherits_from_several_bases(read):
    config = read(
        """
        _base_ = ['_base_/model.py', './_base_/schedule.py']
        model = dict(depth=101)
        """,
        model="model = dict(type='RCNN', depth=50)",
        schedule="optimizer = dict(lr=0.02)",
    )
    assert config == {"model": {"type": "RCNN", "depth": 101}, "optimizer": {"lr": 0.02}}


def test_two_bases_must_not_give_the_same_name(read):
    with pytest.raises(SourceError, match=r"model_1x.py:1: more than one base gives 'a'"):
        read("_base_ = ['_base_/x.py', '_base_/y.py']", x="a = 1", y="a = 1")


BASE = "lr = 0.1\noptim = dict(type='SGD', lr=lr)\nsteps = [dict(at=[1]), dict(at=[2])]\nname = 'n'"


def test_a_base_is_read_and_changed_through_its_name(read):
    config = read(
        """
        _base_ = '_base_/base.py'
        double = _base_.lr * 2
        pipeline = [dict(name={{_base_.name}}), {{ _base_.optim.lr }}]
        _base_.optim.type = 'AdamW'
        _base_.steps[1].at = [8, 11]
        _base_.optim.update(dict(betas=(0.9, 0.99)))
        del _base_.lr
        """,
        base=BASE,
    )
    assert config == {
        "double": 0.2,
        "pipeline": [{"name": "n"}, 0.1],
        "optim": {"type": "AdamW", "lr": 0.1, "betas": (0.9, 0.99)},
        "steps": [{"at": [1]}, {"at": [8, 11]}],
        "name": "n",
    }


def test_predefined_and_environment_references(read, tmp_path):
    text = """
        work_dir = 'runs/{{ fileBasenameNoExtension }}'
        folder = '{{fileDirname}}'
        data = '{{$DATA:data/coco}}/train'
        classes = {{'$CLASSES:80'}}
        """
    expected = {
        "work_dir": "runs/model_1x",
        "folder": str(tmp_path),
        "data": "data/coco/train",
        "classes": 80,
    }
    assert read(text) == expected
    assert read(text, environment={"CLASSES": "3"}) == {**expected, "classes": 3}


def test_the_process_environment_is_not_looked_at(read, monkeypatch):
    monkeypatch.setenv("DATA", "elsewhere")
    assert read("data = '{{$DATA:here}}'") == {"data": "here"}


def test_a_base_in_another_package(read, tmp_path):
    package = tmp_path / "elsewhere/other"
    (package / ".mim/configs/_base_").mkdir(parents=True)
    (package / ".mim/configs/_base_/s.py").write_text("lr = 3")
    text = "_base_ = 'other::_base_/s.py'"
    assert read(text, packages={"other": package}) == {"lr": 3}
    assert read(text, packages={"other": package / ".mim/configs"}) == {"lr": 3}
    with pytest.raises(SourceError, match=r"model_1x.py:1: 'other::_base_/s.py' lies in .*--package other=FOLDER"):
        read(text)
    with pytest.raises(SourceError, match="does not exist"):
        read("_base_ = 'other::_base_/t.py'", packages={"other": package})


@pytest.mark.parametrize("base", ["../outside.py", "/etc/hosts.py", "_base_/link.py", "_base_/../../outside.py"])
def test_a_base_outside_of_the_tree_is_refused(tmp_path, base):
    (tmp_path / "outside.py").write_text("a = 1")
    tree = tmp_path / "configs"
    (tree / "_base_").mkdir(parents=True)
    (tree / "_base_/link.py").symlink_to(tmp_path / "outside.py")
    (tree / "x.py").write_text(f"_base_ = {base!r}")
    with pytest.raises(SourceError, match=r"x.py:1: the base .* lies outside .*configs: pass root="):
        read_config(tree / "x.py")


def test_root_widens_where_bases_may_lie(tmp_path):
    (tmp_path / "outside.py").write_text("a = 1")
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs/x.py"
    path.write_text("_base_ = '../outside.py'")
    assert read_config(path, root=tmp_path) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "_base_ = 'model_1x.py'",
            r"model_1x.py: the config inherits from itself: model_1x.py -> model_1x.py",
        ),
        ("_base_ = '_base_/a.py'", r"inherits from itself: model_1x.py -> a.py -> b.py -> a.py"),
        ("_base_ = '_base_/missing.py'", r"model_1x.py:1: the base '_base_/missing.py' does not exist"),
        ("_base_ = 3", r"model_1x.py:1: `_base_` must be a path"),
        ("_base_ = [open('x')]", r"`_base_` must be a path"),
        ("if True:\n    _base_ = '_base_/a.py'", r"`_base_` must be assigned once"),
        ("x = 1\ny = (", r"model_1x.py:2: it is not Python"),
        ("x = 1\0", r"is not Python"),
        ("x = 1\ndel y", r"model_1x.py:2: `y` is deleted but not defined"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(read, text, message):
    with pytest.raises(SourceError, match=message):
        read(text, a="_base_ = 'b.py'", b="_base_ = ['a.py']")


@pytest.mark.parametrize("name", ["missing.py", "config.yaml", "folder.py"])
def test_what_is_no_config_file_is_refused(tmp_path, name):
    (tmp_path / "config.yaml").write_text("a: 1")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(SourceError, match=name):
        read_config(tmp_path / name)


# The pure-Python style


def test_the_pure_python_style(read):
    config = read(
        """
        from mmengine.config import read_base
        from torch.optim import AdamW
        import torch.nn as nn

        with read_base():
            from ._base_.schedule import *
            from ._base_.model import model as net

        optim_wrapper.update(dict(optimizer=dict(type=AdamW, lr=base_lr / 2)))
        train_cfg.max_epochs = 24
        param_scheduler[0].end = 1000
        net.merge(dict(head=dict(_delete_=True, act=nn.GELU)))
        milestones = [train_cfg.max_epochs // 3]
        """,
        schedule="""
        from mmengine.optim import LinearLR, OptimWrapper
        base_lr = 0.02
        train_cfg = dict(max_epochs=12)
        param_scheduler = [dict(type=LinearLR, end=500)]
        optim_wrapper = dict(type=OptimWrapper, optimizer=dict(lr=base_lr, momentum=0.9))
        """,
        model="model = dict(depth=50, head=dict(a=1))",
    )
    assert config == {
        "base_lr": 0.02,
        "train_cfg": {"max_epochs": 24},
        "param_scheduler": [{"type": "LinearLR", "end": 1000}],
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 0.01, "momentum": 0.9},
        },
        "net": {"depth": 50, "head": {"act": "GELU"}},
        "milestones": [8],
    }


def test_update_of_a_local_dict_is_pythons_own(read):
    assert read("a = dict(b=dict(c=1))\na.update(b=dict(d=2))") == {"a": {"b": {"d": 2}}}


def test_a_package_of_the_pure_python_style(read, tmp_path):
    (tmp_path / "lib/configs").mkdir(parents=True)
    (tmp_path / "lib/configs/s.py").write_text("lr = 3")
    text = "with read_base():\n    from lib.configs.s import lr"
    assert read(text, packages={"lib": tmp_path / "lib"}) == {"lr": 3}
    assert read(text, packages={"lib": tmp_path / "lib/configs"}) == {"lr": 3}
    with pytest.raises(SourceError, match="defines no `momentum`"):
        read("with read_base():\n    from lib.configs.s import momentum", packages={"lib": tmp_path / "lib"})


# What cannot be known


def test_the_unreadable_is_an_error_only_where_it_is_needed(read):
    config = read("lr = 0.1\nsteps = [8, compute(12)]")
    assert require(config["lr"], "optimizer.lr") == 0.1
    assert config["steps"][0] == 8
    with pytest.raises(SourceError, match=r"model_1x.py:2: lr_config.step needs `compute\(12\)`, which cannot be"):
        require(config["steps"], "lr_config.step")


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('touch hacked')",
        "open('hacked', 'w')",
        "().__class__.__base__.__subclasses__()",
        "(lambda: 1)()",
        "[].__class__",
        "'{0.__class__}'.format(1)",
        "'%999999999d' % 1",
        "f'{1:999999999}'",
        "undefined",
        "1 / 0",
        "[][1]",
        "dict(a=1)['b']",
        "dict(a=1).a",
        "(x := 3)",
        "(-8) ** 0.5",
        "-'a'",
        "not_there.attribute",
        "{[]: 1}",
        "{**3}",
        "dict(**undefined)",
        "1 + undefined",
        "[i for i in undefined]",
        "max([[1], [2]])",
        "'x' if undefined else 'y'",
        "'{{ _base_.x }}'",
        "{{ undefined }}",
        "...",
        "1j",
        "dict(1, 2)",
        "'a'.join(1)",
    ],
)
def test_what_python_cannot_tell_without_running_is_marked(read, expression):
    config = read(f"before = 1\nvalue = {expression}\nafter = 2")
    assert isinstance(config["value"], Unknown)
    assert config["value"].line == 2
    assert (config["before"], config["after"]) == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        "def change():\n    cfg['lr'] = 2\nf = change\nf()",
        "def change(by, *, to=2):\n    by['lr'] = to\n    return by\ncfg = change(alias)",
        "for i in [2, 3]:\n    cfg['lr'] = i\n    break",
        "for i in [3, 2]:\n    if i == 3:\n        continue\n    cfg['lr'] = i",
    ],
)
def test_functions_and_loops_of_the_file_are_followed(read, change):
    config = read(f"cfg = dict(lr=1)\nalias = cfg\n{change}\n")
    assert config["cfg"] == config["alias"] == {"lr": 2}
    assert "change" not in config


def test_a_function_of_the_file_sets_what_the_base_has(read):
    assert read("_base_ = '_base_/base.py'\ndef f():\n    _base_.lr = 3\nf()", base=BASE)["lr"] == 3


@pytest.mark.parametrize(
    "change",
    [
        "tune(cfg)",
        "tune(dict(inner=cfg))",
        "lib.tune(alias)",
        "cfg.unknown()",
        "cfg.update(tune())",
        "cfg[tune()] = 1",
        "cfg.lr = 2",
        "alias.pop(tune())",
        "exec('cfg = 1')",
        "globals()['cfg'] = 1",
        "g = globals\ng()",
        "def change():\n    global cfg\n    cfg = 2\nchange()",
        "f = lambda: cfg.clear()\nf()",
        "class A:\n    cfg['lr'] = 2",
        "while True:\n    cfg = 1",
        "try:\n    cfg = tune()\nexcept Exception:\n    pass",
        "with open('x') as cfg:\n    pass",
        "if tune():\n    cfg = 1",
        "for cfg in tune():\n    pass",
        "from elsewhere import *",
        "cfg, other = tune()",
        "[c.unknown() for c in [cfg]]",
        "cfg += tune()",
        "(cfg := tune())\ntune(1)",
        "for c in [cfg, cfg]:\n    cfg = c\n    tune(c)",
        "for c in [cfg, cfg]:\n    kept = c\n    tune(c)\ncfg = kept['lr']",
    ],
)
def test_what_unknown_code_could_have_changed_is_marked(read, change):
    """No value is ever stale: whatever code that is not run could reach is unreadable."""
    config = read(f"cfg = dict(lr=1)\nalias = cfg\nlib = 3\n{change}\n")
    assert isinstance(config["cfg"], Unknown)


def test_unknown_code_does_not_touch_what_it_cannot_reach(read):
    config = read(
        """
        optimizer = dict(lr=0.1)
        lr = 3
        model = dict(a=1)
        build(model, lr)
        if __name__ == '__main__':
            optimizer = build()
        """
    )
    assert config["optimizer"] == {"lr": 0.1}
    assert config["lr"] == 3
    assert isinstance(config["model"], Unknown)


def test_unknown_code_on_a_part_leaves_the_rest_of_the_whole(read):
    config = read("head = dict(lr=1)\nmodel = dict(head=head, depth=50, pair=(1, [head]))\ntune(head)")
    assert isinstance(config["model"]["head"], Unknown)
    assert isinstance(config["model"]["pair"][1][0], Unknown)
    assert config["model"]["depth"] == 50


@pytest.mark.parametrize(
    "later",
    ["_base_.merge(dict(lr=2))", "_base_.update(lr=2)", "_base_.kept = [_base_.steps]", "x = [0, *_base_.steps]"],
)
def test_what_is_not_known_any_more_stays_so_in_copies(read, later):
    config = read(f"_base_ = '_base_/base.py'\ntune(_base_.steps)\n{later}", base=BASE)
    assert isinstance(config["steps"], Unknown)
    assert "x" not in config or isinstance(config["x"], Unknown)
    assert "kept" not in config or isinstance(config["kept"][0], Unknown)
    assert config["optim"] == {"type": "SGD", "lr": 0.1}


@pytest.mark.parametrize(
    "copied", ["copy.copy(whole)", "copy.deepcopy(whole)", "whole.copy()", "dict(whole)", "{**whole}"]
)
def test_a_copy_of_what_holds_something_unknown_holds_it_too(read, copied):
    text = "import copy\nwith read_base():\n    from ._base_.base import whole\ntune(whole.steps)\n"
    config = read(f"{text}x = {copied}", base="whole = dict(steps=[1], lr=2)")
    assert isinstance(config["x"]["steps"], Unknown)
    assert config["x"]["lr"] == 2


def test_unknown_code_on_one_base_entry_leaves_the_others(read):
    config = read("_base_ = '_base_/base.py'\ntune(_base_.optim)", base=BASE)
    assert isinstance(config["optim"], Unknown)
    assert config["steps"] == [{"at": [1]}, {"at": [2]}]


@pytest.mark.parametrize("code", ["while True:\n    _base_.lr = 3", "def f():\n    _base_.lr = 3\ntune(f)"])
def test_code_that_is_not_run_may_set_a_number_of_the_base(read, code):
    assert isinstance(read(f"_base_ = '_base_/base.py'\n{code}", base=BASE)["lr"], Unknown)


@pytest.mark.parametrize(
    "change",
    ["tune(_base_)", "_base_.unknown()", "x = [_base_]\ntune(x)", "_base_['gone'][0] = 1", "getattr(_base_, n())"],
)
def test_unknown_code_on_the_whole_base_leaves_nothing(read, change):
    config = read(f"_base_ = '_base_/base.py'\n{change}", base=BASE)
    assert all(isinstance(config[name], Unknown) for name in ("optim", "steps", "lr"))


def test_what_code_binds_for_itself_is_no_entry(read):
    assert set(read("x = [1]\nf([i for i in x])\ndef g():\n    j = 1\ng()\nfrom elsewhere import *")) == {"x"}


def test_defaults_and_decorators_of_functions_are_run_where_they_stand(read):
    assert read("cfg = dict(lr=1)\ndef f(a=cfg.pop('lr')): pass") == {"cfg": {}}
    assert isinstance(read("cfg = dict(lr=1)\n@tune(cfg)\ndef f(): pass")["cfg"], Unknown)


def test_a_dict_over_something_unreadable_is_unreadable(read):
    config = read(
        "_base_ = '_base_/base.py'\na = dict(x=1)\nb = dict(_delete_=True, x=1)\nc = dict(_delete_=tune())",
        base="a = tune()\nb = tune()\nc = dict(x=2)",
    )
    assert isinstance(config["a"], Unknown)
    assert config["b"] == {"x": 1}
    assert isinstance(config["c"], Unknown)


def test_nothing_in_a_file_is_run(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read(
        """
        import os
        os.system('touch hacked')
        __import__('os').system('touch hacked')
        exec("open('hacked', 'w')")
        x = eval("open('hacked', 'w')")
        print(open('hacked', 'w'))
        @open('hacked', 'w')
        def f(a=open('hacked', 'w')): pass
        class A(open('hacked', 'w')): pass
        y = f'{open("hacked", "w")}'
        """
    )
    assert not Path("hacked").exists()
