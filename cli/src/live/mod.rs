//! `prelim watch` on a terminal: the cluster at a glance, until somebody presses q.
//!
//! # Layout
//! - [`snapshot`]: what is asked of the coordinator, once a second
//! - [`view`]: what is on the screen, and what keys change (pure)
//! - [`draw`]: the screen (pure)
//!
//! **Invariant**: nothing here shows a patient: the screen may hang on a wall.

mod draw;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::snapshot::Source;
use self::view::View;
use crate::client::Connection;

/// How often the coordinator is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take before the screen says that none comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows the cluster until q, Esc or Ctrl-C.
///
/// # Errors
/// No coordinator answers at the start, or it does not let the caller look. Later the screen says so, and it is tried again.
pub(crate) async fn show(connection: &Connection) -> anyhow::Result<()> {
    let mut source = Source::connect(connection).await?;
    let mut view = View::new(&connection.args.grpc, Instant::now());
    view.take(Ok(source.ask().await?), Instant::now());
    let mut terminal = ratatui::try_init()?;
    let shown = run(&mut terminal, &mut source, &mut view).await;
    // The terminal is given back first, so that an error is read on it.
    ratatui::try_restore()?;
    shown
}

async fn run(terminal: &mut ratatui::DefaultTerminal, source: &mut Source, view: &mut View) -> anyhow::Result<()> {
    let mut events = events();
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock.tick().await;
    while !view.is_over() {
        terminal.draw(|frame| draw::draw(frame, view, Instant::now()))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => view.press(key),
                Some(_) => {}
                // The terminal is gone.
                None => return Ok(()),
            },
            _ = clock.tick() => {
                let answer = tokio::time::timeout(PATIENCE, source.ask()).await;
                let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within 5 s")));
                view.take(answer, Instant::now());
            }
        }
    }
    Ok(())
}

/// Keys and changes of size. They are read on a thread of their own, which ends with the program.
fn events() -> UnboundedReceiver<Event> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    receiver
}
