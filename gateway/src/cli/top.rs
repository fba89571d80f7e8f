//! `gateway top`: a screen that follows a running gateway.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use serde_json::Value;
use tokio::sync::mpsc;

use super::status::{Target, TargetArgs};
use super::view;

const REFRESH: Duration = Duration::from_secs(1);
/// Workers that are asked for; those with the highest hash rate are shown.
const WORKERS: usize = 1000;
/// Seconds that the curve of the hash rate goes back, where the terminal is wide enough.
const HISTORY: usize = 600;

/// Shows the report, the hash rate and the strongest workers until a key ends it.
pub(crate) async fn top(args: &TargetArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        std::io::stdout().is_terminal(),
        "top needs a terminal to draw on; `gateway status` prints the same once"
    );
    let gateway = Target::new(args)?;
    let mut terminal = ratatui::try_init()?;
    let followed = follow(&gateway, &mut terminal).await;
    ratatui::restore();
    followed.map(|()| ExitCode::SUCCESS)
}

async fn follow(gateway: &Target, terminal: &mut ratatui::DefaultTerminal) -> anyhow::Result<()> {
    let (mut screen, mut events) = (Screen::default(), terminal_events());
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) if !is_end(&event) => {}
                _ => return Ok(()),
            },
            _ = refresh.tick() => screen.show(look(gateway).await),
        }
        terminal.draw(|frame| screen.draw(frame))?;
    }
}

async fn look(gateway: &Target) -> anyhow::Result<(Value, Value)> {
    let status = gateway.get("/api/v1/status").await?;
    Ok((status, gateway.get(&format!("/api/v1/workers?limit={WORKERS}")).await?))
}

/// What the terminal tells: keys, and its size when that changes. The thread that waits for them
/// ends with the process, since nothing interrupts the wait.
fn terminal_events() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read()
            && sender.send(event).is_ok()
        {}
    });
    receiver
}

/// Whether a key says that it is enough: q, Escape or Ctrl-C.
fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_interrupt
}

/// What is shown.
#[derive(Default)]
struct Screen {
    /// `/api/v1/status` and `/api/v1/workers`, or why they are not there: what was true before is
    /// not shown then.
    page: Option<Result<(Value, Value), String>>,
    /// The hash rate over one minute in GH/s, newest first, one for each refresh.
    rates: VecDeque<u64>,
}

impl Screen {
    fn show(&mut self, page: anyhow::Result<(Value, Value)>) {
        let page = page.map_err(|error| platform::in_full(error.as_ref()));
        let rate = page.as_ref().map_or(0.0, |(status, _)| {
            status["hash_rate"]["one_minute"].as_f64().unwrap_or_default()
        });
        self.rates.push_front((rate / 1e9) as u64);
        self.rates.truncate(HISTORY);
        self.page = Some(page);
    }

    fn draw(&self, frame: &mut Frame) {
        let (status, workers) = match &self.page {
            None => return frame.render_widget("waiting for the gateway", frame.area()),
            Some(Err(why)) => return frame.render_widget(why.as_str().red(), frame.area()),
            Some(Ok((status, workers))) => (status, workers),
        };
        let text = view::status(status);
        let lines = text.lines().count() as u16;
        let [top, middle, bottom, keys] = Layout::vertical([
            Constraint::Length(lines + 2),
            Constraint::Length(5),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let colour = if status["ready"] == true { Color::Green } else { Color::Red };
        let block = |title: &'static str| Block::bordered().title(title);
        let head = block(" gateway ").border_style(Style::new().fg(colour));
        frame.render_widget(Paragraph::new(text).block(head), top);
        let rates = Sparkline::default().data(self.rates.iter().copied());
        frame.render_widget(rates.block(block(" hash rate, newest first ")), middle);
        frame.render_widget(workers_table(workers).block(block(" strongest workers ")), bottom);
        frame.render_widget("q ends".dim(), keys);
    }
}

/// The workers of `/api/v1/workers`, the highest hash rate first.
fn workers_table(page: &Value) -> Table<'static> {
    let rate = |worker: &Value, span: &str| worker["hash_rate"][span].as_f64().unwrap_or_default();
    let mut workers: Vec<&Value> = page["workers"].as_array().into_iter().flatten().collect();
    workers.sort_by(|a, b| rate(b, "five_minutes").total_cmp(&rate(a, "five_minutes")));
    let rows = workers.into_iter().map(|worker| {
        // A worker's name must not move the cursor.
        let name = worker["worker_id"].as_str().unwrap_or("?").chars();
        let name: String = name.filter(|c| !c.is_control()).collect();
        let rates = ["one_minute", "five_minutes", "one_hour"];
        let rates = rates.map(|span| format!("{:>14}", view::hash_rate(rate(worker, span))));
        Row::new(std::iter::once(name).chain(rates))
    });
    let title = ["worker".to_owned(), right("1 min"), right("5 min"), right("1 h")];
    let widths =
        [Constraint::Fill(1), Constraint::Max(14), Constraint::Max(14), Constraint::Max(14)];
    Table::new(rows, widths).header(Row::new(title).bold())
}

fn right(title: &str) -> String {
    format!("{title:>14}")
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn drawn(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(76, 26)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_shows_how_the_gateway_stands() {
        let worker = |name: &str, rate: f64| {
            let rates = json!({ "one_minute": rate, "five_minutes": rate, "one_hour": rate / 2.0 });
            json!({ "worker_id": name, "hash_rate": rates })
        };
        let mut screen = Screen::default();
        for minute in 0..60 {
            let mut status = view::sample();
            status["hash_rate"]["one_minute"] = json!(1e12 + 1e10 * f64::from(minute));
            // The control character is gone from the name.
            let workers = [worker("weak", 1e9), worker("stro\u{1b}[2Jng", 1.5e12)];
            screen.show(Ok((status, json!({ "workers": workers }))));
        }
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/gateway"),
            prepend_module_to_snapshot => false, omit_expression => true,
        }, { insta::assert_snapshot!("top", drawn(&screen)) });
    }

    #[test]
    fn what_was_true_before_is_not_shown() {
        let mut screen = Screen::default();
        assert!(drawn(&screen).contains("waiting for the gateway"));
        screen.show(Ok((view::sample(), json!({}))));
        screen.show(Err(anyhow::anyhow!("connection refused")));
        let text = drawn(&screen);
        assert!(text.contains("connection refused") && !text.contains("inline"), "{text}");
    }

    #[rstest]
    #[case::q(KeyCode::Char('q'), KeyModifiers::NONE, true)]
    #[case::escape(KeyCode::Esc, KeyModifiers::NONE, true)]
    #[case::interrupt(KeyCode::Char('c'), KeyModifiers::CONTROL, true)]
    #[case::plain_c(KeyCode::Char('c'), KeyModifiers::NONE, false)]
    fn keys_that_end_it(
        #[case] code: KeyCode,
        #[case] modifiers: KeyModifiers,
        #[case] ends: bool,
    ) {
        assert_eq!(is_end(&Event::Key(KeyEvent::new(code, modifiers))), ends);
        assert!(!is_end(&Event::Resize(80, 24)));
    }
}
