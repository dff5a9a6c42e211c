"""Through a replica that does not hold the tunnel, everything arrives as it does through the one that does.

The tests are those of the tunnel itself, with agent and browser at two replicas.
"""

from __future__ import annotations

import pytest

# What they are, and what they use.
from tests.tunnel.test_leaving import (  # noqa: F401
    agent,
    test_a_browser_that_leaves,
    test_a_browser_that_leaves_an_upload_that_nobody_reads,
)
from tests.tunnel.test_through import (  # noqa: F401
    browser,
    test_a_body_that_breaks_off_breaks_the_connection,
    test_a_client_that_is_done_hears_the_rest,
    test_a_large_head_costs_its_own_request_only,
    test_a_server_that_is_done_hears_the_rest,
    test_an_answer_before_the_whole_body,
    test_an_upgrade_that_is_refused,
    test_answers_without_a_body,
    test_bodies_down,
    test_bodies_up,
    test_both_ways_at_once,
    test_breaking_off_before_the_head_is_a_502,
    test_continue,
    test_events_come_one_by_one,
    test_host_survives_and_what_is_of_one_hop_does_not,
    test_interim_answers_pass,
    test_repeated_headers_survive,
    test_targets_lead_to_the_local_server_only,
    test_too_many_interim_answers_do_not_cost_the_tunnel,
    test_websocket_floods_down,
    test_websockets,
    test_what_is_secret_does_not_reach_the_local_server,
    test_what_was_said_last_outlives_the_connection,
)

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(120)]
