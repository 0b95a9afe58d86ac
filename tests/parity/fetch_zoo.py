"""Fetches what the OpenMMLab parity tests compare with: the config folders of MMDetection 2.28.2 and 3.3.0 (and of
MMPretrain, which five of the latter inherit from), mmcv 1.7.2's sources and mmengine 0.10.7.

    python tests/parity/fetch_zoo.py [folder]

The folder is $JAXSCHED_ZOO, or `.zoo` in the repository. Everything comes from the package index that pip is set up
for; what is there already is kept.
"""

from __future__ import annotations

import contextlib
import importlib
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
    "mmcv": "mmcv==1.7.2",
}
SITE = ("mmengine==0.10.7", "addict==2.4.0", "yapf==0.43.0", "termcolor==3.3.0", "platformdirs==4.14.5")

CONFIGS_2 = ZOO / "mmdet2/mmdet/.mim/configs"
CONFIGS_3 = ZOO / "mmdet3/mmdet/.mim/configs"
PACKAGES = {"mmpretrain": ZOO / "mmpretrain/mmpretrain"}


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
    if not (zoo / "site/mmengine").is_dir():
        pip("install", "--target", str(zoo / "site"), *SITE)


def download(requirement: str, folder: Path) -> None:
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
    with stubs("cv2", "torchvision"):  # which only mmcv's image and checkpoint code uses
        return importlib.import_module("mmcv"), importlib.import_module("mmengine")


@contextlib.contextmanager
def stubs(*names: str):
    """Stands in for large packages while something that merely mentions them is imported."""

    class Stub(types.ModuleType):
        def __getattr__(self, name: str):
            if name.startswith("__"):
                raise AttributeError(name)
            return 0

    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: Stub(name) for name in names})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def configs(folder: Path) -> list[Path]:
    """The configs of a folder that are meant to be run, in a fixed order."""
    return sorted(path for path in folder.rglob("*.py") if "_base_" not in path.parts)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else ZOO)
