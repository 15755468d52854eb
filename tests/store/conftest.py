"""A bucket on a real S3 server, for all tests of stores."""

import pytest

from made_object_store import object_store


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as (_, uri):
        yield uri
