"""The one reader of files: what it refuses, and that it does so at once."""

import os

import pytest

from jaxsched.ports import shared

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", BOMB, "more than 200,000 values"),
        ("a.yaml", MERGE_BOMB, "more than 200,000 values"),
        ("a.yaml", "a: &a [*a]", "contains itself"),
        ("a.yaml", "a: " + "[" * 5000, "a.yaml is not valid YAML"),
        ("a.yaml", "a: " + "[" * 200 + "]" * 200, "nested too deeply"),
        ("a.yaml", "lr: 1\nlr: 2", "line 2: the key 'lr' appears twice"),
        ("a.yaml", "lr: 1\nlr: '1'", "line 2: the key 'lr' appears twice"),
        ("a.yaml", "SOLVER: {STEPS: [1, 2], STEPS: [1, 3]}", "the key 'STEPS' appears twice"),
        ("a.yaml", "SOLVER: {MODEL: {lr: 1, lr: 2}}", "the key 'lr' appears twice"),
        ("a.yaml", "lr: 2024-99-99", "a.yaml is not valid YAML"),
        ("a.yaml", "a: 1\n---\nb: 2", "a.yaml is not valid YAML"),
        ("a.yaml", "a: !!binary x", "a.yaml is not valid YAML"),
        ("a.yaml", "? [1]\n: 2", "a.yaml is not valid YAML"),
        ("a.yaml", "just words", "a.yaml must hold names and values, got 'just words'"),
        ("a.yaml", "", "a.yaml must hold names and values, got None"),
        ("a.yaml", "x" * (shared.LARGEST_FILE + 1), "more than 1048576 bytes"),
        ("a.json", '{"lr": 1, "lr": 2}', "the name 'lr' appears twice"),
        ("a.json", '{"a":' * 100_000, "nested too deeply"),
        ("a.json", "[1, 2]", r"must hold names and values, got \[1, 2\]"),
        ("a.json", "lr 1", "a.json is not valid JSON"),
    ],
)
def test_what_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        shared.read(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_key_that_is_there_twice_and_decides_nothing(tmp_path):
    """As in public configs of Mask2Former, OneFormer and AdelaiDet: the last one counts, as for PyYAML."""
    path = tmp_path / "a.yaml"
    path.write_text("lr: 1\nSOLVER: {STEPS: [1, 2], STEPS: [1, 2]}\nMODEL: {A: 1, B: {C: 1, C: [2]}, A: 2}\nlr: 1\n")
    assert shared.read(path)[1] == {"lr": 1, "SOLVER": {"STEPS": [1, 2]}, "MODEL": {"A": 2, "B": {"C": [2]}}}


def test_the_config_of_weights_and_biases(tmp_path):
    own = "wandb_version: 1\n_wandb: {value: {cli_version: 1}}\n"
    text = own + "lr0: {desc: null, value: 0.01}\nhyp: {value: {lrf: 0.1}}\n"
    (tmp_path / "config.yaml").write_text(text)
    assert shared.read(tmp_path / "config.yaml")[1] == {"lr0": 0.01, "hyp": {"lrf": 0.1}}


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "fifo.yaml", "/dev/zero"):
        with pytest.raises(ValueError, match="not a regular file; pipe its content"):
            shared.read(path)
    with pytest.raises(ValueError, match="is a folder"):
        shared.read(tmp_path)
    with pytest.raises(ValueError, match="is not a path"):
        shared.read("a\0b")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        shared.read(tmp_path / "bytes.yaml")


def test_unknown_tags_are_kept_and_never_executed(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: !!python/object/apply:os.system ['touch hacked']\nb: !mine {x: 1}\nc: !!python/name:int ''\n")
    _, content = shared.read(path)
    assert [repr(content[name]) for name in "abc"] == [
        "<!!python/object/apply:os.system>",
        "<!mine>",
        "<!!python/name:int>",
    ]


@pytest.mark.parametrize("digits", ["1" * 900_000, "1" + ":1" * 400_000, "1" + ":1" * 400_000 + ".5"])
def test_a_huge_number_is_infinite_and_so_named_by_its_field(tmp_path, digits):
    path = tmp_path / "a.yaml"
    path.write_text(f"lr: {digits}")
    where, content = shared.read(path)
    with pytest.raises(ValueError, match="lr must be finite, got inf"):
        shared.Settings(where, content).number("lr")
    if ":" not in digits:
        path = tmp_path / "a.json"
        path.write_text(f'{{"lr": -{digits}}}')
        with pytest.raises(ValueError, match="lr must be finite, got -inf"):
            shared.Settings(*shared.read(path)).number("lr")


def test_yaml_and_json_read_alike(tmp_path):
    for name, text in (
        ("a.yaml", "lr: 1.0e-3\nsteps: [1, 2]\nhyp: {a: null}\n"),
        ("a.json", '{"lr": 1e-3, "steps": [1, 2], "hyp": {"a": null}}'),
        ("b.yaml", '{"lr": 1e-3,\n\t"steps": [1, 2], "hyp": {"a": null}}'),
        ("c.yaml", "{lr: 1.0e-3, steps: [1, 2], hyp: {a: null}}"),
    ):
        (tmp_path / name).write_text(text)
        assert shared.read(tmp_path / name)[1] == {"lr": 1e-3, "steps": [1, 2], "hyp": {"a": None}}
