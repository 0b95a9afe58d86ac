"""Files beside the tests that are programs of their own, not tests; and what a module compiled goes when it is done."""

import os
import shutil
import tempfile

import jax
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("any speed", parent=settings(), deadline=None)  # the parent is CI's where CI is set
settings.load_profile("any speed")

collect_ignore = [
    "core_alone.py",
    "package.py",
    "parity/_torchvision.py",
    "parity/install.py",
    "detector/devices_script.py",
    "parity/ultralytics_loop.py",
]


if not hasattr(jax, "enable_x64"):  # before jax 0.8
    from jax.experimental import enable_x64

    jax.enable_x64 = enable_x64


def pytest_configure(config):
    """What is compiled is kept for the modules, workers and subprocesses that compile the same; half of the time goes
    into compilation. jax finds it by the whole program, the compiler's options and its version, in a folder that is
    empty when a run begins."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not folder:
        folder = tempfile.mkdtemp(prefix="compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    options = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in options.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


PRINT_OPTIONS = np.get_printoptions()


def pytest_collection_finish(session):
    """Originals change how numpy prints when they are imported, which the doctests of the package would see."""
    np.set_printoptions(**PRINT_OPTIONS)


@pytest.fixture(scope="module", autouse=True)
def _each_module_leaves_jax_as_it_was():
    """Compiled programs are freed, or a worker ends with 5 GB of them; 64-bit mode and numpy's way to print, which an
    original may change when it is imported, are as before for the doctests that follow."""
    yield
    jax.config.update("jax_enable_x64", False)
    np.set_printoptions(**PRINT_OPTIONS)
    jax.clear_caches()
