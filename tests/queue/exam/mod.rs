//! The exam of the queue port: what every adapter must do, told to it through the port alone.

pub(crate) mod crowds;
pub(crate) mod dead;
pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod news;
pub(crate) mod operators;
pub(crate) mod reading;
pub(crate) mod submissions;
pub(crate) mod telling;
pub(crate) mod turns;
pub(crate) mod verdicts;
pub(crate) mod waiting;

use std::sync::Arc;

use async_trait::async_trait;
use postrider::queue::Queue;

use super::clock::TestClock;

/// An adapter with a place of its own for one test.
#[async_trait]
pub(crate) trait Adapter: Send + Sync {
    /// A handle on that place, as another process would have it, and the clocks that it goes by.
    async fn open(&self) -> (Arc<dyn Queue>, TestClock);

    /// The same with all tenants side by side, for questions of whose turn it exactly is. Where tenants
    /// are spread over shards, those of different shards come as their shards do.
    async fn open_side_by_side(&self) -> (Arc<dyn Queue>, TestClock) {
        self.open().await
    }
}

/// Has an adapter sit the whole exam, one test each.
macro_rules! exam {
    (@list $adapter:expr; $($topic:ident: $($name:ident)*;)*) => {
        $(mod $topic {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                crate::queue::exam::$topic::$name(&$adapter).await;
            })*
        })*
    };
    ($adapter:expr) => { $crate::queue::exam::exam!(@list $adapter;
        crowds:
            a_job_is_never_claimed_twice_over_several_handles
            a_thousand_equal_submissions_make_one_job
            one_bad_submission_does_not_fail_its_neighbours
            a_caller_that_goes_away_blocks_nobody
            limits_hold_when_everybody_draws_at_once;
        dead:
            a_failed_job_is_retried_with_all_its_attempts
            a_cancelled_job_is_retried
            an_unfinished_job_is_neither_retried_nor_discarded
            a_finished_job_is_discarded
            a_retry_does_not_make_a_twin
            finished_jobs_are_kept_as_long_as_told
            the_dead_of_a_tenant_are_thinned_oldest_first
            pruning_is_bounded;
        leases:
            a_lease_is_held_until_its_last_millisecond
            an_extended_lease_is_kept
            a_stale_fence_writes_nothing
            the_same_fence_settles_once
            a_vanished_worker_costs_a_crash_and_an_attempt
            the_third_crash_is_quarantined
            a_rescue_of_a_cancelled_job_cancels_it
            rescuing_is_bounded
            a_checkpoint_is_handed_to_the_next_run;
        limits:
            a_window_admits_its_count_and_parks_the_lane_until_the_next_permit
            no_sliding_window_is_ever_overfull
            all_windows_of_a_lane_must_admit
            lanes_that_share_a_bucket_share_its_permits
            hundreds_of_lanes_may_share_a_permit
            a_shared_limit_holds_over_tenants
            a_refund_gives_the_permit_back
            a_refund_counts_for_a_window_that_is_made_wider_later
            a_release_gives_the_permit_back
            a_drawn_permit_counts_for_lanes_too
            a_draw_says_what_is_left_and_when
            in_flight_is_freed_by_settling
            a_new_policy_frees_or_holds_the_lane
            limits_outlive_the_jobs_that_drew_on_them;
        news:
            a_waiter_hears_of_a_new_job
            a_waiter_that_claimed_among_others_hears_of_a_new_job
            a_waiter_hears_of_another_process_job
            a_waiter_does_not_miss_what_came_before_it_waited
            a_waiter_hears_of_a_freed_seat
            changes_have_rising_versions;
        operators:
            a_waiting_job_is_cancelled_at_once
            a_running_job_is_told_of_its_cancel
            a_cancel_is_final_whatever_the_worker_says
            work_that_was_done_stays_done
            a_cancel_comes_too_late_for_a_finished_job
            a_stranger_cannot_touch_a_job
            a_paused_queue_gives_nothing
            a_paused_lane_gives_nothing
            a_lane_that_is_resumed_is_not_parked_any_more
            a_parked_lane_gives_nothing_until_its_moment
            the_longer_park_wins;
        reading:
            a_record_tells_a_life
            jobs_are_listed_newest_first_in_pages
            jobs_are_found_by_what_is_known_of_them
            queues_are_counted
            lanes_are_listed;
        submissions:
            a_repeated_submission_is_answered_as_the_first
            a_reused_key_with_another_request_is_refused
            a_key_is_forgotten_after_its_time
            an_unfinished_twin_is_answered_instead
            a_remembered_answer_has_the_ids_that_were_answered
            a_later_job_is_never_early
            a_batch_is_all_or_nothing;
        telling:
            an_end_is_untold_until_it_was_told
            every_end_is_to_be_told
            an_end_that_is_over_is_not_told
            a_job_that_is_gone_has_no_end_to_tell
            what_is_to_be_told_comes_in_bounded_pieces;
        turns:
            tenants_take_turns
            lanes_of_a_tenant_take_turns
            the_last_of_many_lanes_gets_no_more_than_the_others
            jobs_of_a_lane_run_by_priority_then_arrival
            turns_go_on_over_claims_and_processes
            one_job_is_not_delayed_by_a_tenant_with_many
            a_lone_lane_fills_a_whole_claim
            who_takes_many_takes_them_in_runs
            later_jobs_compete_when_they_are_due
            hundreds_of_lanes_may_be_due_at_one_moment;
        verdicts:
            completing
            retrying
            snoozing_a_job
            snoozing_a_lane
            failing
            failing_with_the_attempt_given_back
            cancelling
            releasing
            rescuing_by_verdict
            nothing_is_written_by_nothing
            the_last_fifty_attempts_are_remembered;
        waiting:
            for_a_turn
            for_a_schedule
            for_a_retry
            for_a_snooze
            for_a_limit
            for_others_in_flight
            for_its_lane
            for_an_operator;
    ); };
}
pub(crate) use exam;
