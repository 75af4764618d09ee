"""What a service's models are to be, beside what they are."""

from __future__ import annotations

import pytest


@pytest.fixture
def models(tmp_path):
    """Two models of a service, one of which goes."""
    folder = tmp_path / "models" / "shelf"
    for name in ("stays", "goes"):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.onnx").write_text(f"{name}\n")
    return folder


def content(folder):
    """Return the files of a folder and what is in them."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_tried_beside_the_old_one_and_takes_its_place(run_module, models, tmp_path):
    staged = tmp_path / "models-next" / "shelf"
    (staged / "left" / "over").mkdir(parents=True)
    before = content(models)
    places = {"path": str(models), "staged": str(staged)}
    keep = [str(models / name / "1" / "model.onnx") for name in ("stays", "new")]
    assert run_module("staged_folder", **places, state="prepared", check=True)["linked"] == []
    assert (staged / "left").exists()
    run_module("staged_folder", **places, keep=keep, state="prepared")
    assert content(staged) == {"stays/1/model.onnx": "stays\n"}
    assert (staged / "stays/1/model.onnx").samefile(models / "stays/1/model.onnx")
    (staged / "new").mkdir()
    (staged / "new" / "model").write_text("new\n")
    assert content(models) == before
    run_module("staged_folder", **places, state="exchanged")
    assert content(models) == {"stays/1/model.onnx": "stays\n", "new/model": "new\n"}
    assert content(staged) == before
    run_module("staged_folder", **places, state="exchanged")
    assert content(models) == before


def test_a_service_that_had_no_models_gets_some(run_module, tmp_path):
    places = {"path": str(tmp_path / "models" / "shelf"), "staged": str(tmp_path / "next" / "shelf")}
    run_module("staged_folder", **places, state="prepared")
    (tmp_path / "next" / "shelf" / "model").write_text("new\n")
    run_module("staged_folder", **places, state="exchanged")
    assert content(tmp_path / "models" / "shelf") == {"model": "new\n"}


def test_what_cannot_be_is_said(run_module, models, tmp_path):
    places = {"path": str(models), "staged": str(tmp_path / "nowhere")}
    assert "No such file" in run_module("staged_folder", **places, state="exchanged")["msg"]
    wrong = run_module("staged_folder", **places, state="prepared", keep=[f"{models}/../x"])
    assert "is not below" in wrong["msg"]
    assert not (tmp_path / "nowhere").exists()
