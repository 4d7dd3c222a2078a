//! The child's end.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::MAX_PROCESS_BYTES;
use super::protocol::{Request, Response, read_message, write_message};
use crate::decode::decode_codestream;
use crate::limits::Limits;

/// Why a decoder process ended before its parent closed the pipe.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The cap on memory could not be set; without it nothing is decoded.
    #[error("memory limit of {MAX_PROCESS_BYTES} bytes not set: {0}")]
    Limit(rustix::io::Errno),
    /// The pipe to the parent broke.
    #[error("pipe to the parent: {0}")]
    Pipe(#[from] io::Error),
}

/// Serves the parent on stdin and stdout until it closes them. Caps this process's memory first, for good.
pub fn serve_stdio() -> Result<(), ServeError> {
    let cap = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, cap(MAX_PROCESS_BYTES)).map_err(ServeError::Limit)?;
    // A crash is expected here; its core would hold a patient's image.
    setrlimit(Resource::Core, cap(0)).map_err(ServeError::Limit)?;
    serve(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(())
}

/// Answers requests from `input` on `output` until the input ends.
pub fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    while let Some((request, codestream)) = read_message::<Request>(input, Limits::default().max_object_bytes as u64)? {
        let limits = Limits { max_frame_samples: request.max_frame_samples, ..Limits::default() };
        let decoded = decode_codestream(&request.coded, &codestream, &limits);
        let (head, body) = Response::encode(decoded);
        write_message(output, &head, &body)?;
    }
    Ok(())
}
