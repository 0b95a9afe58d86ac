"""One run at a time in a folder."""

import os

import pytest

from examples.detector.lock import locked


def test_a_folder_is_held_until_the_block_ends(tmp_path):
    out = tmp_path / "new" / "out"
    with locked(out):
        said = rf"--out .* is in use by another run .process {os.getpid()}.\. Wait for it, or choose another --out"
        with pytest.raises(ValueError, match=said), locked(out):
            pass
    with locked(out):
        pass


def test_a_lock_that_a_killed_run_left_holds_nothing(tmp_path):
    (tmp_path / ".lock").write_text("1")
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
