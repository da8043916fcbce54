"""Random views: real pixels of the chip, in a consistent orientation."""

import math

import pytest
import torch

from geoembed.learning import views
from geoembed.learning.model import Patches


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_patches_are_windows_of_the_chip_flipped_or_turned(seed: int) -> None:
    values = torch.arange(2 * 16 * 16.0).view(1, 2, 16, 16)
    made = views.view(values, 4, 1.0, source(seed))
    for patch in made.values[0]:
        first, second = patch.view(2, 4, 4)
        assert torch.equal(second - first, torch.full((4, 4), 256.0))
        rows, columns = first // 16, first % 16
        steps = {tuple(sorted((abs(float(d[0])), abs(float(d[1]))))) for d in _steps(rows, columns)}
        assert steps == {(0.0, 1.0)}
    # The whole view is one window: the same map from place in the view to place in the chip for every patch.
    corner = made.values[0, :, 0, 0]
    by_place = {tuple(place.tolist()): float(value) for place, value in zip(made.where[0], corner, strict=True)}
    down = {by_place[1 + r, c] - by_place[r, c] for r, c in by_place if (r + 1, c) in by_place}
    along = {by_place[r, 1 + c] - by_place[r, c] for r, c in by_place if (r, c + 1) in by_place}
    assert len(down) == len(along) == 1 and {abs(down.pop()), abs(along.pop())} == {4.0, 64.0}


def _steps(rows: torch.Tensor, columns: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    down = [(rows[i + 1, j] - rows[i, j], columns[i + 1, j] - columns[i, j]) for i in range(3) for j in range(4)]
    along = [(rows[i, j + 1] - rows[i, j], columns[i, j + 1] - columns[i, j]) for i in range(4) for j in range(3)]
    return down + along


def test_views_keep_the_share_asked_for_and_prefer_what_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SMALLEST_CROP", 0.6)  # smaller crops may lie where nothing is valid
    values = torch.randn(8, 3, 32, 32, generator=source(0))
    assert views.view(values, 4, 0.25, source(1)).values.shape == (8, 16, 3, 16)
    values[:, :, :, :16] = math.nan
    made = views.view(values, 4, 0.25, source(1))
    has_pixel = (~made.values.isnan()).flatten(2).any(2)
    whole = views.view(values, 4, 1.0, source(1))
    most = (~whole.values.isnan()).flatten(2).any(2).sum(1).clamp(max=16)
    assert (has_pixel.sum(1) >= (most - 4)).all() and has_pixel.float().mean() > 0.8


def test_views_repeat_with_their_seed_and_differ_without() -> None:
    values = torch.randn(4, 2, 16, 16, generator=source(0))
    a, b, c = (views.view(values, 4, 0.5, source(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.values, b.values) and torch.equal(a.where, b.where)
    assert a.values.shape != c.values.shape or not torch.equal(a.values, c.values)


def test_a_chip_smaller_than_a_patch_has_one() -> None:
    assert views.view(torch.randn(2, 1, 3, 3), 4, 0.1, source(0)).values.shape == (2, 1, 1, 16)


def test_channels_are_dropped_by_season_and_one_by_one_but_never_all() -> None:
    channels = ("djf_red", "djf_blue", "jja_red", "jja_blue")
    groups = views.seasons(channels)
    assert groups.tolist() == [0, 0, 1, 1]
    patches = views.view(torch.randn(400, 4, 4, 4), 4, 1.0, source(0))
    gone = views.drop_channels(patches, groups, 0.5, source(1)).values[:, 0].isnan()
    whole = (~gone).flatten(1).all(1)
    assert 0.5 < whole.float().mean() < 0.85
    gone = gone[~whole]
    assert torch.equal(gone.any(2), gone.all(2))
    gone = gone.all(2)
    assert not gone.all(1).any()
    season = (gone[:, 0] & gone[:, 1]).float().mean()
    alone = (gone[:, 0] & ~gone[:, 1]).float().mean()
    assert 0.1 < season < 0.3 and 0.05 < alone < 0.3


def test_the_only_season_is_never_dropped_whole() -> None:
    patches = views.view(torch.randn(4000, 2, 4, 4), 4, 1.0, source(0))
    gone = views.drop_channels(patches, views.seasons(("jja_vv", "jja_vh")), 0.5, source(1)).values[:, 0].isnan().all(2)
    # One of two stays anyway; the other goes as a single channel in the views that are not whole.
    assert gone.float().mean(0).sum() == pytest.approx(0.5 * views.CHANNELS_DROPPED, abs=0.02)


def test_jitter_changes_gain_and_offset_and_keeps_what_is_missing() -> None:
    values = torch.randn(500, 3, 4, 4)
    values[:, 1, 0] = math.nan
    before = views.view(values, 4, 1.0, source(0)).values
    after = views.jitter(Patches(before, torch.zeros(500, 1, 2)), source(1)).values
    assert torch.equal(before.isnan(), after.isnan())
    made = []
    for channel in (0, 2):
        x, y = before[:, 0, channel], after[:, 0, channel]  # (samples, pixels)
        gain = (y - y.mean(1, keepdim=True)).norm(dim=1) / (x - x.mean(1, keepdim=True)).norm(dim=1)
        offset = (y - gain[:, None] * x).mean(1)
        torch.testing.assert_close(y, gain[:, None] * x + offset[:, None], atol=1e-4, rtol=0)
        made.append(torch.stack([gain.log(), offset]))
    shared, of_each = views.JITTER
    view_a, view_b = made
    torch.testing.assert_close(view_a.std(1), torch.full((2,), math.hypot(shared, of_each)), atol=0.03, rtol=0)
    torch.testing.assert_close((view_a - view_b).std(1), torch.full((2,), math.sqrt(2) * of_each), atol=0.03, rtol=0)


def test_seasons_are_months_and_everything_else_is_one() -> None:
    assert views.seasons(("djf_vv", "jja_vv", "djf_vh")).tolist() == [0, 1, 0]
    assert views.seasons(("red", "green", "near_infrared")).tolist() == [0, 0, 0]
