"""lint over every training config of MMDetection 2.28.2 and 3.3.0: what it finds is true, and it finds little else."""

import collections
import contextlib
import warnings

import fetch_zoo as zoo
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import openmmlab

NEVER_DECAY = {
    "faster_rcnn/faster-rcnn_r50-caffe-dc5_ms-3x_coco.py",
    "faster_rcnn/faster-rcnn_r50-caffe_fpn_ms-2x_coco.py",
    "mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-3x_coco.py",
    "strong_baselines/mask-rcnn_r50-caffe_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-400e_coco.py",
}
"""Of MMDetection 3: their milestones lie at or after the ``end`` that their scheduler inherits."""
READ = {"2.28.2": 634, "3.3.0": 806}
EXPECTED = {
    "2.28.2": {("length-mismatch", "remark"): 6},  # YOLOX's cosine ends 15 epochs early, as it should
    "3.3.0": {
        ("length-mismatch", "remark"): 15,  # as above, and ByteTrack and OC-SORT 10 epochs
        ("never-decays", "warning"): 4,
        ("other-generation", "warning"): 1,  # GA Fast R-CNN keeps an optimizer_config of mmcv
        ("unread-hook", "warning"): 4,  # Soft Teacher's MeanTeacherHook
        ("zero-lr", "remark"): 3,  # grounding DINO: lr_mult=0 for a part
    },
}


@pytest.mark.parametrize(("version", "folder"), [("2.28.2", zoo.CONFIGS_2), ("3.3.0", zoo.CONFIGS_3)])
def test_what_lint_finds(version, folder, capsys):
    if not zoo.ZOO.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    table, where, recipes = collections.Counter(), collections.defaultdict(list), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in zoo.configs(folder):
            # those only to test with, and five that inherit from files that are not there, are counted below
            with contextlib.suppress(ValueError):
                recipes[path] = openmmlab.read(path, steps_per_epoch=7330, packages=zoo.PACKAGES)
    for path, recipe in recipes.items():
        for finding in js.lint(recipe):
            table[finding.code, finding.severity] += 1
            where[finding.code].append((str(path.relative_to(folder)), recipe))
    with capsys.disabled():
        print(f"\nlint of the {len(recipes)} configs of MMDetection {version}:")
        for (code, severity), count in sorted(table.items()):
            print(f"  {count:4}  {severity:8} {code}")
    assert len(recipes) == READ[version]
    assert dict(table) == EXPECTED[version]
    if version == "3.3.0":
        assert {name for name, _ in where["never-decays"]} == NEVER_DECAY
        for _, recipe in where["never-decays"]:
            lr = js.curves(recipe, np.arange(2000, recipe.steps, 500))["weight"]["lr"]
            assert (lr == lr[0]).all()
