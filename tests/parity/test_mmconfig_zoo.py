"""The reader of OpenMMLab configs against the Config of mmcv 1.7.2 and mmengine 0.10.7, on all MMDetection ships."""

import textwrap
import warnings

import fetch_zoo as zoo
import pytest

from jaxsched.ports.openmmlab.config._read import read_config
from jaxsched.ports.shared import SourceError


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def without_scope(value):
    if isinstance(value, dict):
        return {key: without_scope(child) for key, child in value.items() if key != "_scope_"}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_scope, value))
    return value


def test_every_config_of_mmdetection_2_reads_as_mmcv_reads_it(originals, quiet):
    mmcv, _ = originals
    paths = zoo.configs(zoo.CONFIGS_2)
    assert len(paths) == 634
    for path in paths:
        real = mmcv.Config.fromfile(str(path), import_custom_modules=False)._cfg_dict.to_dict()
        assert read_config(path) == real, path


def test_every_config_of_mmdetection_3_reads_as_mmengine_reads_it(originals, quiet, monkeypatch):
    _, mmengine = originals
    config = mmengine.config.config
    monkeypatch.setattr(config, "is_installed", lambda name: name in zoo.PACKAGES)
    monkeypatch.setattr(config, "get_installed_path", lambda name: str(zoo.PACKAGES[name]))
    equal, broken = 0, []
    for path in zoo.configs(zoo.CONFIGS_3):
        if path.name == "override_category.py":  # a script that lies among the configs
            continue
        try:
            real = mmengine.Config.fromfile(str(path), import_custom_modules=False).to_dict()
        except FileNotFoundError:
            broken.append(path)
            continue
        assert read_config(path, packages=zoo.PACKAGES) == without_scope(real), path
        equal += 1
    assert equal == 816
    assert len(broken) == 4
    for path in broken:
        with pytest.raises(SourceError, match=r"the base .* does not exist"):
            read_config(path)


BASE = """
    from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
    from torch.optim.sgd import SGD
    max_epochs = 12
    train_cfg = dict(max_epochs=max_epochs, val_interval=1)
    param_scheduler = [
        dict(type=LinearLR, start_factor=0.001, by_epoch=False, end=500),
        dict(type=MultiStepLR, end=max_epochs, milestones=[8, 11]),
    ]
    optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02, momentum=0.9))
    """


@pytest.mark.parametrize(
    "child",
    [
        "train_cfg.update(dict(max_epochs=300))",
        "train_cfg.update(max_epochs=24, extra=dict(a=1))",
        "optim_wrapper.update(dict(optimizer=dict(lr=0.1)))",
        "optim_wrapper.update(dict(optimizer=dict(_delete_=True, lr=0.1)))",
        "optim_wrapper.merge(dict(optimizer=dict(_delete_=True, lr=0.1)))",
        "optim_wrapper.merge(dict(optimizer=dict(lr=[dict(a=1)]), new=dict(b=dict(_delete_=True, c=1))))",
        "optim_wrapper.optimizer.lr = 1e-3 * 2",
        "optim_wrapper['optimizer']['lr'] = max_epochs / 4",
        "param_scheduler[1].milestones = [max_epochs // 3, max_epochs - 1]",
        "param_scheduler[1]['end'] = 5\nparam_scheduler.append(dict(a=1))",
        "param_scheduler = [dict(type=LinearLR), *param_scheduler[1:]]",
        "optim_wrapper = dict(type=AdamW, old=optim_wrapper.optimizer)\noptim_wrapper.update(old=dict(x=1))",
        "gone = optim_wrapper.pop('optimizer')\nmissing = optim_wrapper.pop('nothing')",
        "got = train_cfg.get('nothing', 5)\nkeys = [k for k in train_cfg]\nspread = dict(**train_cfg)",
        "del param_scheduler",
        "local = dict(a=dict(b=1))\ntrain_cfg.update(local=local)\nlocal['a']['b'] = 2\ntrain_cfg.local.a.c = 3",
        "alias = train_cfg\nalias.max_epochs = 7",
        "if max_epochs > 3:\n    size = 'big'\nfor i in range(2):\n    train_cfg[f'k{i}'] = i",
        "shallow = train_cfg.copy()\nshallow.max_epochs = 1",
    ],
)
def test_the_pure_python_style_reads_as_mmengine_reads_it(originals, quiet, tmp_path, child):
    _, mmengine = originals
    (tmp_path / "_base_").mkdir()
    (tmp_path / "_base_/schedule.py").write_text(textwrap.dedent(BASE))
    path = tmp_path / "config.py"
    path.write_text(
        "from mmengine.config import read_base\nfrom torch.optim import AdamW\n"
        f"with read_base():\n    from ._base_.schedule import *\n{child}\n"
    )
    config = mmengine.Config.fromfile(str(path))
    real = {key: value for key, value in config.to_dict().items() if key not in config._imported_names}
    assert read_config(path) == last_components(real)


def last_components(value):
    """mmengine writes an imported class as its dotted path; its name is what a config of the other style has."""
    if isinstance(value, dict):
        return {key: last_components(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(last_components, value))
    return value.rpartition(".")[2] if isinstance(value, str) and value.startswith(("mmengine.", "torch.")) else value
