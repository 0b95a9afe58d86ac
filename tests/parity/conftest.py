"""What several parity tests compare with. With JAXSCHED_NO_SKIPS=1 a skipped test is a failure."""

import os

import fetch_zoo as zoo
import pytest


@pytest.fixture(scope="session")
def originals():
    """mmcv's and mmengine's modules."""
    if not zoo.ZOO.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    return zoo.originals()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("JAXSCHED_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        for report in reporter.stats["skipped"]:
            print(f"\nnot checked: {report.nodeid}: {report.longrepr}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
