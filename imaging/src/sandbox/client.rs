//! The parent's end.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::protocol::{Request, Response, read_message, write_message};
use crate::decode::{self, Coded, DecodeError, Located};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::scan::Scanned;

/// How to start a decoder process: a program that calls [`super::serve_stdio`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// All of its environment: it inherits none.
    pub environment: Vec<(OsString, OsString)>,
}

/// Why the decoder process gave no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// It could not be started.
    #[error("decoder process not started: {0}")]
    NotStarted(String),
    /// It died: most likely of this frame.
    #[error("decoder process ended with {0} on this frame")]
    Died(String),
    /// It was killed.
    #[error("decoder process took longer than {0} ms on this frame")]
    DeadlinePassed(u128),
    /// It answered what it cannot have meant.
    #[error("decoder process answered out of order: {0}")]
    BadAnswer(String),
}

/// A decoder process, started when first needed and again after each death.
#[derive(Debug)]
pub struct Decoder {
    command: DecoderCommand,
    limits: Limits,
    deadline: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Decoder {
    /// Time that one frame may take. The largest films take about two seconds on a slow machine.
    pub const DEADLINE: Duration = Duration::from_secs(60);

    /// A decoder that will run `command`, killed where a frame takes longer than `deadline`.
    pub fn new(command: DecoderCommand, limits: Limits, deadline: Duration) -> Self {
        Self { command, limits, deadline, running: None }
    }

    /// Decodes frame `number` (from 1). Blocks for as long as the deadline.
    ///
    /// After an error of the [`DecodeError::Sandbox`] kind the next call starts a fresh process.
    pub fn decode(&mut self, scanned: &Scanned<'_>, number: u32) -> Result<Frame, DecodeError> {
        match decode::locate(scanned, number, &self.limits)? {
            Located::Native(frame) => Ok(frame),
            Located::Coded(coded, codestream) => decode::finish(self.ask(&coded, &codestream)?, &coded, scanned),
        }
    }

    /// Id of the running process, for those who watch it.
    pub fn process_id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    fn ask(&mut self, coded: &Coded, codestream: &[u8]) -> Result<Frame, DecodeError> {
        let request = Request { coded: coded.clone(), max_frame_samples: self.limits.max_frame_samples };
        // One that died since is no fault of this frame.
        let alive = self.running.take().and_then(Running::alive);
        let mut running = match alive {
            Some(running) => running,
            None => start(&self.command)?,
        };
        let pixels = coded.description.pixels() as u64;
        let answer = with_deadline(&running.child, self.deadline, || {
            write_message(&mut running.stdin, &request, codestream)?;
            // At most 4 bytes a pixel, grey or colour.
            read_message::<Response>(&mut running.stdout, 4 * pixels)
        });
        match answer {
            (_, true) => {
                running.end();
                Err(SandboxError::DeadlinePassed(self.deadline.as_millis()).into())
            }
            (Ok(Some((Response::Frame { rows, columns, is_colour }, body))), _) => {
                let expected = (rows, columns) == (coded.description.rows, coded.description.columns);
                let frame = expected.then(|| Response::frame(rows, columns, is_colour, body)).flatten();
                let frame = frame.ok_or_else(|| SandboxError::BadAnswer(format!("a frame of {rows} × {columns}")))?;
                self.running = Some(running);
                Ok(frame)
            }
            (Ok(Some((Response::Refused { reason, message }, _))), _) => {
                self.running = Some(running);
                Err(DecodeError::Refused { reason, message })
            }
            (Ok(None) | Err(_), false) => Err(SandboxError::Died(running.end()).into()),
        }
    }
}

fn start(command: &DecoderCommand) -> Result<Running, SandboxError> {
    let not_started = |error: io::Error| SandboxError::NotStarted(format!("{}: {error}", command.program.display()));
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(not_started)?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Ok(Running { child, stdin, stdout }),
        _ => Err(SandboxError::NotStarted("no pipes".to_owned())),
    }
}

/// Runs `talk`, and kills `child` where it takes longer than `deadline`; tells whether it did. The death of the
/// child closes its pipes, which ends `talk`.
fn with_deadline<T>(child: &Child, deadline: Duration, talk: impl FnOnce() -> T) -> (T, bool) {
    let pid = Pid::from_child(child);
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let passed = wait.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
            if passed {
                // Fails only where the child is dead already.
                let _ = kill_process(pid, Signal::KILL);
            }
            passed
        });
        let talked = talk();
        drop(done);
        (talked, watchdog.join().unwrap_or(false))
    })
}

impl Running {
    /// This process, if it still runs.
    fn alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Makes sure that the process is gone, and says how it went.
    fn end(mut self) -> String {
        // A process that closed its pipes may still be on its way out; one that answered nonsense may never go.
        for _ in 0..20 {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("signal {signal}"),
                None => status.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It holds nothing worth saving, and a reaped child leaves no zombie.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
