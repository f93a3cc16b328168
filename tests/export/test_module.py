"""A user's stylizer is checked before it is traced; every error names the member and the line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from export.exporter import export_bundle
from export.module import load_stylizer
from export.template_project import TemplateError, write_template
from export.user_errors import StylizerModuleError
from mvstylizer_cli.main import app
from tests.export.user_modules import GOOD, changed, line_of

COUNT = iter(range(10**6))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package in the current folder, with a name that no other test uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a test may write the module twice in a second
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(tmp_path)])
    folder = tmp_path / f"package{next(COUNT)}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def loaded(package: Path, text: str, weights: Path | None = None) -> torch.nn.Module:
    (package / "model.py").write_text(text)
    sys.modules.pop(f"{package.name}.model", None)
    return load_stylizer(f"{package.name}.model:build", weights)


def refused(package: Path, text: str, weights: Path | None = None) -> str:
    with pytest.raises(StylizerModuleError) as caught:
        loaded(package, text, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_module_is_ready_to_export(package: Path) -> None:
    module = loaded(package, GOOD)
    assert not module.training
    assert not any(value.requires_grad for value in module.parameters())


@pytest.mark.parametrize("member", ["kind", "style_code_size", "network_pixels", "style_pixels", "cell"])
def test_a_missing_member_is_named(package: Path, member: str) -> None:
    line = next(line for line in GOOD.splitlines(keepends=True) if line.strip().startswith(f"{member} ="))
    text = changed(line, "")
    if member == "cell":
        text = text.replace("self.cell", "8")
    found = refused(package, text)
    assert f"Mine has no {member} ({package.name}/model.py:{line_of(text, 'class Mine')})" in found


@pytest.mark.parametrize("member", ["encode_style", "predict"])
def test_a_missing_method_is_named(package: Path, member: str) -> None:
    assert f"Mine has no {member} (" in refused(package, changed(f"def {member}", "def other"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "affine"', 'kind = "video"', "kind is 'video', not one of image, affine, grid, lut"),
        ("cell = 8", "cell = 7", "cell is 7, an odd number"),
        ("style_code_size = 3", "style_code_size = 3.0", "style_code_size is 3.0, not a whole number from 1"),
        ("network_pixels = 64 * 96", "network_pixels = 0", "network_pixels is 0, not a whole number from 64"),
    ],
)
def test_a_wrong_number_is_named_with_its_line(package: Path, old: str, new: str, message: str) -> None:
    text = changed(old, new)
    assert f"Mine.{message} ({package.name}/model.py:{line_of(text, new)})" in refused(package, text)


def test_a_wrong_shape_names_the_method(package: Path) -> None:
    text = changed("rows += [one if i == j else zero for j in range(3)] + [0.5 * shift]", "rows += [one]")
    line = line_of(text, "def predict")
    message = "Mine.predict returns 1×3×2×3 for 1×3×16×24 and 1×3, not 1×12×2×3"
    assert f"{message} ({package.name}/model.py:{line})" in refused(package, text)
    found = refused(package, changed("style.mean((2, 3))", "style.mean((1, 2))"))
    assert "Mine.encode_style failed on 1×3×18×40: RuntimeError: The size of tensor a (40)" in found
    assert f"model.py:{line_of(GOOD, 'style.mean')})" in found


def test_values_that_are_not_finite_are_refused(package: Path) -> None:
    text = changed("0.5 * shift", "shift / mean.std()")  # of a black picture: 0 / 0
    assert "Mine.predict returns values that are not finite" in refused(package, text)


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        (
            GOOD.replace("return Mine()", "raise OSError('no file')"),
            "failed: OSError: no file",
            "raise OSError",
        ),
        (GOOD.replace("return Mine()", "return 1"), "returns a int, not a torch.nn.Module", "def build"),
        (
            GOOD.replace("import torch\n", "import torch\nimport nothing_at_all\n", 1),
            "No module named",
            "nothing",
        ),
        (GOOD.replace("rows = []", "rows = ["), "cannot be imported: SyntaxError", "rows = ["),
    ],
)
def test_code_that_fails_is_named_with_its_line(package: Path, text: str, message: str, at: str) -> None:
    found = refused(package, text)
    assert message in found
    assert f"model.py:{line_of(text, at)})" in found


@pytest.mark.parametrize("target", ["nothing_here.model:build", "model", ":build", "a b:c", "torch:nothing"])
def test_a_function_that_does_not_exist_is_refused(package: Path, target: str) -> None:
    with pytest.raises(StylizerModuleError):
        load_stylizer(target)


def test_weights_that_do_not_fit_are_listed(package: Path) -> None:
    weights = package / "weights.safetensors"
    save_file({"gain": torch.ones(4), "bias": torch.ones(1)}, weights)
    found = refused(package, GOOD, weights)
    assert "does not fit Mine: it also has bias; it has other shapes: gain is (4,), not (3,)" in found
    save_file({"other": torch.ones(4)}, weights)
    assert "it misses gain; it also has other" in refused(package, GOOD, weights)
    weights.write_bytes(b"no weights")
    assert "cannot be read" in refused(package, GOOD, weights)
    assert "does not exist" in refused(package, GOOD, package / "none.pt")
    torch.save([1, 2], package / "list.pt")
    assert "is not a state dict" in refused(package, GOOD, package / "list.pt")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "nested.pt"])
def test_weights_are_loaded(package: Path, name: str) -> None:
    path, gain = package / name, torch.tensor([0.5, 1.0, 2.0])
    if name.endswith(".pt"):
        torch.save({"state_dict": {"gain": gain}} if "nested" in name else {"gain": gain}, path)
    else:
        save_file({"gain": gain}, path)
    assert torch.equal(loaded(package, GOOD, path).state_dict()["gain"], gain)


def test_a_build_with_a_parameter_loads_the_weights_itself(package: Path) -> None:
    text = changed(
        "def build():\n    return Mine()", "def build(path):\n    return Mine() if path.exists() else 1"
    )
    weights = package / "weights.bin"
    weights.touch()
    assert loaded(package, text, weights)
    assert "takes the path of its weights" in refused(package, text)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("if mean.mean() > 5:\n            return mean\n        rows = []", "ata-dependent"),
        (
            "rows = [torch.linalg.svd(mean)[1].sum() * mean[:, :0]]",
            "svd",
        ),
    ],
)
def test_what_cannot_be_traced_is_named_with_its_line(package: Path, new: str, reason: str) -> None:
    text = changed("rows = []", new)
    (package / "model.py").write_text(text)
    with pytest.raises(StylizerModuleError) as caught:
        export_bundle(f"{package.name}.model:build", package / "bundle", sizes=(), cache=False)
    assert "Mine cannot be exported" in str(caught.value)
    assert reason in str(caught.value)
    assert f"model.py:{line_of(text, new.splitlines()[0])}" in str(caught.value)
    assert sorted(path.name for path in package.iterdir()) == ["__init__.py", "model.py"]


def test_the_command_writes_the_template_and_takes_one_task_at_a_time(package: Path) -> None:
    folder = package / "mystyle"
    done = CliRunner().invoke(app, ["export", "--init", str(folder)])
    assert done.exit_code == 0
    assert "mvstylizer export mystyle.model:build --out bundle" in done.stdout
    assert CliRunner().invoke(app, ["export", "--init", str(folder), "--check", str(folder)]).exit_code == 2


def test_the_template_keeps_the_protocol(package: Path) -> None:
    files = write_template(package / "mystyle")
    assert {path.name for path in files} == {"__init__.py", "model.py", "README.md"}
    assert "mvstylizer export mystyle.model:build" in (package / "mystyle" / "README.md").read_text()
    assert load_stylizer(f"{package.name}.mystyle.model:build")
    with pytest.raises(TemplateError, match="not empty"):
        write_template(package / "mystyle")
    with pytest.raises(TemplateError, match="not the name of a package"):
        write_template(package / "my-style")
    assert not [path for path in package.iterdir() if path.name.endswith(".part")]
