//! What parent and child say to each other: a length and JSON, then a length and raw bytes.

use std::io::{self, Read, Write};

use prelim_proto::study::UnreadReason;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decode::{Coded, DecodeError};
use crate::frame::{Frame, Pixels};

/// Longest JSON part of a message, in bytes.
const MAX_HEAD_BYTES: u32 = 1 << 16;

/// What the child is asked; the codestream follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) coded: Coded,
    pub(super) max_frame_samples: usize,
}

/// What the child answers; the samples follow a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    Frame { rows: u32, columns: u32, is_colour: bool },
    Refused { reason: UnreadReason, message: String },
}

/// Writes one message.
pub(super) fn write_message<T: Serialize>(out: &mut impl Write, head: &T, body: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    out.write_all(&(head.len() as u32).to_le_bytes())?;
    out.write_all(&head)?;
    out.write_all(&(body.len() as u64).to_le_bytes())?;
    out.write_all(body)?;
    out.flush()
}

/// Reads one message, whose body is at most `max_body_bytes`; nothing at the end of the stream.
pub(super) fn read_message<T: DeserializeOwned>(
    input: &mut impl Read,
    max_body_bytes: u64,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_HEAD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message head over its limit"));
    }
    let mut head = vec![0; length as usize];
    input.read_exact(&mut head)?;
    let head = serde_json::from_slice(&head)?;
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > max_body_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message body over its limit"));
    }
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

impl Response {
    /// The answer for what a decoder gave, with its body.
    pub(super) fn encode(decoded: Result<Frame, DecodeError>) -> (Self, Vec<u8>) {
        match decoded {
            Ok(Frame { rows, columns, pixels: Pixels::Grey(values) }) => {
                let body = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (Self::Frame { rows, columns, is_colour: false }, body)
            }
            Ok(Frame { rows, columns, pixels: Pixels::Rgb(rgb) }) => {
                (Self::Frame { rows, columns, is_colour: true }, rgb)
            }
            Err(error) => (Self::Refused { reason: error.unread_reason(), message: error.to_string() }, Vec::new()),
        }
    }

    /// The frame of an answer; nothing where the samples are not as many as it says.
    pub(super) fn frame(rows: u32, columns: u32, is_colour: bool, body: Vec<u8>) -> Option<Frame> {
        let samples = rows as usize * columns as usize;
        let expected = if is_colour { samples * 3 } else { samples * 4 };
        if body.len() != expected {
            return None;
        }
        let pixels = if is_colour {
            Pixels::Rgb(body)
        } else {
            Pixels::Grey(body.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
        };
        Some(Frame { rows, columns, pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_crosses_whole_and_a_short_one_does_not() {
        let frame = Frame { rows: 1, columns: 2, pixels: Pixels::Grey(vec![-5, 70_000]) };
        let (head, body) = Response::encode(Ok(frame.clone()));
        let mut wire = Vec::new();
        write_message(&mut wire, &head, &body).unwrap();
        let read = |wire: &[u8]| read_message::<Response>(&mut &wire[..], 8);
        let Some((Response::Frame { rows, columns, is_colour }, body)) = read(&wire).unwrap() else { panic!() };
        assert_eq!(Response::frame(rows, columns, is_colour, body), Some(frame));
        assert_eq!(Response::frame(1, 2, false, vec![0; 7]), None);
        assert!(read(&wire[..wire.len() - 1]).is_err());
        assert!(read_message::<Response>(&mut &wire[..], 7).is_err());
        assert!(read(&[]).unwrap().is_none());
    }
}
