//! One association, from its request to its end (PS3.8 section 9.2).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dicom_dictionary_std::uids;
use dicom_ul::association::read_pdu_from_wire_async;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderPresentationReason, AssociationRJSource, AssociationRQ, PDataValue, PDataValueType,
    Pdu, write_pdu,
};
use prelim_imaging::Limits;
use prelim_proto::ids::Uid;
use prelim_proto::study::Priority;
use prelim_proto::trace::without_uids;
use tokio::io::AsyncWriteExt as _;

use super::Scp;
use super::command::{self, field};
use super::message::{Assembler, DataSet, Message, MessageError};
use super::negotiate::{self, Agreement, Context};
use super::part10::Meta;
use super::status::{SUCCESS, Status};
use crate::accept::Connection;
use crate::audit::{Act, Event};
use crate::causes::{causes, in_words};
use crate::intake::{Object, Verdict};

/// Bytes of a fragment's header within a PDU (PS3.8 section 9.3.5).
const FRAGMENT_HEADER: u32 = 6;

/// Why an association ended otherwise than by a release.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The peer hung up.
    #[error("the peer hung up{0}")]
    Hangup(&'static str),
    /// The peer aborted.
    #[error("aborted by the peer{0}")]
    Aborted(&'static str),
    /// Nothing came, or something that began did not end.
    #[error("nothing whole came within {0} s")]
    Silence(u64),
    /// A PDU that is none, or is too long.
    #[error("{0}")]
    Unreadable(String),
    /// A PDU that does not belong here.
    #[error("{0} where none belongs")]
    Unexpected(&'static str),
    /// Fragments that make no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message in a context that was not accepted.
    #[error("presentation context {0} was not accepted")]
    Context(u8),
    /// Our answer could not be sent.
    #[error("no answer sent: {0}")]
    Send(#[from] io::Error),
    /// It was rejected.
    #[error("rejected: {0}")]
    Rejected(String),
}

impl End {
    /// What the peer is told before the connection closes; nothing where it is not there any more, or knows already.
    fn abort_reason(&self) -> Option<AbortRQServiceProviderReason> {
        match self {
            Self::Hangup(_) | Self::Aborted(_) | Self::Send(_) | Self::Rejected(_) => None,
            Self::Silence(_) => Some(AbortRQServiceProviderReason::ReasonNotSpecified),
            Self::Unreadable(_) => Some(AbortRQServiceProviderReason::UnrecognizedPdu),
            Self::Unexpected(_) => Some(AbortRQServiceProviderReason::UnexpectedPdu),
            Self::Message(_) | Self::Context(_) => Some(AbortRQServiceProviderReason::InvalidPduParameter),
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(scp: Arc<Scp>, connection: Connection) {
    let idle = Duration::from_secs(scp.config.dicom_idle_s);
    let mut wire = Wire { connection, read: BytesMut::new(), max_pdu_bytes: scp.config.dicom_pdu_bytes, idle };
    let ended = match wire.receive().await {
        Ok(Pdu::AssociationRQ(request)) => associate(&scp, &mut wire, request).await,
        Ok(_) => Err(End::Unexpected("a PDU before an association")),
        // Ports are probed all the time.
        Err(End::Hangup(_)) => return,
        Err(end) => Err(end),
    };
    if let Err(end) = ended {
        tracing::info!(error = %end, "association ended");
        if let Some(reason) = end.abort_reason() {
            // It is over in any case.
            let _ = wire.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) }).await;
        }
    }
    wire.close().await;
}

/// Answers the request, and then messages until the release.
async fn associate(scp: &Scp, wire: &mut Wire, request: AssociationRQ) -> Result<(), End> {
    // Held until the association ends.
    let Ok(_slot) = scp.associations.clone().try_acquire_owned() else {
        let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
        let source = AssociationRJSource::ServiceProviderPresentation(reason);
        wire.send(&Pdu::AssociationRJ(AssociationRJ { result: AssociationRJResult::Transient, source })).await?;
        return Err(End::Rejected(format!("{} associations are open", scp.config.dicom_associations)));
    };
    let from = wire.connection.address().map(|address| address.ip());
    let answer = negotiate::answer(request, from, &scp.config.aet, &scp.peers, scp.config.dicom_pdu_bytes);
    let (agreement, accepted) = match answer {
        Ok(answer) => answer,
        Err(rejection) => {
            let reason = Some(format!("DICOM association: {}", rejection.why));
            let address = wire.connection.address();
            scp.audit.refused(Event { reason, address, ..Event::of(Act::NodeRefused) }).await;
            wire.send(&Pdu::AssociationRJ(rejection.pdu)).await?;
            return Err(End::Rejected(rejection.why));
        }
    };
    for why in &agreement.refused {
        tracing::info!(calling = %agreement.calling, %why, "presentation context refused");
    }
    tracing::info!(calling = %agreement.calling, contexts = agreement.contexts.len(), "association open");
    wire.send(&Pdu::AssociationAC(accepted)).await?;
    let mut assembler = Assembler::new(Limits::default().max_object_bytes, scp.memory.clone());
    let mut counts = Counts::default();
    let ended = converse(scp, wire, &agreement, &mut assembler, &mut counts).await;
    tracing::info!(calling = %agreement.calling, stored = counts.stored, refused = counts.refused, "association over");
    ended
}

/// What an association brought.
#[derive(Debug, Default)]
struct Counts {
    stored: u64,
    refused: u64,
}

async fn converse(
    scp: &Scp,
    wire: &mut Wire,
    agreement: &Agreement,
    assembler: &mut Assembler,
    counts: &mut Counts,
) -> Result<(), End> {
    loop {
        let within = if assembler.is_between() { "" } else { " in the middle of a message" };
        let pdu = match wire.receive().await {
            Err(End::Hangup(_)) => return Err(End::Hangup(within)),
            pdu => pdu?,
        };
        match pdu {
            Pdu::PData { data } => {
                for fragment in data {
                    if let Some(message) = assembler.push(fragment)? {
                        answer(scp, wire, agreement, message, counts).await?;
                    }
                }
            }
            Pdu::ReleaseRQ => return Ok(wire.send(&Pdu::ReleaseRP).await?),
            Pdu::AbortRQ { .. } => return Err(End::Aborted(within)),
            Pdu::AssociationRQ(_) => return Err(End::Unexpected("a second association request")),
            _ => return Err(End::Unexpected("a PDU of an acceptor")),
        }
    }
}

/// Does what a message asks for, and answers it.
async fn answer(
    scp: &Scp,
    wire: &mut Wire,
    agreement: &Agreement,
    message: Message,
    counts: &mut Counts,
) -> Result<(), End> {
    let Message { context: id, request, data_set } = message;
    let context = agreement.contexts.iter().find(|context| context.id == id).ok_or(End::Context(id))?;
    let status = match request.field {
        field::C_ECHO if context.sop_class == uids::VERIFICATION => Status::success(),
        field::C_STORE if context.sop_class == uids::VERIFICATION => Status::unrecognized(),
        field::C_STORE => {
            let status = store(scp, wire, agreement, context, &request, data_set).await;
            match status.code {
                SUCCESS => counts.stored += 1,
                _ => {
                    counts.refused += 1;
                    // The comment is told to the sender; it may quote what was found, which stays out of the log.
                    tracing::info!(status = format_args!("{:04X}", status.code), "object refused");
                }
            }
            status
        }
        field::C_CANCEL => return Ok(()),
        _ => Status::unrecognized(),
    };
    let response = command::respond(&request, status.code, &status.comment);
    wire.send_command(id, &response, agreement.max_pdu_bytes).await
}

/// Stores an object, durably.
async fn store(
    scp: &Scp,
    wire: &Wire,
    agreement: &Agreement,
    context: &Context,
    request: &command::Request,
    data_set: Option<DataSet>,
) -> Status {
    // The memory is held until the object is stored.
    let (mut file, _memory) = match data_set {
        Some(DataSet::Whole(bytes, memory)) => (bytes, memory),
        Some(DataSet::Dropped(why)) => return why.into(),
        None => return Status::without_data_set(),
    };
    if request.sop_class != context.sop_class {
        return Status::mismatch("the command's SOP class is not its presentation context's");
    }
    if Uid::parse(&request.sop_instance).is_err() {
        return Status::mismatch("the command's SOP Instance UID is none");
    }
    let meta = Meta {
        sop_class: &request.sop_class,
        sop_instance: &request.sop_instance,
        transfer_syntax: &context.transfer_syntax,
        source: &agreement.calling,
    };
    // In place: a copy beside it would be memory that nobody counted.
    file.splice(0..0, meta.header());
    let object = Object {
        name: String::new(),
        bytes: Ok(Bytes::from(file)),
        claimed: Some((request.sop_class.clone(), request.sop_instance.clone())),
    };
    match scp.coordinator.accept(&agreement.tenant, vec![object], Priority::Routine).await {
        Ok(outcomes) => {
            let Some(outcome) = outcomes.first() else { return Status::without_data_set() };
            if let (Verdict::Accepted, Some((study, _))) = (&outcome.verdict, &outcome.ids) {
                let event = Event {
                    caller: Some(agreement.calling.clone()),
                    address: wire.connection.address(),
                    call: Some("C-STORE"),
                    studies: vec![study.clone()],
                    ..Event::of(Act::Submitted)
                };
                // An audit that cannot be written has said so.
                let _ = scp.audit.record(vec![event]).await;
            }
            Status::from(&outcome.verdict)
        }
        Err(error) => {
            tracing::warn!(error = without_uids(&error), "object not stored");
            Status::from(&error)
        }
    }
}

/// A connection, PDU by PDU.
struct Wire {
    connection: Connection,
    read: BytesMut,
    max_pdu_bytes: u32,
    idle: Duration,
}

impl Wire {
    /// The next PDU. It must be whole within the time that the peer may be silent, so that nobody can hold us up by sending
    /// a byte now and then.
    async fn receive(&mut self) -> Result<Pdu, End> {
        let reading = read_pdu_from_wire_async(&mut self.connection, &mut self.read, self.max_pdu_bytes, true);
        match tokio::time::timeout(self.idle, reading).await {
            Err(_) => Err(End::Silence(self.idle.as_secs())),
            Ok(Ok(pdu)) => Ok(pdu),
            Ok(Err(dicom_ul::association::Error::ConnectionClosed { .. })) => Err(End::Hangup("")),
            Ok(Err(error)) if causes(&error).any(|cause| cause.is::<io::Error>()) => Err(End::Hangup("")),
            Ok(Err(error)) => Err(End::Unreadable(in_words(&error))),
        }
    }

    async fn send(&mut self, pdu: &Pdu) -> io::Result<()> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(io::Error::other)?;
        let sending = async {
            self.connection.write_all(&bytes).await?;
            self.connection.flush().await
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the peer takes no answer");
        tokio::time::timeout(self.idle, sending).await.map_err(|_| late())?
    }

    /// Sends a command set in fragments of what the peer takes.
    async fn send_command(&mut self, context: u8, command: &[u8], max_pdu_bytes: u32) -> Result<(), End> {
        let most = max_pdu_bytes.saturating_sub(FRAGMENT_HEADER).max(64) as usize & !1;
        let pieces = command.chunks(most).count();
        for (at, piece) in command.chunks(most).enumerate() {
            let data = vec![PDataValue {
                presentation_context_id: context,
                value_type: PDataValueType::Command,
                is_last: at + 1 == pieces,
                data: piece.to_vec(),
            }];
            self.send(&Pdu::PData { data }).await?;
        }
        Ok(())
    }

    /// Ends the connection so that the peer gets what was sent last.
    async fn close(&mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.connection.shutdown()).await;
    }
}
