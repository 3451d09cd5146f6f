"""A short, seeded slice of the kill campaign (benchmarks/faults/campaign.py): ten kills of a job on two Ray nodes."""

import pytest

from benchmarks.faults.campaign import Trial, run_campaign

KILLS = 10


@pytest.mark.timeout(900)  # each kill costs the start of a driver, a replica or a node
def test_killed_anywhere_a_job_ends_with_each_row_once_and_only_units_in_flight_redone() -> None:
    episodes = list(run_campaign(Trial(kills=KILLS, seed=1, rows=360)))
    assert sum(sum(episode.kills.values()) for episode in episodes) >= KILLS
    for episode in episodes:
        assert (episode.rewritten, episode.lost_rows, episode.repeated_rows, episode.differing_rows) == (0, 0, 0, 0)
        assert episode.redone <= episode.in_flight
    assert sum(episode.redone for episode in episodes) > 0
