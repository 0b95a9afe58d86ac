"""Fetches what the OpenMMLab parity tests compare with: the config folders of MMDetection 2.28.2 and 3.3.0 (and of
MMPretrain, which five of the latter inherit from) and of five more packages, mmcv 1.7.2's sources and mmengine 0.10.7.
Of DeepSpeed and YOLOX, which need a compiler to be installed, the sources.

    python tests/parity/fetch_zoo.py [folder]

The folder is $JAXSCHED_ZOO, or `.zoo` in the repository. Everything comes from the package index that pip is set up
for; what is there already is kept.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import types
import zipfile
from pathlib import Path

ZOO = Path(os.environ.get("JAXSCHED_ZOO") or Path(__file__).resolve().parents[2] / ".zoo")
ARCHIVES = {
    "mmdet2": "mmdet==2.28.2",
    "mmdet3": "mmdet==3.3.0",
    "mmpretrain": "mmpretrain==1.2.0",
    "mmseg": "mmsegmentation==1.2.2",
    "mmpose": "mmpose==1.3.2",
    "mmyolo": "mmyolo==0.6.0",
    "mmaction": "mmaction2==1.2.0",
    "mmdet3d": "mmdet3d==1.4.0",
    "mmselfsup": "mmselfsup==0.11.0",
    "mmselfsup1": "mmselfsup==1.0.0",
    "mmcls": "mmcls==0.25.0",
    "mmflow": "mmflow==0.5.2",
    "mmedit": "mmedit==0.16.1",
    "mmcv": "mmcv==1.7.2",
    "deepspeed": "deepspeed==0.19.8",
    "deepspeed15": "deepspeed==0.15.2",
    "yolox": "yolox==0.3.0",
}
SITE = ("mmengine==0.10.7", "addict==2.4.0", "yapf==0.43.0", "termcolor==3.3.0", "platformdirs==4.14.5")

CONFIGS_2 = ZOO / "mmdet2/mmdet/.mim/configs"
CONFIGS_3 = ZOO / "mmdet3/mmdet/.mim/configs"
PACKAGES = {"mmpretrain": ZOO / "mmpretrain/mmpretrain"}
OTHERS = {name: ZOO / name / name for name in ("mmpretrain", "mmseg", "mmpose", "mmyolo", "mmaction", "mmdet3d")}
"""Packages whose configs are read beside MMDetection's, each with its folder."""
OLDER = {name: ZOO / name / name for name in ("mmselfsup", "mmcls", "mmflow", "mmedit")}
"""Packages of mmcv 1.x."""
POLICIES = (
    "mmdet2/mmdet/core/hook/yolox_lrupdater_hook.py",
    "mmselfsup/mmselfsup/core/hooks/cosine_annealing_hook.py",
    "mmcls/mmcls/core/hook/lr_updater.py",
    "mmflow/mmflow/core/hooks/multistagelr_updater.py",
    "mmedit/mmedit/core/scheduler/lr_updater.py",
)
"""Files with policies of lr_config."""

ULTRALYTICS = (
    *("8.0.100", "8.0.138", "8.0.190", "8.0.239", "8.1.41", "8.1.42", "8.2.6", "8.2.8", "8.3.0", "8.3.253"),
    *("8.4.0", "8.4.3", "8.4.8", "8.4.102", "8.4.103", "8.4.177", "8.4.183"),
)
"""Releases whose training loops are compared: those on both sides of each change."""


