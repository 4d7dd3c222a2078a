//! Performed procedure steps: N-CREATE and N-SET (PS3.4 section F.7.2).

use std::net::SocketAddr;

use prelim_proto::ids::Uid;
use prelim_proto::trace::without_uids;

use super::Scp;
use super::negotiate::{Agreement, Context};
use crate::audit::{Act, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::message::DataSet;
use crate::dimse::mpps::{Said, StepError};
use crate::dimse::status::Status;
use crate::steps::StepRefusal;
use crate::store::step::StepState;

/// Does what a message asks for.
pub(super) async fn answer(
    scp: &Scp,
    agreement: &Agreement,
    context: &Context,
    request: &Command,
    data_set: Option<DataSet>,
    address: Option<SocketAddr>,
) -> Status {
    // The memory is held until the step is stored.
    let (bytes, _memory) = match data_set {
        Some(DataSet::Whole(bytes, memory)) => (bytes, memory),
        Some(DataSet::Dropped(why)) => return why.into(),
        None => return (&StepError::Unreadable("no data set".to_owned())).into(),
    };
    let Ok(uid) = Uid::parse(&request.sop_instance) else { return (&StepError::NoUid).into() };
    let said = match Said::read(&bytes, &uid, &context.transfer_syntax) {
        Ok(said) => said,
        Err(error) => return refused(agreement, &error.into()),
    };
    let is_new = request.field == field::N_CREATE;
    let (studies, state) = match is_new {
        true => match scp.coordinator.begin_step(&agreement.tenant, &uid, said).await {
            Ok(studies) => (studies, StepState::InProgress),
            Err(refusal) => return refused(agreement, &refusal),
        },
        false => match scp.coordinator.change_step(&agreement.tenant, &uid, said).await {
            Ok(changed) => changed,
            Err(refusal) => return refused(agreement, &refusal),
        },
    };
    tracing::info!(calling = %agreement.calling, state = ?state, studies = studies.len(), "performed procedure step");
    let event = Event {
        caller: Some(agreement.calling.clone()),
        address,
        call: Some(if is_new { "N-CREATE" } else { "N-SET" }),
        studies,
        ..Event::of(Act::Performed)
    };
    // An audit that cannot be written has said so.
    let _ = scp.audit.record(vec![event]).await;
    Status::success()
}

/// Notes a refusal. What it says of the message may quote it, and stays out of the log.
fn refused(agreement: &Agreement, refusal: &StepRefusal) -> Status {
    let status = Status::from(refusal);
    let code = format_args!("{:04X}", status.code).to_string();
    match refusal {
        StepRefusal::Step(_) => tracing::info!(calling = %agreement.calling, status = code, "step refused"),
        StepRefusal::Service(error) => {
            tracing::warn!(calling = %agreement.calling, error = without_uids(error), "step not stored");
        }
    }
    status
}
