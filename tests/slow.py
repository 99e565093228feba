"""What `make quick` leaves out: tests that take a second or more of a core.

A line is a file below `tests/`, or a file and one of its functions. `tests/test_mirror.py` sees to
it that each line names something, and that every module keeps a test that is not slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WORKERS = re.compile(r"-n[12]\b")
"""In what a test was parametrized with: its session has workers, which import everything anew."""

SLOW = {
    "properties of hundreds of examples, and every byte in turn": """
        cli/test_compare.py::test_two_recordings_of_one_commit_are_green
        cli/test_compare.py::test_one_exit_code_is_one_family
        cli/test_compare.py::test_the_metric_that_was_named_decides
        analysis/test_judging.py::test_a_claim_between_arms_never_contradicts_its_row
        events/test_enrichment.py::test_enriching_never_raises
        events/test_enrichment.py::test_rows_say_what_enrichment_says
        events/test_enrichment_batch.py::test_columns_say_what_enriching_each_event_says
        stats/test_drift.py::test_runs_without_drift_are_rarely_called_drifting
        stats/test_bounded_changes.py::test_one_small_change_never_says_more_than_none
        stats/test_bounds.py::test_bounds_stay_within_the_declared_range
        stats/test_bounds.py::test_mostly_ones_are_held
        stats/test_bounds.py::test_order_does_not_matter
        stats/test_estimates.py::test_whatever_is_recorded_is_rendered
        stats/test_formula_samples.py::test_changes_stay_within_what_is_possible
        stats/test_gaffke.py::test_bounds_hold_the_mean_within_the_ends
        stats/test_gaffke.py::test_order_does_not_matter
        stats/test_mean_changes.py::test_differences_are_scipys
        stats/test_melded.py::test_exchanged_and_mirrored_sides
        stats/test_metric_changes.py::test_a_higher_confidence_is_wider
        stats/test_metric_changes.py::test_intervals_of_multiples_stay_within_what_is_possible
        stats/test_metric_changes.py::test_intervals_stay_within_what_is_possible
        stats/test_metric_changes.py::test_the_interval_excludes_no_change_just_if_p_is_small
        stats/test_metric_changes.py::test_the_order_of_values_does_not_matter
        stats/test_metric_changes.py::test_the_scale_is_told_beforehand
        stats/test_percentiles.py::test_interval_and_p_are_one
        metrics/test_agreement.py::test_alpha_is_its_definition
        metrics/test_agreement.py::test_kappa_is_its_definition
        stats/test_agreement_samples.py::test_intervals_hold_alpha
        stats/test_agreement_samples.py::test_intervals_hold_kappa
        stats/test_contingency.py::test_fisher_is_scipys
        stats/test_betting.py::test_bounds_exclude_what_the_money_refutes
        stats/test_betting.py::test_bounds_never_get_worse_with_more_values
        stats/test_betting.py::test_bounds_stay_within_what_is_possible
        stats/test_formula_samples.py::test_intervals_hold_the_truth
        stats/test_live_claims.py::test_pairs_that_are_decided_here_are_decided_at_the_end
        stats/test_live_claims.py::test_what_is_decided_here_is_decided_at_the_end
        stats/test_sequential.py::test_bounds_of_a_percentile_are_bets_on_shares
        stats/test_sequential.py::test_interval_and_p_of_pairs_agree
        stats/test_formula_samples.py::test_an_unchanged_arm_is_rarely_called_changed
        events/test_fingerprint.py::test_order_does_not_count
        events/test_fingerprint.py::test_plain_values_are_told_apart
        exports/test_batches.py::test_a_chunk_gives_its_events_back
        exports/test_batches.py::test_files_are_the_same
        exports/test_batches.py::test_loaded_columns_say_what_enrichment_says
        exports/test_batches.py::test_marked_files_are_the_same
        exports/test_batches.py::test_marked_places_are_those_that_rows_mark
        exports/test_compressed.py::test_a_torn_compressed_file_is_one_line
        exports/test_compressed.py::test_compressed_files_read_equal_and_are_small
        exports/test_compressed.py::test_nesting_survives_every_form_of_json
        exports/test_export.py::test_measurements_survive
        exports/test_export.py::test_text_metadata_survives
        hooks/test_installed.py::test_the_command_line_asks_them
        hooks/test_installed.py::test_a_format_may_be_read_back
        hooks/test_installed.py::test_recovery_keeps_what_they_say
        hooks/test_installed.py::test_the_library_asks_them
        hooks/test_installed.py::test_a_session_asks_each_once
        hooks/test_installed.py::test_a_format_that_they_lack_too_is_refused
        hooks/test_installed.py::test_a_baseline_may_be_in_their_format
        hooks/test_installed.py::test_a_session_may_do_without
        hooks/test_installed.py::test_one_that_raises_loses_its_own_part
        hooks/test_installed.py::test_one_that_cannot_be_loaded_is_named
        hooks/test_installed.py::test_metrics_are_worked_out_anew_where_that_is_possible
        hooks/test_installed.py::test_an_enricher_that_was_not_asked_is_asked_later
        typing/test_typing.py
        metrics/counting/test_ensembles.py::test_parts_never_exceed_the_whole
        metrics/test_observations_batch.py::test_nodes_share_the_events
        metrics/test_observations_batch.py::test_the_same_as_one_by_one
        metrics/test_outliers.py::test_never_a_nan
        metrics/test_streaming.py::test_beyond_a_few_numbers_percentiles_are_within_the_bound
        metrics/test_streaming.py::test_nodes_merge_in_any_order
        metrics/test_summary.py::test_distribution_agrees_with_numpy_and_statistics
        queries/test_trace.py::test_nothing_is_lost_or_endless
        queries/test_trace.py::test_text_of_odd_values_is_plain_and_short
        record/test_chunks.py::test_chunks_hold_the_events_of_all_nodes
        record/test_interrupts.py
        record/test_merge_property.py
        record/test_store.py::test_both_ways_come_back_in_order
        runs/test_archive.py::test_archived_experiment_reads_back_equal
        runs/test_archive.py::test_no_flipped_byte_goes_unseen
        stats/test_distributions.py::test_binomial
        stats/test_significance.py::test_mann_whitney_is_scipys
        stats/test_significance.py::test_welch_is_scipys
    """,
    "interpreters of their own": """
        bridges/test_awaited.py::test_whatever_is_imported_first
        cli/test_main.py::test_command_exits_with_the_code_of_main
        cli/test_outputs.py::test_a_reader_that_leaves_early_does_not_change_the_code
        events/test_fingerprint.py::test_every_process_finds_the_same
        experiments/test_case_block.py::test_blocks_in_processes
        experiments/test_measure.py::test_a_module_that_measures_when_imported_starts_no_end_of_processes
        experiments/test_step_log.py::test_what_was_logged_before_a_kill_is_there
        session/test_case_referee.py::test_recording_failures_is_what_blocks_do_anyway
        session/test_case_referee.py::test_what_stops_the_session_stops_it
        session/test_case_referee.py::test_a_killed_process_leaves_its_finished_blocks
        session/test_inert.py::test_reading_is_imported_before_it_is_measured
        session/test_inert.py::test_recording_reads_nothing
        session/test_inert.py::test_unmarked_tests_run_as_without_it
        session/test_inert.py::test_without_tests_nothing_is_imported
        session/test_isolation.py::test_numpy_that_a_test_made_forgotten
        session/test_manifest.py::test_it_knows_the_commit
        session/test_neighbours.py::test_cov
        session/test_span_capture.py::test_a_client_that_is_imported_too_late
        session/test_span_capture.py::test_a_provider_that_a_fixture_sets
        session/test_span_capture.py::test_a_thread_may_import_opentelemetry
        session/test_span_capture.py::test_http_calls_without_spans
        session/test_span_capture.py::test_modules_may_be_put_back_after_opentelemetry_came
        session/test_span_capture.py::test_opentelemetry_may_come_within_a_trial
        session/test_unrewritten.py::test_a_session_does_not_rewrite_us
        stats/test_distributions.py::test_a_summary_does_not_import_scipy_stats
        test_examples.py::test_notebook_example_runs_without_pytest
    """,
    "two sessions in turns": """
        cli/test_ab.py::test_a_broken_side_is_told
        cli/test_ab.py::test_a_killed_side_is_told
        cli/test_ab.py::test_a_signal_ends_both_sides
        cli/test_ab.py::test_a_slowdown_is_found
        cli/test_ab.py::test_cases_of_one_side_run_and_are_told
        cli/test_ab.py::test_code_from_elsewhere_is_a_warning
        cli/test_ab.py::test_each_side_may_have_an_environment_of_its_own
        cli/test_ab.py::test_the_same_code_twice_is_said
        cli/test_ab.py::test_the_worktrees_can_be_kept
        cli/test_ab.py::test_without_a_case_in_common_nothing_runs
        session/test_turns.py::test_a_collection_that_failed_runs_nothing
        turns/test_lockstep.py::test_if_one_cannot_start_the_other_is_stopped
        turns/test_lockstep.py::test_they_take_turns
        turns/test_sides.py::test_it_runs_what_it_is_told
        turns/test_sides.py::test_one_that_does_not_stop_is_killed
        turns/test_sides.py::test_one_that_stops_by_itself_says_why
        turns/test_sides.py::test_stopped_it_writes_its_record
    """,
    "workers": """
        session/test_budget.py::test_workers_share_a_budget
        session/test_controller.py::test_attempts_that_are_not_in_the_record_are_loss
        session/test_dist_modes.py
        session/test_manifest.py::test_it_knows_the_seeds
        session/test_roles.py::test_workers_record_into_one_run
        session/test_sampling.py::test_workers_sample_on_their_own
        session/test_stopping.py::test_files_of_other_processes_are_read_line_by_line
        session/test_stopping.py::test_paired_arms_stop_together
        session/test_ssh.py
        session/test_transport.py::test_a_blind_worker_that_dies_keeps_what_it_sent
        session/test_transport.py::test_blind_workers_record_everything
        session/test_trials.py::test_a_replacement_takes_over_the_other_trials
    """,
    "several sessions, or several threads, in one test": """
        metrics/test_streaming.py::test_running_metrics_of_several_threads_count_nothing_twice
        session/test_baseline.py::test_shards_are_merged_to_what_one_session_says
        session/test_case_referee.py::test_a_loop_says_what_parametrized_tests_say
        session/test_concurrency.py
        session/test_expand.py::test_cases_are_the_same_from_run_to_run
        experiments/test_measure.py::test_a_slower_function_fails_the_session
        session/test_family.py::test_claims_and_the_baseline_are_one_family
        session/test_family.py::test_session_command_and_library_say_the_same
        session/test_family.py::test_ten_claims_on_unchanged_code_are_quiet
        session/test_isolation.py::test_a_session_inside_a_session
        session/test_neighbours.py::test_asyncio
        session/test_neighbours.py::test_rerunfailures
        session/test_random_order.py::test_a_seed_of_randomly_gives_the_order_again
        session/test_random_order.py::test_failed_first_is_no_random_order
        session/test_random_order.py::test_the_seed_is_on_record_and_the_users_stays
        session/test_special_metrics.py::test_the_summary_has_them_where_they_occur
        session/test_stopping.py::test_all_claims_must_be_decided_unless_primary_names_some
        session/test_stopping.py::test_other_experiments_share_the_level
    """,
    "processes that die, disks that are full": """
        record/test_spool_faults.py::test_nothing_is_lost_when_killed_at_any_moment
        record/test_spool_faults.py::test_open_files_do_not_pile_up
        session/test_disk_full.py
        session/test_faults.py
    """,
    "simulations, millions, models, measurements": """
        benchmarks/test_ab.py::test_the_promises_are_kept
        benchmarks/test_speed.py
        capture/test_sampler.py::test_estimates_are_unbiased
        metrics/test_streaming.py::test_look_back_is_bounded_and_still_right
        metrics/test_streaming.py::test_memory_does_not_grow_with_the_number_of_events
        analysis/test_pilot.py::test_a_rate_is_planned_from_the_pilot_s
        cli/test_plan.py::test_a_stricter_plan_needs_more
        cli/test_plan.py::test_the_table_of_common_situations
        cli/test_plan.py::test_what_the_docs_show_is_printed
        stats/test_arm_claims.py::test_claim_and_row_are_one
        stats/test_expectations.py::test_a_hundred_true_claims_are_rejected_in_five_percent_of_sessions
        stats/test_expectations.py::test_a_rate_against_a_number
        stats/test_gate_power.py::test_a_rate_close_to_its_threshold
        stats/test_gate_power.py::test_the_cases_for_a_score_decide_it
        stats/test_judged_rows.py::test_a_million_observations
        stats/test_judged_rows.py::test_a_tenfold_slowdown_of_six_pairs_is_found_among_a_hundred
        stats/test_judged_rows.py::test_more_decisions_widen_each_interval
        stats/test_judged_rows.py::test_p_interval_verdict_and_level_are_of_one_procedure
        stats/test_judged_rows.py::test_unchanged_code_is_red_in_five_percent_of_sessions
        stats/test_rate_power.py::test_many_counts_are_thinned_out
        stats/test_rate_power.py::test_p_falls_with_each_failure_and_rises_with_the_margin
        stats/test_rate_power.py::test_the_power_of_pairs
        stats/test_rate_power.py::test_the_power_of_unpaired_rates
        stats/test_betting.py::test_a_hundred_thousand_values_take_about_a_second
        stats/test_betting.py::test_it_costs_less_than_twice_as_many_cases
        stats/test_betting.py::test_several_claims_share_the_level
        stats/test_betting.py::test_several_processes_do_no_harm
        stats/test_betting.py::test_the_benchmark_ends_with_its_tables
        stats/test_betting.py::test_who_peeks_is_rarely_wrong
        stats/test_simulations.py
        test_examples.py::test_examples_reach_their_verdicts
    """,
}
"""What is slow, by the reason."""

LEFT_OUT = frozenset(line for lines in SLOW.values() for line in lines.split())


def is_slow(nodeid: str, parameters: Iterable[object] = ()) -> bool:
    """Whether a test is left out by `make quick`.

    Args:
        nodeid: of the test, from the root of the repository.
        parameters: the values that it was parametrized with.
    """
    file, _, test = nodeid.removeprefix("tests/").partition("::")
    if not LEFT_OUT.isdisjoint((file, f"{file}::{test.partition('[')[0]}")):
        return True
    words = (word for each in parameters for word in (each if isinstance(each, tuple) else (each,)))
    return any(isinstance(word, str) and WORKERS.search(word) for word in words)
