//! Reports of what is held, to whoever asked for a commitment: on the association of the request, or on one of ours where the
//! peer did not wait (PS3.4 section J.3.3).

use std::sync::Arc;
use std::time::Duration;

use crate::deliver::destinations::Route;
use crate::dimse::COMMITMENT;
use crate::dimse::command::{Command, field};
use crate::dimse::commitment::{ALL_HELD, SOME_NOT_HELD, Transaction, WELL_KNOWN};
use crate::dimse::scu::association::{Association, Proposed};
use crate::dimse::scu::commit;
use crate::dimse::scu::error::ScuError;
use crate::dimse::scu::node::Node;
use crate::service::Coordinator;

/// How often a report is tried. A peer that heard nothing asks again.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(10);

/// The message that reports what is held: its command set and data set.
pub(super) fn message(held: &Transaction, id: u16, transfer_syntax: &str) -> Result<(Command, Vec<u8>), String> {
    let event = if held.failed.is_empty() { ALL_HELD } else { SOME_NOT_HELD };
    let command = Command {
        field: field::N_EVENT_REPORT,
        message_id: Some(id),
        has_data_set: true,
        sop_class: COMMITMENT.to_owned(),
        sop_instance: WELL_KNOWN.to_owned(),
        event_type: Some(event),
        ..Command::default()
    };
    Ok((command, held.write(transfer_syntax)?))
}

/// Reports to the application entity `title` on an association of ours, where a destination says where it is.
pub(super) async fn report_back(coordinator: Arc<Coordinator>, title: String, held: Transaction) {
    let Some(node) = node_of(&coordinator, &title) else {
        tracing::warn!(%title, "commitment not reported: it did not wait, and no destination has this title");
        return;
    };
    for _ in 0..TRIES {
        match tell(&coordinator, &node, &held).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "commitment not reported"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = coordinator.stopping.cancelled() => return,
        }
    }
}

/// Where the application entity is.
fn node_of(coordinator: &Coordinator, title: &str) -> Option<Node> {
    let destinations = coordinator.destinations.as_ref()?.get();
    destinations.iter().find_map(|destination| match &destination.route {
        Route::Dicom(node) if node.called == title => Some(node.clone()),
        _ => None,
    })
}

async fn tell(coordinator: &Coordinator, node: &Node, held: &Transaction) -> Result<(), ScuError> {
    let context = Proposed { as_scp: true, ..commit::proposal() };
    let mut association = Association::open(node, &[context], coordinator.memory_for_answers()).await?;
    let told = commit::tell(&mut association, held).await;
    match told {
        Ok(()) => association.release().await,
        Err(_) => association.abort().await,
    }
    told
}
