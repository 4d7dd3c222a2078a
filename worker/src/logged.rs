//! What this crate logs, as text, for tests of what must not be in it.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Everything that this thread logs from now on, until this is dropped.
pub(crate) struct Logged {
    text: Text,
    _logging: DefaultGuard,
    /// With two registered, what another test's thread reaches first is not switched off for this one.
    _second: Dispatch,
}

impl Logged {
    pub(crate) fn start() -> Self {
        let text = Text::default();
        let logging = tracing::dispatcher::set_default(&Dispatch::new(text.clone()));
        Self { _second: Dispatch::new(text.clone()), text, _logging: logging }
    }

    /// Spans and events so far, as `name=value ` after each other.
    pub(crate) fn text(&self) -> String {
        self.text.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Visit for &Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Text {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("prelim_worker")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = self;
        span.record(&mut text);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = self;
        values.record(&mut text);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = self;
        event.record(&mut text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
