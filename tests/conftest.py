"""Files beside the tests that are programs of their own, not tests; and what a module compiled goes when it is done."""

import jax
import pytest

collect_ignore = [
    "core_alone.py",
    "parity/_torchvision.py",
    "parity/install.py",
    "detector/devices_script.py",
    "parity/ultralytics_releases.py",
]


@pytest.fixture(scope="module", autouse=True)
def _each_module_leaves_jax_as_it_was():
    """Compiled programs are freed, or a worker ends with 5 GB of them; and 64-bit mode, which an original may turn on
    when it is imported, is off again for the doctests that follow."""
    yield
    jax.config.update("jax_enable_x64", False)
    jax.clear_caches()
