"""The adaptive KL controller: a hand-computed course, its bounds, and that it finds the target."""

from __future__ import annotations

import math

import pytest

from stylellm.errors import StyleLLMError, TrainingError
from stylellm.objective.controller import AdaptiveKLController


def test_steps_by_hand():
    controller = AdaptiveKLController(0.1, target=0.02)
    assert controller.update(0.022) == pytest.approx(0.1 * 1.01)  # e = 0.1
    assert controller.update(5.0) == pytest.approx(0.1 * 1.01 * 1.02)  # e clipped to 0.2
    assert controller.update(0.0) == pytest.approx(0.1 * 1.01 * 1.02 * 0.98)  # e clipped to -0.2
    unchanged = controller.kl_beta
    assert controller.update(0.02) == unchanged


def test_bounds_hold():
    controller = AdaptiveKLController(0.1, target=0.02)
    for _ in range(2000):
        controller.update(1.0)
    assert controller.kl_beta == 10.0
    for _ in range(2000):
        controller.update(0.0)
    assert controller.kl_beta == 0.05


@pytest.mark.parametrize("start", [0.05, 9.0])
def test_it_steers_a_plant_to_its_target(start):
    """A KL that falls as 0.01 / beta meets the target 0.02 at beta 0.5, from either side."""
    controller = AdaptiveKLController(start, target=0.02)
    for _ in range(1000):
        controller.update(0.01 / controller.kl_beta)
    assert controller.kl_beta == pytest.approx(0.5, rel=1e-3)


def test_state_goes_through_a_checkpoint():
    first = AdaptiveKLController(0.1, target=0.02)
    for kl in (0.5, 0.01, 0.021):
        first.update(kl)
    second = AdaptiveKLController(3.0, target=0.02)
    second.load_state_dict(first.state_dict())
    assert second.update(0.03) == first.update(0.03)


@pytest.mark.parametrize("kl", [math.nan, math.inf])
def test_a_kl_that_is_not_finite_is_refused(kl):
    controller = AdaptiveKLController(0.1, target=0.02)
    with pytest.raises(TrainingError, match="KL per token"):
        controller.update(kl)
    assert controller.kl_beta == 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"kl_beta": 0.1, "target": 0.0},
        {"kl_beta": 0.01, "target": 0.02},
        {"kl_beta": 11.0, "target": 0.02},
        {"kl_beta": 0.1, "target": 0.02, "horizon": 0.0},
        {"kl_beta": 0.1, "target": 0.02, "clip": math.nan},
        {"kl_beta": 0.1, "target": 0.02, "clip": 2.0, "horizon": 1.0},
    ],
)
def test_senseless_settings_are_refused(settings):
    with pytest.raises(StyleLLMError):
        AdaptiveKLController(**settings)
