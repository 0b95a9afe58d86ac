"""Files beside the tests that are programs of their own, not tests; and what a module compiled goes when it is done."""

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
