//! The engine on its own thread. Callers talk to it through channels only, so that a pass of the model blocks nobody.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;

use super::language_model::LanguageModel;
use super::request::{Completion, EngineError, Request};
use super::{Engine, Progress, RequestId};

type Answer = Result<Completion, EngineError>;

enum Command {
    Submit(u64, Box<Request>, oneshot::Sender<Answer>),
    Cancel(u64),
}

/// A way to the engine. Clones lead to the same one; when the last is dropped, the thread ends.
#[derive(Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// Where an engine stands, for whoever only looks: it does not keep the thread.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    tickets: std::sync::atomic::AtomicU64,
}

/// An answer on its way. Dropping it withdraws the request.
pub struct Pending {
    ticket: u64,
    answer: oneshot::Receiver<Answer>,
    commands: mpsc::Sender<Command>,
    done: bool,
}

/// Starts the thread of `engine`.
pub fn spawn<M: LanguageModel>(engine: Engine<M>) -> std::io::Result<EngineHandle> {
    let (commands, inbox) = mpsc::channel();
    let shared = Arc::new(Shared::default());
    let seen = Arc::clone(&shared);
    thread::Builder::new().name("engine".to_owned()).spawn(move || run(engine, &inbox, &seen))?;
    Ok(EngineHandle { commands, shared })
}

impl EngineHandle {
    /// Asks for an answer. The request is in the engine's queue when this returns.
    pub fn submit(&self, request: Request) -> Pending {
        let ticket = self.shared.tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        // A thread that is gone drops the sender, which the answer then tells.
        let _ = self.commands.send(Command::Submit(ticket, Box::new(request), sender));
        Pending { ticket, answer, commands: self.commands.clone(), done: false }
    }

    /// A look at the engine's progress, now and later.
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(&self.shared) }
    }
}

impl Watch {
    /// Where the engine stood after its last step.
    pub fn progress(&self) -> Progress {
        *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = Pin::new(&mut self.answer).poll(context);
        self.done = answer.is_ready();
        answer.map(|received| received.unwrap_or(Err(EngineError::Stopped)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.commands.send(Command::Cancel(self.ticket));
        }
    }
}

/// The thread: take what was asked, make a pass, hand out what ended.
fn run<M: LanguageModel>(mut engine: Engine<M>, inbox: &mpsc::Receiver<Command>, shared: &Shared) {
    let mut callers = Callers::default();
    loop {
        if engine.is_idle() {
            match inbox.recv() {
                Ok(command) => callers.obey(command, &mut engine),
                Err(_) => return,
            }
        }
        loop {
            match inbox.try_recv() {
                Ok(command) => callers.obey(command, &mut engine),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
        let ended = engine.step();
        // First, so that who has an answer finds it counted.
        *shared.progress.lock().unwrap_or_else(PoisonError::into_inner) = engine.progress();
        for (id, answer) in ended {
            callers.answer(id, answer);
        }
    }
}

/// Who waits for what.
#[derive(Default)]
struct Callers {
    by_ticket: HashMap<u64, RequestId>,
    by_id: HashMap<RequestId, (u64, oneshot::Sender<Answer>)>,
}

impl Callers {
    fn obey<M: LanguageModel>(&mut self, command: Command, engine: &mut Engine<M>) {
        match command {
            Command::Submit(ticket, request, caller) => match engine.submit(*request) {
                Ok(id) => {
                    self.by_ticket.insert(ticket, id);
                    self.by_id.insert(id, (ticket, caller));
                }
                Err(error) => drop(caller.send(Err(error))),
            },
            Command::Cancel(ticket) => {
                if let Some(id) = self.by_ticket.get(&ticket) {
                    engine.cancel(*id);
                }
            }
        }
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some((ticket, caller)) = self.by_id.remove(&id) {
            self.by_ticket.remove(&ticket);
            // A caller that has gone away asked for nothing more.
            let _ = caller.send(answer);
        }
    }
}
