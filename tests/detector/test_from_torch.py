"""``.pt`` files: read without torch and without running them, with the anchors and the names they have."""

import os
import sys
import zipfile

import numpy as np
import pytest
from flax import nnx

from examples.detector import from_torch, torch_file, weights
from examples.detector.model import ANCHORS, EPSILON, STRIDES, YOLOv5
from examples.detector.weights import flat_state

from .recorded import FOLDER, PICO, recorded

OTHER = tuple(tuple((w + 1.0, 2.0 * h) for w, h in level) for level in ANCHORS)
CELLS = (np.array(OTHER) / np.array(STRIDES)[:, None, None]).astype(np.float32)


def state_dict():
    """YOLOv5's own, of the pico network of ten classes."""
    golden = recorded("forward")
    return {key[6:]: golden[key] for key in golden if key.startswith("state/")}


def network():
    return nnx.eval_shape(lambda: YOLOv5(10, *PICO, rngs=nnx.Rngs(0)))


def test_tensors_of_a_file_that_torch_wrote_are_read_without_torch():
    """small.pt, by torch 2.13.0: ``torch.save({"a": torch.arange(6.).reshape(2, 3).T, "half": ..., "int": ...})``."""
    content = torch_file.read(FOLDER / "small.pt")
    np.testing.assert_array_equal(content["a"], np.arange(6.0).reshape(2, 3).T)
    np.testing.assert_array_equal(content["half"], np.array([0.5, -2], np.float16))
    np.testing.assert_array_equal(content["bfloat16"], np.array([1.5, -0.25], np.float32))
    np.testing.assert_array_equal(content["int"], [1, 2, 3])
    assert content["module"].state["names"] == ["cat", "dog"]
    np.testing.assert_array_equal(torch_file.state_dict(content["module"])["conv.weight"], np.ones((2, 1, 1, 1)))
    assert "torch" not in sys.modules or "torch" not in torch_file.__dict__


