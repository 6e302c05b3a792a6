"""The measure of adherence: its lists, intervals, settings and bars."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from demo.judge import judge
from demo.scenes import COMBINATIONS, SEEN, SHAPES, UNSEEN, Scene, draw, random_scene
from demo.trials import Trial, bucket_trials, small_trials, square_trials
from devtools.adherence import report, rows_of
from devtools.contact_sheet import contact_sheet
from devtools.demo import WORKFLOW
from devtools.drawing import Outcome
from devtools.effects import Effect, effect_of_guidance
from devtools.failure import Failure
from devtools.interval import difference_of_shares, mean_difference, share_of
from devtools.setting import parse_setting
from devtools.workflow import Workflow
from pixart_core.buckets import BUCKETS_256


def outcome(trial: Trial, shown: Scene | None = None) -> Outcome:
    """Judge a picture that shows the trial's scene, or another."""
    picture = draw(shown or trial.scene, trial.width, trial.height)
    return Outcome(trial, judge(picture), picture)


def test_lists_are_long_enough_and_never_change() -> None:
    small, square, oblong = small_trials(), square_trials(), bucket_trials()
    assert [len(small), len(square), len(oblong)] == [256, 64, 64]
    assert small == small_trials()
    assert {(t.width, t.height) for t in small} == {(128, 128)}
    assert {(t.width, t.height) for t in oblong} == set(BUCKETS_256) - {(256, 256)}
    assert {(t.scene.shape, t.scene.colour, t.scene.ground) for t in small} == set(COMBINATIONS)
    assert sum(t.is_unseen for t in (*small, *square, *oblong)) >= 48


def test_a_seventh_is_kept_from_training() -> None:
    assert len(COMBINATIONS) == 224
    assert len(UNSEEN) == pytest.approx(224 / 7, abs=2)
    for shape in SHAPES:
        assert sum(combination[0] == shape for combination in UNSEEN) >= 7
    rng = random.Random(0)
    drawn = {(s.shape, s.colour, s.ground) for s in (random_scene(rng) for _ in range(5000))}
    assert drawn == set(SEEN)


def test_captions_say_what_is_named_and_nothing_else() -> None:
    scene = Scene("star", "orange", "red", size="small", place="left")
    assert scene.caption() == "a small orange star on the left on a red background"
    assert replace(scene, size="", place="").caption() == "an orange star on a red background"


def test_the_share_has_wilsons_interval() -> None:
    share = share_of([True] * 95 + [False] * 5)
    assert (share.estimate, share.low, share.high) == pytest.approx(
        (0.95, 0.8882, 0.9785), abs=1e-4
    )
    assert share_of([True] * 10).high == 1


def test_a_difference_counts_only_beyond_chance() -> None:
    base = [True] * 200 + [False] * 56
    assert not difference_of_shares(base, base).excludes_zero
    one_worse = [False, *base[1:]]
    assert difference_of_shares(one_worse, base).estimate == -1 / 256
    assert not difference_of_shares(one_worse, base).excludes_zero
    ten_worse = [False] * 10 + base[10:]
    assert difference_of_shares(ten_worse, base).excludes_zero
    swapped = [False] * 10 + base[10:200] + [True] * 10 + base[210:]
    assert not difference_of_shares(swapped, base).excludes_zero


def test_the_interval_of_a_difference_holds_19_times_in_20() -> None:
    rng = random.Random(0)
    held = 0
    for _ in range(1000):
        pairs = [(rng.random() < 0.92, rng.random() < 0.95) for _ in range(256)]
        interval = difference_of_shares([a for a, _ in pairs], [b for _, b in pairs])
        held += interval.low <= -0.03 <= interval.high
    assert 930 <= held <= 970


def test_the_mean_of_differences_has_students_interval() -> None:
    found = mean_difference([2.0, 4.0, 7.0], [1.0, 2.0, 3.0])
    assert found.estimate == pytest.approx(7 / 3)
    assert found.high - found.estimate == pytest.approx(4.3027 * (7 / 3 / 3) ** 0.5, abs=1e-3)