def pip(*arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run(command, check=True, env={**os.environ, **(environment or {})})


def fetch(zoo: Path = ZOO) -> None:
    zoo.mkdir(parents=True, exist_ok=True)
    for name, requirement in ARCHIVES.items():
        if (zoo / name).is_dir():
            continue
        with tempfile.TemporaryDirectory(dir=zoo) as folder:
            download(requirement, Path(folder))
            (archive,) = (path for path in Path(folder).iterdir() if path.suffix in {".whl", ".gz"})
            unpack(archive, Path(folder, "unpacked"))
            os.replace(Path(folder, "unpacked"), zoo / name)
    for release in ULTRALYTICS:
        if not any((zoo / "ultralytics").glob(f"ultralytics-{release}-*.whl")):
            pip("download", "--dest", str(zoo / "ultralytics"), f"ultralytics=={release}")
    if not (zoo / "site/mmengine").is_dir():
        pip("install", "--target", str(zoo / "site"), *SITE)


def download(requirement: str, folder: Path) -> None:
    if requirement.startswith("deepspeed"):
        pip("download", "--no-binary", "deepspeed", "--dest", str(folder), requirement)
        return
    if requirement.startswith("yolox"):  # whose setup.py imports torch
        pip("download", "--no-binary", "yolox", "--no-build-isolation", "--dest", str(folder), requirement)
        return
    if not requirement.startswith("mmcv"):
        pip("download", "--dest", str(folder), requirement)
        return
    # mmcv 1.7.2 has no wheel, and its setup.py needs pkg_resources, which setuptools 81 dropped
    constraint = folder / "constraint.txt"
    constraint.write_text("setuptools<81\n")
    environment = {
        "PIP_BUILD_CONSTRAINT": str(constraint),
        "PIP_CONSTRAINT": str(constraint),
        "MMCV_WITH_OPS": "0",
    }
    pip("download", "--no-binary", "mmcv", "--dest", str(folder), requirement, environment=environment)


def unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
        return
    with tarfile.open(archive) as source:
        top = source.getnames()[0].split("/")[0]
        source.extractall(folder, filter="data")
    for path in (folder / top).iterdir():
        path.rename(folder / path.name)


# For the tests


def originals() -> tuple[types.ModuleType, types.ModuleType]:
    """The real (mmcv, mmengine), imported from the zoo; an error if it was not fetched."""
    for name in ("mmcv", "site"):
        if not (ZOO / name).is_dir():
            raise FileNotFoundError(f"{ZOO / name} is missing: run `python tests/parity/fetch_zoo.py`")
        if str(ZOO / name) not in sys.path:
            sys.path.append(str(ZOO / name))
    with instead("cv2", "torchvision", by=Stub):  # which only mmcv's image and checkpoint code uses
        importlib.import_module("mmcv.runner.hooks")
    with instead("transformers", by=lambda _: None):  # as if not installed: mmengine would only register its optimizer
        importlib.import_module("mmengine.optim.scheduler")
    return sys.modules["mmcv"], sys.modules["mmengine"]


class Stub(types.ModuleType):
    """Stands in for a large package while something that merely mentions it is imported."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


@contextlib.contextmanager
def instead(*names: str, by):
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: by(name) for name in names})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def mmcv_values(config: dict, run, bases: list[float], what: str = "lr"):
    """What mmcv's own hook has set at each iteration of ``run``, for groups with these base values.

    The hook is driven in the order of mmcv's own runners; calls that do nothing are left out.
    """
    import numpy as np
    from mmcv.runner.hooks import HOOKS

    for file in POLICIES:
        load(ZOO / file)
    config = dict(config)
    if run.epochs is None and what == "lr":
        config.setdefault("by_epoch", False)  # as IterBasedRunner.register_training_hooks does
    policy = config.pop("policy")
    policy = policy.title() if policy == policy.lower() else policy
    hook = HOOKS.build({"type": f"{policy}{'Lr' if what == 'lr' else 'Momentum'}UpdaterHook", **config})
    groups = [{what: base} for base in bases]
    runner = types.SimpleNamespace(
        optimizer=types.SimpleNamespace(param_groups=groups, defaults={what: bases[0]}),
        data_loader=range(run.steps_per_epoch),
        max_epochs=run.epochs,
        max_iters=run.steps,
        epoch=0,
        iter=0,
    )
    hook.before_run(runner)
    values = np.empty((run.steps, len(bases)))
    step, warmup = 0, hook.warmup_iters
    while step < run.steps:
        runner.iter = step
        runner.epoch = step // run.steps_per_epoch
        if run.epochs is not None and step % run.steps_per_epoch == 0:
            hook.before_train_epoch(runner)
            warmup = hook.warmup_iters
        hook.before_train_iter(runner)
        values[step] = [group[what] for group in groups]
        step += 1
        if hook.by_epoch and step > warmup + 1:  # before_train_iter does nothing until the next epoch
            end = min(-(-step // run.steps_per_epoch) * run.steps_per_epoch, run.steps)
            values[step:end] = values[step - 1]
            step = end
    return values


def mmengine_values(config, run, bases: list[float], what: str = "lr"):
    """What mmengine's own schedulers have set at each iteration of ``run``, for groups with these base values.

    They are stepped in the order of mmengine's own hook, as long as their window lasts.
    """
    import numpy as np
    import torch
    from mmengine.registry import PARAM_SCHEDULERS

    with instead("mmdet", "mmdet.registry", by=lambda _: sys.modules["mmengine.registry"]):
        load(ZOO / "mmdet3/mmdet/engine/schedulers/quadratic_warmup.py")
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], what: base} for base in bases]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    groups = optimizer.param_groups
    every_step, every_epoch = [], []
    for entry in config if isinstance(config, (list, tuple)) else [config]:
        by_epoch = entry.get("by_epoch", True)
        end = (run.epochs or 1) if by_epoch else run.steps
        name = entry["type"].rpartition(".")[2]
        made = PARAM_SCHEDULERS.build(
            {"end": end, **entry, "type": name},
            default_args={"optimizer": optimizer, "epoch_length": run.steps_per_epoch},
        )
        (every_epoch if made.by_epoch else every_step).append(made)
    optimizer._global_step = 0  # as after optimizer.step(), so that they do not warn
    values = np.empty((run.steps, len(bases)))
    epoch = run.steps_per_epoch if run.epochs is not None else run.steps
    for start in range(0, run.steps, epoch):
        step, end = start, min(start + epoch, run.steps)
        while step < end:
            every_step = [one for one in every_step if one._global_step + 1 < one.end]
            values[step] = [group[what] for group in groups]
            if not every_step:
                values[step:end] = values[step]
                break
            for one in every_step:
                one.step()
            step += 1
        for one in every_epoch:
            one.step()
    return values


def mmengine_plateau(config, run, base: float, metrics: dict[int, float]):
    """The learning rate at each iteration where ``metrics[epoch]`` is reported after an epoch, from 1."""
    import numpy as np
    import torch
    from mmengine.registry import PARAM_SCHEDULERS

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    schedulers = []
    for entry in config:
        end = run.epochs if entry.get("by_epoch", True) else run.steps
        schedulers.append(PARAM_SCHEDULERS.build({"end": end, **entry}, default_args={"optimizer": optimizer}))
    optimizer._global_step = 0
    values = np.empty(run.steps)
    for step in range(run.steps):
        values[step] = optimizer.param_groups[0]["lr"]
        for one in schedulers:
            if not one.by_epoch:
                one.step()
        epoch, rest = divmod(step + 1, run.steps_per_epoch)
        if rest == 0:
            for one in schedulers:
                if one.by_epoch:
                    one.step()
            for one in schedulers:
                if epoch in metrics and getattr(one, "need_val_args", False):
                    one.step({"loss": metrics[epoch]})
    return values


def layer_decay_functions() -> dict:
    """MMDetection's own functions from a parameter's name to its layer, by decay type."""
    with instead("mmdet", "mmdet.registry", by=lambda _: sys.modules["mmengine.registry"]):
        module = load(ZOO / "mmdet3/mmdet/engine/optimizers/layer_decay_optimizer_constructor.py")
    return {"layer_wise": module.get_layer_id_for_convnext, "stage_wise": module.get_stage_id_for_convnext}


class Registries(types.ModuleType):
    """Stands in for a package's ``registry``: what it registers is not kept, what it builds is mmengine's."""

    def __getattr__(self, name: str):
        from mmengine import registry

        if name.startswith("__"):
            raise AttributeError(name)
        real = getattr(registry, name)
        return types.SimpleNamespace(register_module=lambda *_, **__: lambda made: made, build=real.build)


def of_package(package: str, file: str) -> types.ModuleType:
    """One file of a package of `OTHERS`, without the rest of it."""
    with instead(package, f"{package}.registry", by=Registries):
        return load(OTHERS[package] / file)


def load(path: Path) -> types.ModuleType:
    """One file of a package that cannot be imported as a whole without compiled parts; once only, as it registers."""
    name = "zoo_" + "_".join(path.relative_to(ZOO).with_suffix("").parts)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def configs(folder: Path) -> list[Path]:
    """The configs of a folder that are meant to be run, in a fixed order."""
    return sorted(path for path in folder.rglob("*.py") if "_base_" not in path.parts)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else ZOO)
