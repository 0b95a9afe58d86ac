"""The embedded scenes."""

from examples.detector.scenes import scenes
from examples.detector.sources import read_data


def test_scenes_are_the_same_each_time_and_share_nothing_between_splits(tmp_path):
    counts = {"train": 6, "val": 4}
    folders = [scenes(tmp_path / name, counts) for name in "ab"]
    files = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert files[0] == files[1]
    assert all((folders[0] / p).read_bytes() == (folders[1] / p).read_bytes() for p in files[0])
    data = read_data(folders[0], "train")
    assert (len(data), data.names) == (6, tuple("0123456789"))
    assert all(1 <= len(c) <= 5 for c in data.classes)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # nothing half-written is left
