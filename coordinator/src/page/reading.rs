//! Who reads which study: notes that end by themselves, renewed by the page while it is open. They keep nobody from anything.

use std::collections::BTreeMap;

use axum::body::Body;
use hyper::{Response, StatusCode};
use prelim_proto::ids::Uid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Call;
use super::fault::Fault;
use super::route::Do;
use super::row::Reader;
use crate::access::now_s;
use crate::session::Session;
use crate::store::notes::PutNote;
use crate::store::{JobStore, StoreError};

/// Their keys begin so; then come study and name.
const READING: &str = "reading/";
/// How long one lasts, in ms.
const LASTS_MS: u64 = 60_000;

/// What a note says.
#[derive(Serialize, Deserialize)]
struct Said {
    study: Uid,
    id: String,
    name: String,
    since_ms: i64,
}

/// Notes that the caller reads a study, or no longer.
pub(super) async fn note(call: &Call<'_>, session: &Session, study: Uid, what: Do) -> Result<Response<Body>, Fault> {
    let record = call.record(session, &study).await?;
    let (store, caller) = (&*call.web.coordinator.store, session.caller());
    let key = format!("{READING}{study}/{}/", name_in_key(&caller.key()));
    if what == Do::Delete {
        store.drop_notes(&key).await?;
    } else {
        let held = store.note(&key).await?.and_then(|note| serde_json::from_str::<Said>(&note.text).ok());
        let since_ms = held.map_or_else(|| now_s().saturating_mul(1_000), |said| said.since_ms);
        let name = caller.person.clone().unwrap_or_else(|| caller.name.clone());
        let said = Said { study, id: caller.name.clone(), name, since_ms };
        store.put_note(PutNote::new(key, serde_json::to_string(&said).unwrap_or_default(), LASTS_MS)).await?;
    }
    // Pages that follow look again.
    call.web.coordinator.changed(&record.uid);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// All who read something, by study.
pub(super) async fn all(store: &dyn JobStore, most: usize) -> Result<BTreeMap<Uid, Vec<Reader>>, StoreError> {
    let mut found: BTreeMap<Uid, Vec<Reader>> = BTreeMap::new();
    for note in store.notes(READING, most).await? {
        if let Ok(Said { study, id, name, since_ms }) = serde_json::from_str(&note.text) {
            found.entry(study).or_default().push(Reader { id, name, since_ms });
        }
    }
    Ok(found)
}

/// What a caller's work is kept by, as a part of a key: the name of an issuer's may hold anything.
pub(crate) fn name_in_key(name: &str) -> String {
    Sha256::digest(name.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Forgets who reads a study.
pub(super) async fn forget(store: &dyn JobStore, study: &Uid) -> Result<(), StoreError> {
    store.drop_notes(&format!("{READING}{study}/")).await.map(|_| ())
}
