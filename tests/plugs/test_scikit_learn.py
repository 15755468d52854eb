"""The transformer stands in scikit-learn's own pipelines, clones and searches."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from lookalike.plugs.scikit_learn import EmbedderTransformer


@pytest.fixture(scope="module")
def files(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("pictures")
    files = [str(folder / f"{i}.png") for i in range(len(pictures))]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    return files


def test_rows_are_the_embedders(files, mini):
    found = EmbedderTransformer().fit(files).transform(files)
    np.testing.assert_array_equal(found, mini.embed(files).numpy())
    assert found.dtype == np.float32


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_columns_of_tables_are_taken(files, mini, shape):
    column = np.array(files, dtype=object).reshape(shape)
    np.testing.assert_array_equal(EmbedderTransformer().fit_transform(column), mini.embed(files).numpy())


def test_a_search_tries_models_and_clones(files):
    pipeline = make_pipeline(EmbedderTransformer(), KNeighborsClassifier(1))
    grid = {"embeddertransformer__model": ["mini", "mini-vit"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(files[:2] * 2, [0, 1, 0, 1])
    assert search.best_score_ == 1.0
    assert clone(EmbedderTransformer("mini-vit", batch_size=3)).get_params()["batch_size"] == 3


def test_names_and_what_is_not_fitted(files, mini):
    transformer = EmbedderTransformer()
    with pytest.raises(NotFittedError):
        transformer.transform(files)
    names = transformer.fit(files).get_feature_names_out()
    assert len(names) == mini.width and names[1] == "mini1"
