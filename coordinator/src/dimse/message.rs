//! Fragments to messages: a command set, and the data set that belongs to it (PS3.8 annex E).

use std::sync::Arc;

use dicom_ul::pdu::{PDataValue, PDataValueType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MEMORY_UNIT;
use super::command::{Command, CommandError, MAX_COMMAND_BYTES};

/// A whole message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its presentation context.
    pub(super) context: u8,
    /// Its command set.
    pub(super) command: Command,
    /// Its data set; `None` where it has none.
    pub(super) data_set: Option<DataSet>,
}

/// A data set as it came.
#[derive(Debug)]
pub(super) enum DataSet {
    /// All of it, and its share of the memory for objects, which is free again when this is dropped.
    Whole(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// It was received and thrown away.
    Dropped(Dropped),
}

/// Why a data set was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is longer than any object may be.
    TooLong,
    /// Others hold the memory for objects.
    NoMemory,
}

/// Why fragments make no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// A command set that is none.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command set that does not end.
    #[error("a command set of more than {MAX_COMMAND_BYTES} bytes")]
    LongCommand,
    /// A data set before its command, a command in the middle of a data set, or a fragment of another context.
    #[error("{0}")]
    Order(&'static str),
}

/// Puts fragments together.
pub(super) struct Assembler {
    /// Longest data set.
    max_bytes: usize,
    memory: Arc<Semaphore>,
    state: State,
}

enum State {
    /// Within a command set of a context.
    Command(Option<u8>, Vec<u8>),
    /// Within the data set of a command of a context. Boxed: most of the time there is none.
    Data(u8, Box<Command>, Filling),
}

struct Filling {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
    dropped: Option<Dropped>,
}

impl Assembler {
    /// Data sets of up to `max_bytes` take their memory from `memory`.
    pub(super) fn new(max_bytes: usize, memory: Arc<Semaphore>) -> Self {
        Self { max_bytes, memory, state: State::Command(None, Vec::new()) }
    }

    /// Whether the next fragment may be the first of a message.
    pub(super) fn is_between(&self) -> bool {
        matches!(&self.state, State::Command(_, bytes) if bytes.is_empty())
    }

    /// Takes a fragment; returns the message that is whole with it.
    pub(super) fn push(&mut self, fragment: PDataValue) -> Result<Option<Message>, MessageError> {
        let PDataValue { presentation_context_id: context, value_type, is_last, data } = fragment;
        match (&mut self.state, value_type) {
            (State::Command(of, bytes), PDataValueType::Command) => {
                if of.is_some_and(|of| of != context) {
                    return Err(MessageError::Order("a command set in two presentation contexts"));
                }
                *of = Some(context);
                if bytes.len() + data.len() > MAX_COMMAND_BYTES {
                    return Err(MessageError::LongCommand);
                }
                bytes.extend(data);
                if !is_last {
                    return Ok(None);
                }
                let command = Command::read(bytes)?;
                if command.has_data_set {
                    self.state = State::Data(context, Box::new(command), Filling::new());
                    return Ok(None);
                }
                self.state = State::Command(None, Vec::new());
                Ok(Some(Message { context, command, data_set: None }))
            }
            (State::Command(..), PDataValueType::Data) => {
                Err(MessageError::Order("a data set without a command set before it"))
            }
            (State::Data(..), PDataValueType::Command) => {
                Err(MessageError::Order("a command set within another message's data set"))
            }
            (State::Data(of, command, filling), PDataValueType::Data) => {
                if *of != context {
                    return Err(MessageError::Order("a data set in another presentation context than its command set"));
                }
                filling.add(&data, self.max_bytes, &self.memory);
                if !is_last {
                    return Ok(None);
                }
                let (command, filling) = (command.as_ref().clone(), std::mem::replace(filling, Filling::new()));
                self.state = State::Command(None, Vec::new());
                Ok(Some(Message { context, command, data_set: Some(filling.into()) }))
            }
        }
    }
}

impl Filling {
    fn new() -> Self {
        Self { bytes: Vec::new(), permit: None, dropped: None }
    }

    /// Adds a fragment, unless what came before is thrown away already.
    fn add(&mut self, data: &[u8], max_bytes: usize, memory: &Arc<Semaphore>) {
        if self.dropped.is_some() {
            return;
        }
        let bytes = self.bytes.len() + data.len();
        if bytes > max_bytes {
            return self.drop_all(Dropped::TooLong);
        }
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(MEMORY_UNIT).saturating_sub(held);
        if more > 0 {
            match memory.clone().try_acquire_many_owned(more as u32) {
                Ok(permit) => match &mut self.permit {
                    Some(held) => held.merge(permit),
                    none => *none = Some(permit),
                },
                Err(_) => return self.drop_all(Dropped::NoMemory),
            }
        }
        self.bytes.extend_from_slice(data);
    }

    fn drop_all(&mut self, why: Dropped) {
        *self = Self { dropped: Some(why), ..Self::new() };
    }
}

impl From<Filling> for DataSet {
    fn from(filling: Filling) -> Self {
        match filling.dropped {
            Some(why) => Self::Dropped(why),
            None => Self::Whole(filling.bytes, filling.permit),
        }
    }
}
