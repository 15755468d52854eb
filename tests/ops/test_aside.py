"""The direction that was planted is found, and nothing is left along it."""

import torch

from lookalike.ops.aside import directions_added, projection_without, without_directions


def test_the_planted_direction_is_found_and_what_controls_do_as_well_is_not(noise):
    changes, controls = noise(60, 12) * 0.05, noise(50, 12, seed=1) * 0.05
    changes[:, 3] += 0.5
    changes[:, 7] += noise(60, seed=2)  # large, but the controls have it too
    controls[:, 7] += noise(50, seed=3) * 1.5
    found = directions_added(changes, controls, 1)
    assert found.shape == (1, 12)
    assert found[0].abs().argmax() == 3
    assert found[0, 7].abs() < 0.2


def test_directions_are_orthonormal_and_at_most_those_that_exceed_the_controls(noise):
    changes = torch.zeros(9, 6)
    changes[:, 0] = 1.0
    found = directions_added(changes, torch.zeros(4, 6), 4)
    assert found.shape == (1, 6)
    torch.testing.assert_close(found.abs()[0], torch.eye(6)[0])


def test_units_have_nothing_along_the_directions(noise):
    directions = noise(2, 7)
    directions = torch.cat([directions, directions[:1] * 2])  # one of them twice
    left = without_directions(torch.nn.functional.normalize(noise(5, 7, seed=1), dim=1), directions)
    torch.testing.assert_close(left @ directions.T, torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(left.norm(dim=1), torch.ones(5))


def test_projecting_twice_is_projecting_once(noise):
    projection = projection_without(noise(3, 8))
    torch.testing.assert_close(projection @ projection, projection)
    assert round(float(projection.trace())) == 5


def test_without_controls_the_directions_are_the_main_axes_of_the_changes():
    changes = torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = directions_added(changes, changes[:0], 2)
    assert torch.allclose(found.abs(), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), atol=1e-6)
