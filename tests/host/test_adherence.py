"""The measure of adherence through the real host, with few pairs."""

from __future__ import annotations

from demo.trials import bucket_trials, small_trials
from devtools.client import HostClient
from devtools.drawing import Artist


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