def test_a_setting_names_inputs_of_the_workflow() -> None:
    workflow = Workflow(WORKFLOW)
    values = parse_setting("steps=10 guidance=1 PixArtT5Loader.precision=bf16", workflow)
    sampler, t5 = workflow.node_id("PixArtSampler"), workflow.node_id("PixArtT5Loader")
    assert values == {(sampler, "steps"): 10, (sampler, "guidance"): 1.0, (t5, "precision"): "bf16"}
    assert parse_setting("", workflow) == {}


@pytest.mark.parametrize(
    "text", ["steps", "speed=3", "text=hello", "file=a", "steps=ten", "model=1"]
)
def test_a_setting_that_names_nothing_is_a_sentence(text: str) -> None:
    with pytest.raises(Failure, match="Could not understand the setting: found"):
        parse_setting(text, Workflow(WORKFLOW))


def test_every_part_counts_for_its_own_rows() -> None:
    trials = [small_trials(), square_trials(), bucket_trials()]
    good = rows_of(*[[outcome(trial) for trial in part[:24]] for part in trials])
    assert all(row.share.estimate == 1 for row in good)
    wrong_shape = [
        [outcome(t, replace(t.scene, shape="circle" if t.scene.shape != "circle" else "star"))
         for t in part[:24]]
        for part in trials
    ]  # fmt: skip
    shares = {row.name: row.share.estimate for row in rows_of(*wrong_shape)}
    assert shares["128 px: both colours"] == 1
    assert shares["128 px: shape and colours"] == shares["unseen combinations"] == 0
    assert shares["place"] == shares["size"] == 1


def test_size_and_place_have_rows_of_their_own() -> None:
    trials = [[replace(t, scene=replace(t.scene, size="small", place="left")) for t in part[:8]]
              for part in (small_trials(), square_trials(), bucket_trials())]  # fmt: skip
    shown = [[outcome(t, replace(t.scene, radius=0.34, x=0.7)) for t in part] for part in trials]
    shares = {row.name: row.share.estimate for row in rows_of(*shown)}
    assert shares["size"] == shares["place"] == 0
    assert shares["128 px: shape and colours"] == 1


def test_a_missed_bar_fails_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [part[:40] for part in (small_trials(), square_trials(), bucket_trials())]
    outcomes = [[outcome(trial) for trial in part] for part in trials]
    held, missed = Effect("held", {}, True), Effect("not held", {}, False)
    assert report(rows_of(*outcomes), [held]) == 0
    assert report(rows_of(*outcomes), [held, missed]) == 1
    blank = replace(outcomes[0][0].trial.scene, colour="black", ground="black")
    outcomes[0][:3] = [outcome(trial, blank) for trial in trials[0][:3]]
    capsys.readouterr()
    assert report(rows_of(*outcomes), [held]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "MISSED" in line)
    assert line.startswith("128 px: shape and colours")


def test_guidance_is_held_to_a_fall_of_the_colour_distance() -> None:
    trials = small_trials()[:12]
    near = [outcome(trial) for trial in trials]
    far = [outcome(trial, replace(trial.scene, ground=trial.scene.colour)) for trial in trials]
    assert effect_of_guidance(near, far).as_it_should
    assert not effect_of_guidance(far, near).as_it_should
    assert not effect_of_guidance(near, near).as_it_should


def test_the_contact_sheet_marks_each_picture() -> None:
    picture = draw(Scene("circle", "white", "black"), 128, 64)
    sheet = contact_sheet([(picture, True)] * 20 + [(picture, False), (picture, None)])
    assert sheet.width > sheet.height
    bottom = [sheet.getpixel((10, 98)), sheet.getpixel((10, 98 + 104)), sheet.getpixel((109, 202))]
    assert bottom == [(40, 170, 70), (220, 30, 30), (120, 120, 120)]
