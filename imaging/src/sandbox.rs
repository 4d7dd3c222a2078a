//! Decoding in a child process, where a crash or a runaway allocation takes down one frame and nothing else.
//!
//! The parent scans the object and sends the child one codestream with its pixel description; the child sends back
//! one frame. The child never sees the rest of the object, opens no file, and has a cap on its memory. Native pixels
//! need no decoder and do not cross the pipe.

mod client;
mod protocol;
mod server;

pub use client::{Decoder, DecoderCommand, SandboxError};
pub use server::{ServeError, serve, serve_stdio};

/// Address space of a decoder process, in bytes.
pub const MAX_PROCESS_BYTES: u64 = 1 << 30;
