//! One association, from its request to its end (PS3.8 section 9.2).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderPresentationReason, AssociationRJSource, AssociationRQ, Pdu,
};
use prelim_imaging::Limits;
use prelim_proto::ids::Uid;
use prelim_proto::study::Priority;
use prelim_proto::trace::without_uids;

use super::negotiate::{self, Agreement, Context};
use super::{Scp, steps};
use crate::accept::Connection;
use crate::audit::{Act, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::commitment::Transaction;
use crate::dimse::message::{Assembler, DataSet, Message, MessageError};
use crate::dimse::part10::Meta;
use crate::dimse::status::{SUCCESS, Status};
use crate::dimse::wire::WireError;
use crate::dimse::{COMMITMENT, PERFORMED_STEP, is_stored};
use crate::intake::{Claim, Object, Sending, Verdict};

/// A connection to whoever called us.
type Wire = crate::dimse::wire::Wire<Connection>;

/// Why an association ended otherwise than by a release.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The peer hung up in the middle of a message.
    #[error("the peer hung up in the middle of a message")]
    Cut,
    /// The connection cannot go on.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer aborted.
    #[error("aborted by the peer{0}")]
    Aborted(&'static str),
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
            Self::Cut | Self::Aborted(_) | Self::Send(_) | Self::Rejected(_) => None,
            Self::Wire(WireError::Hangup | WireError::Send(_)) => None,
            Self::Wire(WireError::Silence(_)) => Some(AbortRQServiceProviderReason::ReasonNotSpecified),
            Self::Wire(WireError::Unreadable(_)) => Some(AbortRQServiceProviderReason::UnrecognizedPdu),
            Self::Unexpected(_) => Some(AbortRQServiceProviderReason::UnexpectedPdu),
            Self::Message(_) | Self::Context(_) | Self::Wire(WireError::Message(_)) => {
                Some(AbortRQServiceProviderReason::InvalidPduParameter)
            }
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(scp: Arc<Scp>, connection: Connection) {
    let idle = Duration::from_secs(scp.config.dicom_idle_s);
    let mut wire = Wire::new(connection, scp.config.dicom_pdu_bytes, idle);
    let ended = match wire.receive().await {
        Ok(Pdu::AssociationRQ(request)) => associate(&scp, &mut wire, request).await,
        Ok(_) => Err(End::Unexpected("a PDU before an association")),
        // Ports are probed all the time.
        Err(WireError::Hangup) => return,
        Err(error) => Err(error.into()),
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
    let from = wire.stream().address().map(|address| address.ip());
    let answer = negotiate::answer(request, from, &scp.config.aet, &scp.peers, scp.config.dicom_pdu_bytes);
    let (agreement, accepted) = match answer {
        Ok(answer) => answer,
        Err(rejection) => {
            let reason = Some(format!("DICOM association: {}", rejection.why));
            let address = wire.stream().address();
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
    let mut sending = Sending::new(agreement.tenant.clone(), &agreement.calling);
    let ended = converse(scp, wire, &agreement, &mut assembler, &mut sending, &mut counts).await;
    if let Err(error) = scp.coordinator.end(sending, ended.is_ok()).await {
        tracing::warn!(error = without_uids(&error), "end of an association not noted");
    }
    // What the peer did not wait for is told on an association of ours.
    for (_, report) in std::mem::take(&mut counts.reports) {
        tokio::spawn(super::report::report_back(scp.coordinator.clone(), agreement.calling.clone(), report));
    }
    tracing::info!(calling = %agreement.calling, stored = counts.stored, refused = counts.refused, "association over");
    ended
}

/// What an association brought.
#[derive(Debug, Default)]
struct Counts {
    stored: u64,
    refused: u64,
    /// Message ids of reports that were not answered yet.
    reports: Vec<(u16, Transaction)>,
}

async fn converse(
    scp: &Scp,
    wire: &mut Wire,
    agreement: &Agreement,
    assembler: &mut Assembler,
    sending: &mut Sending,
    counts: &mut Counts,
) -> Result<(), End> {
    loop {
        let within = if assembler.is_between() { "" } else { " in the middle of a message" };
        let pdu = match wire.receive().await {
            Err(WireError::Hangup) if !within.is_empty() => return Err(End::Cut),
            pdu => pdu?,
        };
        match pdu {
            Pdu::PData { data } => {
                for fragment in data {
                    if let Some(message) = assembler.push(fragment)? {
                        answer(scp, wire, agreement, message, sending, counts).await?;
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
    sending: &mut Sending,
    counts: &mut Counts,
) -> Result<(), End> {
    let Message { context: id, command: request, data_set } = message;
    let context = agreement.contexts.iter().find(|context| context.id == id).ok_or(End::Context(id))?;
    let status = match request.field {
        field::C_ECHO if context.sop_class == uids::VERIFICATION => Status::success(),
        field::C_STORE if !is_stored(&context.sop_class) => Status::unrecognized(),
        field::C_STORE => {
            let status = store(scp, wire, agreement, context, &request, data_set, sending).await;
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
        field::N_ACTION if context.sop_class == COMMITMENT => {
            return commit(scp, wire, agreement, context, &request, data_set, counts).await;
        }
        field::N_EVENT_REPORT if context.sop_class == COMMITMENT => match transaction(context, data_set) {
            Ok(report) => {
                scp.coordinator.committed(&report).await;
                Status::success()
            }
            Err(status) => status,
        },
        field::N_CREATE | field::N_SET if context.sop_class == PERFORMED_STEP => {
            let status = steps::answer(scp, agreement, context, &request, data_set, wire.stream().address()).await;
            let response = Command {
                sop_class: PERFORMED_STEP.to_owned(),
                error_id: status.error_id,
                ..request.respond(status.code, &status.comment)
            };
            return Ok(wire.send_message(id, &response.write(), None, agreement.max_pdu_bytes).await?);
        }
        field::C_CANCEL => return Ok(()),
        // The answer to a report of ours.
        field if field & field::RESPONSE != 0 => {
            counts.reports.retain(|(id, _)| Some(*id) != request.responds_to);
            return Ok(());
        }
        _ => Status::unrecognized(),
    };
    let response = request.respond(status.code, &status.comment);
    Ok(wire.send_message(id, &response.write(), None, agreement.max_pdu_bytes).await?)
}

/// What a message of storage commitment says.
fn transaction(context: &Context, data_set: Option<DataSet>) -> Result<Transaction, Status> {
    match data_set {
        Some(DataSet::Whole(bytes, _memory)) => {
            Transaction::read(&bytes, &context.transfer_syntax).map_err(|problem| Status::invalid(&problem))
        }
        Some(DataSet::Dropped(why)) => Err(why.into()),
        None => Err(Status::without_data_set()),
    }
}

/// Answers a request for a commitment, and reports at once what is held.
async fn commit(
    scp: &Scp,
    wire: &mut Wire,
    agreement: &Agreement,
    context: &Context,
    request: &Command,
    data_set: Option<DataSet>,
    counts: &mut Counts,
) -> Result<(), End> {
    let most = agreement.max_pdu_bytes;
    let asked = match transaction(context, data_set) {
        Ok(asked) => asked,
        Err(status) => {
            let response = request.respond(status.code, &status.comment).write();
            return Ok(wire.send_message(context.id, &response, None, most).await?);
        }
    };
    let held = match scp.coordinator.held(&agreement.tenant, &asked).await {
        Ok(held) => held,
        Err(error) => {
            tracing::warn!(error = without_uids(&error), "no commitment");
            let status = Status::from(&error);
            let response = request.respond(status.code, &status.comment).write();
            return Ok(wire.send_message(context.id, &response, None, most).await?);
        }
    };
    tracing::info!(calling = %agreement.calling, held = held.references.len(), not_held = held.failed.len(), "commitment");
    wire.send_message(context.id, &request.respond(SUCCESS, "").write(), None, most).await?;
    let id = request.message_id.unwrap_or(0).wrapping_add(1).max(1);
    match super::report::message(&held, id, &context.transfer_syntax) {
        Ok((command, data_set)) => {
            wire.send_message(context.id, &command.write(), Some(&data_set), most).await?;
            counts.reports.push((id, held));
        }
        Err(problem) => tracing::error!(%problem, "report not written"),
    }
    Ok(())
}

/// Stores an object, durably.
async fn store(
    scp: &Scp,
    wire: &Wire,
    agreement: &Agreement,
    context: &Context,
    request: &Command,
    data_set: Option<DataSet>,
    sending: &mut Sending,
) -> Status {
    // The memory is held until the object is stored.
    let (mut file, _memory) = match data_set {
        Some(DataSet::Whole(bytes, memory)) => (bytes, memory),
        Some(DataSet::Dropped(why)) => {
            sending.break_off();
            return why.into();
        }
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
    };
    // In place: a copy beside it would be memory that nobody counted.
    file.splice(0..0, meta.header());
    let object = Object {
        name: String::new(),
        bytes: Ok(Bytes::from(file)),
        claimed: Claim { instance: Some((request.sop_class.clone(), request.sop_instance.clone())), study: None },
    };
    match scp.coordinator.accept(sending, vec![object], Priority::Routine).await {
        Ok(outcomes) => {
            let Some(outcome) = outcomes.first() else { return Status::without_data_set() };
            if let (Verdict::Accepted, Some((study, _))) = (&outcome.verdict, &outcome.ids) {
                let event = Event {
                    caller: Some(agreement.calling.clone()),
                    address: wire.stream().address(),
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
