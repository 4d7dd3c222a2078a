//! Storage commitment as SCU (PS3.4 annex J): a peer is asked to commit itself to keeping what it took.

use std::time::Duration;

use dicom_dictionary_std::uids;

use super::association::{Association, Proposed};
use super::error::ScuError;
use super::find::failed;
use crate::dimse::COMMITMENT;
use crate::dimse::command::{Command, field};
use crate::dimse::commitment::{ALL_HELD, REQUEST, SOME_NOT_HELD, Transaction, WELL_KNOWN};
use crate::dimse::message::DataSet;
use crate::dimse::status::SUCCESS;

/// How long we wait for the report on the association of the request. Later it comes on one of the peer's own.
const REPORT: Duration = Duration::from_secs(5);

/// The context that a request needs.
pub(crate) fn proposal() -> Proposed {
    Proposed::new(COMMITMENT, &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN])
}

/// Asks for a commitment.
pub(crate) async fn request(association: &mut Association, transaction: &Transaction) -> Result<(), ScuError> {
    const WHAT: &str = "the N-ACTION";
    let context = association.contexts(COMMITMENT).next().cloned();
    let context = context.ok_or_else(|| association.refusal(COMMITMENT, "storage commitment"))?;
    let data_set = transaction.write(&context.transfer_syntax).map_err(ScuError::Object)?;
    let action = Command {
        field: field::N_ACTION,
        sop_class: COMMITMENT.to_owned(),
        sop_instance: WELL_KNOWN.to_owned(),
        is_requested: true,
        action_type: Some(REQUEST),
        ..Command::default()
    };
    let id = association.request(context.id, action, Some(&data_set)).await?;
    let message = association.receive(WHAT).await?;
    match message.command.status {
        _ if !message.command.answers(field::N_ACTION, id) => {
            Err(association.unexpected(format!("{WHAT} with another message")))
        }
        Some(SUCCESS) => Ok(()),
        status => Err(failed(association, WHAT, status, message.command.comment)),
    }
}

/// Reports what is held, on an association that we opened for that.
pub(crate) async fn tell(association: &mut Association, held: &Transaction) -> Result<(), ScuError> {
    const WHAT: &str = "the N-EVENT-REPORT";
    let context = association.contexts(COMMITMENT).next().cloned();
    let context = context.ok_or_else(|| association.refusal(COMMITMENT, "reports of storage commitment"))?;
    let data_set = held.write(&context.transfer_syntax).map_err(ScuError::Object)?;
    let event = Command {
        field: field::N_EVENT_REPORT,
        sop_class: COMMITMENT.to_owned(),
        sop_instance: WELL_KNOWN.to_owned(),
        event_type: Some(if held.failed.is_empty() { ALL_HELD } else { SOME_NOT_HELD }),
        ..Command::default()
    };
    let id = association.request(context.id, event, Some(&data_set)).await?;
    let message = association.receive(WHAT).await?;
    match message.command.status {
        Some(SUCCESS) if message.command.answers(field::N_EVENT_REPORT, id) => Ok(()),
        status => Err(failed(association, WHAT, status, message.command.comment)),
    }
}

/// Waits for the report on the same association, and answers it; none where it does not come soon.
pub(crate) async fn report(association: &mut Association) -> Result<Option<Transaction>, ScuError> {
    let Ok(message) = tokio::time::timeout(REPORT, association.receive("the request for a commitment")).await else {
        return Ok(None);
    };
    let message = message?;
    let context = association.context(message.context).cloned();
    let (Some(context), Some(DataSet::Whole(bytes, _memory)), field::N_EVENT_REPORT) =
        (context, message.data_set, message.command.field)
    else {
        return Err(association.unexpected("the request for a commitment with another message"));
    };
    let transaction = Transaction::read(&bytes, &context.transfer_syntax);
    let transaction = transaction.map_err(|problem| association.unexpected(format!("a report with {problem}")))?;
    association.send(context.id, &message.command.respond(SUCCESS, ""), None).await?;
    Ok(Some(transaction))
}
