//! What a network and a disk must do, whichever they are: the same tests run on the real ones
//! and on the simulated ones.
//!
//! Each test is an `async fn` that panics when the promise in its name is broken.
//! [`network_behaviour!`](crate::network_behaviour) and
//! [`storage_behaviour!`](crate::storage_behaviour) call a macro of the caller's with the names
//! of all tests, so that no implementation misses one that is added here.

pub mod network;
pub mod storage;

/// Calls the macro `$run` with the names of the functions in [`network`].
#[macro_export]
macro_rules! network_behaviour {
    ($run:ident) => {
        $run! {
            connects_and_carries_bytes_both_ways
            names_both_ends_alike
            refuses_where_nobody_listens
            refuses_once_the_listener_is_gone
            refuses_a_taken_port
            half_close_leaves_the_other_direction_open
            dropped_write_half_ends_the_stream
            dropped_stream_ends_the_stream
            unread_bytes_at_the_drop_reset_the_connection
            writes_to_a_dropped_stream_fail
            a_writer_waits_for_a_reader_that_does_not_read
            split_halves_work_on_their_own
            the_backlog_keeps_connections_and_their_order
            a_dropped_accept_loses_no_connection
            big_transfers_arrive_whole_in_both_directions
            http_requests_share_a_connection
            http_connections_are_forgotten_together
            http_connections_end_with_their_server
        }
    };
}

/// Calls the macro `$run` with the names of the functions in [`storage`].
#[macro_export]
macro_rules! storage_behaviour {
    ($run:ident) => {
        $run! {
            appended_bytes_are_read_back
            an_opened_file_goes_on_at_its_end
            truncation_cuts_the_end_off
            atomic_writes_replace_the_whole_content
            listings_are_sorted_and_only_of_that_directory
            removed_files_are_gone
            missing_files_are_not_found
        }
    };
}
