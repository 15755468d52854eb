"""A bucket on a real S3 server, for all tests of stores."""

import pytest

from made_object_store import object_store


@pytest.fixture(scope="session")
def bucket():
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as (_, uri):
        yield uri


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path):
    """Where a table may lie."""
    return (
        str(tmp_path) if request.param == "disk" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    )
