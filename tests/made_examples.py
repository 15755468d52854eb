"""Settings of the property tests: few examples, always the same ones, without a time limit."""

from hypothesis import HealthCheck, settings


def few(n):
    """A decorator for n examples."""
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
