"""Displays draw both maps where they belong, on one range."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from lookalike import scenes
from lookalike.plugs.scikit_learn import EmbedderTransformer
from lookalike.plugs.similarity_map_display import SimilarityMapDisplay


@pytest.fixture
def display():
    pictures = scenes.paint(0, 90).crop((0, 0, 90, 60)), scenes.paint(1, 80)
    yield SimilarityMapDisplay.from_estimator(EmbedderTransformer(), *pictures).plot()
    plt.close("all")


def test_maps_lie_on_their_pictures_with_one_range(display):
    ranges = {image.get_clim() for image in display.images_}
    assert len(ranges) == 1 and (low_high := ranges.pop())[0] == -low_high[1]
    assert display.axes_[0].get_xlim() == (0, 90) and display.axes_[0].get_ylim() == (60, 0)
    drawn = np.asarray(display.images_[0].get_array())
    np.testing.assert_allclose(drawn / drawn.size, display.explanation.query_map, rtol=1e-5)
    assert "similarity" in display.axes_[0].get_title()


def test_own_axes_are_used_and_one_is_too_few(display):
    figure, axes = plt.subplots(2, 1)
    assert display.plot(axes=axes).figure_ is figure
    with pytest.raises(ValueError, match="two axes, got 1"):
        display.plot(axes=axes[0])
