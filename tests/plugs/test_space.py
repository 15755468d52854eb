"""The Gradio app of examples/space, built by Gradio itself."""

import importlib.util
from pathlib import Path

import pytest

gradio = pytest.importorskip("gradio", reason="gradio is no dependency; its releases ask for an older Pillow")


@pytest.fixture(scope="module")
def app():
    file = Path(__file__).parents[2] / "examples" / "space" / "app.py"
    spec = importlib.util.spec_from_file_location("space_app", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_built_with_one_button_that_compares(app):
    config = app.build().get_config_file()
    assert [d["targets"][0][1] for d in config["dependencies"]] == ["click"]


def test_comparing_gives_a_picture_and_the_similarity(app, pictures):
    picture, said = app.compare(pictures[0], pictures[1], "mini", "shares")
    assert picture.width > pictures[0].width / 2 and said.startswith("Similarity ")
    with pytest.raises(gradio.Error, match="two pictures"):
        app.compare(pictures[0], None, "mini", "shares")
