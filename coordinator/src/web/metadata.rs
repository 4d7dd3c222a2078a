//! The attributes of instances as JSON (PS3.18 section 10.4.1.1.2), one instance after the other.
//!
//! Each instance is read whole from the store: the record holds what a worklist needs, and not all attributes.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use hyper::Response;
use prelim_imaging::Limits;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;
use prelim_proto::trace::without_uids;

use super::held::Instance;
use super::negotiate::{Accepted, JSON};
use super::problem::Problem;
use super::request::Call;
use super::route::Scope;
use super::{Web, query, wado};

/// Instances that are read at once for one answer.
const AT_ONCE: usize = 4;

/// Gives out the attributes of the instances in a study, a series, or of one of them.
pub(super) async fn retrieve(call: &Call<'_>, scope: Scope) -> Result<Response<Body>, Problem> {
    Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?.json()?;
    let (study, instances) = call.instances(&scope).await?;
    let (web, uid, base) = (call.web.clone(), study.record.uid, call.base.clone());
    let described = stream::iter(instances).map(move |instance| {
        let (web, uid, base) = (web.clone(), uid.clone(), base.clone());
        async move { described(&web, &uid, &instance, &base).await }
    });
    let described = described.buffered(AT_ONCE).enumerate().map(|(at, described)| {
        let described = described.map_err(|problem| {
            tracing::error!(error = without_uids(&problem), "answer broken off");
            std::io::Error::other("broken off")
        })?;
        let before: &[u8] = if at == 0 { b"[" } else { b",\n" };
        Ok::<_, std::io::Error>(Bytes::from([before, &described].concat()))
    });
    let end = stream::once(async { Ok(Bytes::from_static(b"]")) });
    Ok(wado::answer(JSON, None, Body::from_stream(described.chain(end))))
}

/// One instance as JSON.
async fn described(web: &Arc<Web>, study: &Uid, instance: &Instance, base: &str) -> Result<Vec<u8>, Problem> {
    // The object, and its attributes in words.
    let _room = web.memory.wait_for(2 * web.held_bytes(instance)).await?;
    let bytes = web.bytes_of(study, instance).await?;
    let record = &instance.record;
    let address = format!("{base}/studies/{study}/series/{}/instances/{}/bulkdata", record.series, record.instance.uid);
    let describe = move || {
        let scanned = scan(&bytes, &Limits::default()).map_err(|error| Problem::unreadable(error.to_string()))?;
        Ok(super::json::describe(&scanned, &address))
    };
    tokio::task::spawn_blocking(describe).await.map_err(|_| Problem::busy("the coordinator is stopping"))?
}