class Runs:
    """Would leave a file behind if it were unpickled by Python's own means."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return path


def test_nothing_in_a_file_is_run(tmp_path):
    import pickle

    file = zipped(tmp_path / "bad.pt", pickle.dumps({"model": Runs(tmp_path / "ran")}, protocol=2))
    content = torch_file.read(file)
    assert isinstance(content["model"], torch_file.Record)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match=r"bad.pt: there is no .* not of YOLOv5 v6"):
        weights.load(file)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}q\x00.", (FOLDER / "small.pt").read_bytes()[:900]])
def test_what_is_no_pt_is_one_line(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x.pt cannot be read as a .pt .*Copy it again") as caught:
        weights.load(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


def test_anchors_are_read_with_the_weights_and_not_dropped():
    given = state_dict() | {"model.24.anchors": CELLS}
    assert np.allclose(from_torch.anchors_of(given), OTHER, rtol=1e-6)
    with pytest.raises(ValueError, match=r"the state_dict has the anchors .* Give them to the model"):
        from_torch.load_torch(network(), given)
    found = from_torch.describe(from_torch.flax_arrays(given), from_torch.anchors_of(given))
    assert (found.depth, found.width, len(found.names)) == (0.33, 0.125, 10)
    assert np.allclose(found.abstract().anchors, OTHER, rtol=1e-6)


def test_the_sizes_are_recognised():
    for depth, width in ((0.33, 0.5), (0.67, 0.75), (1.0, 1.0), (0.5, 0.25), (0.33, 0.375)):
        model = nnx.eval_shape(lambda d=depth, w=width: YOLOv5(4, d, w, rngs=nnx.Rngs(0)))
        found = from_torch.describe(flat_state(model), ANCHORS)
        assert (found.depth, found.width, found.names) == (depth, width, ("0", "1", "2", "3"))


@pytest.mark.parametrize(
    "held",
    [
        lambda arrays: arrays,
        lambda arrays: {name.removeprefix("model."): value for name, value in arrays.items()},
        lambda arrays: {f"module.{name}": value for name, value in arrays.items()},
        lambda arrays: {f"_orig_mod.model.{name}": value for name, value in arrays.items()},
        lambda arrays: {"state_dict": arrays, "epoch": 3},
        lambda arrays: {"model_state_dict": arrays, "optimizer_state_dict": {}},
        lambda arrays: {"model": arrays, "ema": None, "opt": {"imgsz": 640}},
    ],
)
def test_a_state_dict_is_found_wherever_a_file_holds_it(tmp_path, monkeypatch, held):
    path = tmp_path / "w.pt"
    path.touch()
    monkeypatch.setattr(torch_file, "read", lambda _: held(state_dict() | {"model.24.anchors": CELLS}))
    found = weights.load(path)
    assert (found.description.depth, found.description.width, len(found.description.names)) == (0.33, 0.125, 10)
    assert np.allclose(found.description.anchors, OTHER, rtol=1e-6)
    assert set(found.arrays) == set(flat_state(network()))


def test_names_beside_a_state_dict_are_the_classes(tmp_path, monkeypatch):
    path = tmp_path / "w.pt"
    path.touch()
    names = [f"digit {k}" for k in range(10)]
    monkeypatch.setattr(torch_file, "read", lambda _: {"model": state_dict(), "names": names})
    assert weights.load(path).description.names == tuple(names)


def test_weights_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.pt"
    path.touch()
    bad = state_dict() | {"model.24.m.0.bias": np.full(45, np.nan, np.float32)}
    monkeypatch.setattr(torch_file, "read", lambda _: bad)
    with pytest.raises(ValueError, match=r"w.pt: 1 arrays hold numbers that are not finite, first head/levels/0/bias"):
        weights.load(path)


def test_fused_batch_norm_is_read_as_one_that_changes_nothing():
    """Its scale and mean go into the convolution, as torch's fuse_conv_and_bn does; the result is the same."""
    plain = state_dict()
    fused = {}
    for name, value in plain.items():
        if ".conv.weight" in name:
            bn = name.replace("conv.weight", "bn.")
            gain = plain[bn + "weight"] / np.sqrt(plain[bn + "running_var"] + EPSILON)
            fused[name] = value * gain[:, None, None, None]
            fused[name.replace("weight", "bias")] = plain[bn + "bias"] - gain * plain[bn + "running_mean"]
        elif ".bn." not in name:
            fused[name] = value
    assert len(fused) < len(plain)
    images = recorded("forward")["rect/image"].transpose(0, 2, 3, 1)
    outputs = []
    for given in (plain, fused):
        model = network()
        from_torch.load_torch(model, given)
        outputs.append(nnx.jit(lambda model: model(images))(model))
    for want, got in zip(*outputs, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * float(abs(want).max()))  # 60 layers of rounding


def test_a_whole_checkpoint_of_yolov5_is_read(tmp_path):
    torch = pytest.importorskip("torch")

    class DetectionModel(torch.nn.Module):  # stands for one whose class is not here when it is read
        pass

    model = DetectionModel()
    for name, value in (state_dict() | {"model.24.anchors": CELLS}).items():
        *path, leaf = name.split(".")
        module = model
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(leaf, torch.from_numpy(np.array(value)).half())
    model.names = {k: f"digit {k}" for k in range(10)}
    sys.modules[__name__].DetectionModel = DetectionModel
    DetectionModel.__qualname__ = "DetectionModel"
    torch.save({"ema": None, "model": model, "opt": {"imgsz": 320}}, tmp_path / "best.pt")
    del sys.modules[__name__].DetectionModel
    found = weights.load(tmp_path / "best.pt")
    assert found.description.names == tuple(f"digit {k}" for k in range(10))
    assert found.description.image_size == 320
    np.testing.assert_allclose(found.description.anchors, OTHER, rtol=2**-10)
    assert set(found.arrays) == set(flat_state(network()))
    want = state_dict()["model.0.conv.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(found.arrays["backbone/0/conv/kernel"], want, rtol=2**-10, atol=1e-6)
