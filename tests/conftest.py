"""Files beside the tests that are programs of their own, not tests; and what a module compiled goes when it is done."""

import jax
import pytest

collect_ignore = ["core_alone.py", "parity/_torchvision.py", "parity/install.py", "detector/devices_script.py"]


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_freed():
    """Else a worker ends with 5 GB of them."""
    yield
    jax.clear_caches()
