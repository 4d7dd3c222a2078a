//! What is on the screen, and what keys change.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prelim_proto::v1::StudyState;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::snapshot::Snapshot;
use crate::table;

/// Moments kept for the curve of the queue: ten minutes.
const KEPT: usize = 600;
/// Lines that a page key moves by.
const PAGE: usize = 10;

/// The screen's content.
pub(super) struct View {
    /// Where the coordinator is.
    pub(super) address: String,
    /// The newest answer.
    pub(super) now: Snapshot,
    /// Why the newest question had no answer, and since when there is none.
    pub(super) trouble: Option<(String, Instant)>,
    /// Jobs that waited at each moment, the newest last.
    pub(super) waiting: VecDeque<u64>,
    /// The first study on the screen.
    pub(super) first: usize,
    answered: Instant,
    over: bool,
}

impl View {
    /// An empty screen.
    pub(super) fn new(address: &str, now: Instant) -> Self {
        Self {
            address: address.to_owned(),
            now: Snapshot::default(),
            trouble: None,
            waiting: VecDeque::new(),
            first: 0,
            answered: now,
            over: false,
        }
    }

    /// Takes an answer, or the reason why none came: then the last one stays on the screen, and the screen says how old it is.
    pub(super) fn take(&mut self, answer: anyhow::Result<Snapshot>, now: Instant) {
        match answer {
            Ok(snapshot) => {
                self.waiting.push_back(table::reads(&snapshot.queue.ready) as u64);
                while self.waiting.len() > KEPT {
                    self.waiting.pop_front();
                }
                self.now = snapshot;
                self.trouble = None;
                self.answered = now;
                self.first = self.first.min(self.last());
            }
            Err(error) => self.trouble = Some((error.to_string(), self.answered)),
        }
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) {
        let last = self.last();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.over = true,
            KeyCode::Char('q') | KeyCode::Esc => self.over = true,
            KeyCode::Down | KeyCode::Char('j') => self.first = (self.first + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.first = (self.first + PAGE).min(last),
            KeyCode::PageUp => self.first = self.first.saturating_sub(PAGE),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = last,
            _ => {}
        }
    }

    /// Whether somebody has seen enough.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How long what waits and runs will take the workers that are there; `None` without any.
    pub(super) fn clears_in(&self) -> Option<Duration> {
        let working = self.now.workers.iter().filter(|worker| !worker.draining);
        let slots: u32 = working.filter_map(|worker| worker.status.as_ref()).map(|status| status.slots).sum();
        let seconds = self.now.queue.backlog_seconds / f64::from(slots);
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Studies in a state, of those that were listed.
    pub(super) fn listed(&self, state: StudyState) -> usize {
        self.now.studies.iter().filter(|study| study.state() == state).count()
    }

    fn last(&self) -> usize {
        self.now.studies.len().saturating_sub(1)
    }
}
