//! A connection, PDU by PDU (PS3.8 section 9.3).

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use dicom_ul::association::{Error as UpperLayerError, read_pdu_from_wire_async};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, write_pdu};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::message::MessageError;
use crate::causes::{causes, in_words};

/// Bytes of a fragment's header within a PDU (PS3.8 section 9.3.5).
const FRAGMENT_HEADER: u32 = 6;
/// Fragments that we send are no longer than this, whatever the peer takes.
const MAX_FRAGMENT: usize = 256 << 10;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The peer hung up.
    #[error("the peer hung up")]
    Hangup,
    /// Nothing came, or something that began did not end.
    #[error("nothing whole came within {0} s")]
    Silence(u64),
    /// A PDU that is none, or is too long.
    #[error("{0}")]
    Unreadable(String),
    /// What we say cannot be sent.
    #[error("nothing can be sent: {0}")]
    Send(#[from] io::Error),
    /// Fragments that make no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// A connection to a peer.
pub(super) struct Wire<S> {
    stream: S,
    read: BytesMut,
    max_pdu_bytes: u32,
    idle: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// PDUs of up to `max_pdu_bytes` are taken; the peer may be silent for `idle`.
    pub(super) fn new(stream: S, max_pdu_bytes: u32, idle: Duration) -> Self {
        Self { stream, read: BytesMut::new(), max_pdu_bytes, idle }
    }

    /// The connection itself.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// How long the peer may be silent, from now on.
    pub(super) fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// The next PDU. It must be whole within the time that the peer may be silent, so that nobody can hold us up by sending
    /// a byte now and then.
    pub(super) async fn receive(&mut self) -> Result<Pdu, WireError> {
        let reading = read_pdu_from_wire_async(&mut self.stream, &mut self.read, self.max_pdu_bytes, true);
        match tokio::time::timeout(self.idle, reading).await {
            Err(_) => Err(WireError::Silence(self.idle.as_secs())),
            Ok(Ok(pdu)) => Ok(pdu),
            Ok(Err(UpperLayerError::ConnectionClosed { .. })) => Err(WireError::Hangup),
            Ok(Err(error)) if causes(&error).any(|cause| cause.is::<io::Error>()) => Err(WireError::Hangup),
            Ok(Err(error)) => Err(WireError::Unreadable(in_words(&error))),
        }
    }

    /// Sends a PDU.
    pub(super) async fn send(&mut self, pdu: &Pdu) -> io::Result<()> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(io::Error::other)?;
        let sending = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing more");
        tokio::time::timeout(self.idle, sending).await.map_err(|_| late())?
    }

    /// Sends a message in fragments of what the peer takes.
    pub(super) async fn send_message(
        &mut self,
        context: u8,
        command: &[u8],
        data_set: Option<&[u8]>,
        max_pdu_bytes: u32,
    ) -> io::Result<()> {
        self.send_fragments(context, PDataValueType::Command, command, max_pdu_bytes).await?;
        match data_set {
            Some(data) => self.send_fragments(context, PDataValueType::Data, data, max_pdu_bytes).await,
            None => Ok(()),
        }
    }

    async fn send_fragments(
        &mut self,
        context: u8,
        value_type: PDataValueType,
        bytes: &[u8],
        max_pdu_bytes: u32,
    ) -> io::Result<()> {
        let most = (max_pdu_bytes.saturating_sub(FRAGMENT_HEADER).max(64) as usize & !1).min(MAX_FRAGMENT);
        let pieces = bytes.chunks(most).count();
        for (at, piece) in bytes.chunks(most).enumerate() {
            let data = vec![PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: at + 1 == pieces,
                data: piece.to_vec(),
            }];
            self.send(&Pdu::PData { data }).await?;
        }
        Ok(())
    }

    /// Ends the connection so that the peer gets what was sent last.
    pub(super) async fn close(&mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }
}
