"""The measure of adherence through the real host, with few pairs."""

from __future__ import annotations

from demo.trials import bucket_trials, small_trials
from devtools.client import HostClient
from devtools.drawing import Artist
from devtools.interval import difference_of_shares


def test_trials_are_drawn_at_their_size_with_their_seed(client: HostClient) -> None:
    trials = [small_trials()[0], bucket_trials()[0]]
    artist = Artist(client, "steps=2")
    outcomes = artist.attempt(trials, "few")
    assert [o.picture.size for o in outcomes] == [(t.width, t.height) for t in trials]
    again = artist.attempt(trials, "again")
    assert [o.picture.tobytes() for o in outcomes] == [o.picture.tobytes() for o in again]


def test_a_setting_reaches_the_picture(client: HostClient) -> None:
    trials = small_trials()[:1]
    artist = Artist(client, "steps=2")
    (plain,) = artist.attempt(trials, "plain")
    (guided,) = artist.with_setting("guidance=1").attempt(trials, "unguided")
    assert plain.picture.tobytes() != guided.picture.tobytes()


def test_the_model_draws_what_it_is_told(client: HostClient) -> None:
    """Far below the bars, which ``dev.py adherence`` holds it to with more pairs."""
    outcomes = Artist(client).attempt(small_trials()[:12], "some")
    assert sum(outcome.is_right for outcome in outcomes) >= 8


def test_fewer_steps_are_worse_and_the_pairs_show_it(client: HostClient) -> None:
    trials = small_trials()[:16]
    ours = [o.is_right for o in Artist(client, "steps=1").attempt(trials, "1 step")]
    theirs = [o.is_right for o in Artist(client).attempt(trials, "20 steps")]
    assert difference_of_shares(ours, theirs).high < 0
