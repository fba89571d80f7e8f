//! How far the runs are, on a terminal.
//!
//! A run only stores its virtual time into a [`Clock`]; a thread of its own draws. Drawing from
//! the run's thread would take time and randomness there, and what a run does must not depend on
//! whether somebody watches.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(100);

/// Where a run tells its virtual time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The run is at this virtual time.
    pub fn set(&self, virtual_ms: u64) {
        self.0.store(virtual_ms, Ordering::Relaxed);
    }
}

/// The display.
pub struct Progress {
    events: Option<mpsc::Sender<Event>>,
    thread: Option<JoinHandle<()>>,
}

enum Event {
    Run { name: String, duration_ms: u64, clock: Clock },
    Line(String),
}

impl Progress {
    /// A display for `runs` runs; on what is no terminal only the lines are printed.
    pub fn new(runs: u64, is_terminal: bool) -> Self {
        let target =
            if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let (events, receiver) = mpsc::channel();
        let display = Display { bar: ProgressBar::with_draw_target(None, target), runs, run: 0 };
        let thread = std::thread::spawn(move || display.show(&receiver));
        Self { events: Some(events), thread: Some(thread) }
    }

    /// The next run has begun. It stores its virtual time into the clock.
    pub fn run(&self, name: &str, duration_ms: u64) -> Clock {
        let clock = Clock::default();
        self.send(Event::Run { name: name.to_owned(), duration_ms, clock: clock.clone() });
        clock
    }

    /// Prints a line above the display, on standard output.
    pub fn line(&self, line: String) {
        self.send(Event::Line(line));
    }

    /// Takes the display away after everything was shown.
    pub fn finish(mut self) {
        self.end();
    }

    fn send(&self, event: Event) {
        if let Some(events) = &self.events {
            events.send(event).expect("the display lives until `end`");
        }
    }

    fn end(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the display does not panic");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// A display for many short runs: how many of them are done, and a line that tells of them.
pub struct Counter(ProgressBar);

impl Counter {
    /// A display for so many runs, or for who knows how many; on what is no terminal nothing is
    /// drawn.
    pub fn new(runs: Option<u64>, is_terminal: bool) -> Self {
        let target =
            if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = if runs.is_some() {
            "{wide_bar:.cyan/dim} {pos}/{len}\n{msg}"
        } else {
            "{spinner} {msg}"
        };
        let style = ProgressStyle::with_template(template)
            .expect("the template is constant")
            .progress_chars("━╸─");
        Self(ProgressBar::with_draw_target(runs, target).with_style(style))
    }

    /// One more run is done, and this is where all of them stand.
    pub fn at(&self, line: &str) {
        self.0.set_message(line.to_owned());
        self.0.inc(1);
    }

    /// Prints a line above the display, on standard output.
    pub fn line(&self, line: &str) {
        self.0.suspend(|| {
            // A reader that has seen enough (`| head`) is no fault of the runs.
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    }

    /// Takes the display away.
    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}

struct Display {
    bar: ProgressBar,
    runs: u64,
    run: u64,
}

impl Display {
    fn show(mut self, events: &mpsc::Receiver<Event>) {
        let style =
            ProgressStyle::with_template("{prefix:>9.dim} {msg:32} {wide_bar:.cyan/dim} {pos}")
                .expect("the template is constant")
                .with_key(
                    "pos",
                    |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                        let (at, of) = (state.pos() / 1000, state.len().unwrap_or(0) / 1000);
                        // Writing into the display's own text does not fail.
                        let _ = write!(out, "{at:>5} / {of} s");
                    },
                )
                .progress_chars("━╸─");
        self.bar.set_style(style);
        let mut clock = Clock::default();
        loop {
            match events.recv_timeout(REDRAW) {
                Ok(Event::Run { name, duration_ms, clock: started }) => {
                    self.run += 1;
                    self.bar.set_prefix(format!("{}/{}", self.run, self.runs));
                    self.bar.set_message(name);
                    self.bar.set_length(duration_ms);
                    clock = started;
                }
                Ok(Event::Line(line)) => self.bar.suspend(|| {
                    // A reader that has seen enough (`| head`) is no fault of the runs.
                    let _ = writeln!(std::io::stdout(), "{line}");
                }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.bar.set_position(clock.0.load(Ordering::Relaxed));
        }
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_ends_with_its_runs() {
        let progress = Progress::new(2, false);
        let clock = progress.run("smoke", 60_000);
        clock.set(30_000);
        progress.run("reorg-depth-1", 60_000).set(1);
        progress.finish();
        assert_eq!(Arc::strong_count(&clock.0), 1, "the display keeps nothing of a run");
    }
}
