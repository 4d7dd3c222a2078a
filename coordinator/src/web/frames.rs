//! Frames (PS3.18 section 10.4.1.1.6): decoded, or compressed as they are stored.
//!
//! An object is read whole from the store, since only the whole can be checked against its digest; one with many frames is
//! kept for a while.

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use hyper::Response;
use prelim_imaging::Limits;
use prelim_imaging::decode;
use prelim_imaging::rewrite::frame_bytes;
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_imaging::syntax::EXPLICIT_LITTLE;
use prelim_proto::ids::Uid;

use super::held::Instance;
use super::memory::Room;
use super::multipart::Writer;
use super::negotiate::{Accepted, FrameForm, OCTETS};
use super::problem::Problem;
use super::query;
use super::request::Call;
use super::route::Scope;
use super::wado::{self, Pieces};

/// Gives out frames of an instance.
pub(super) async fn retrieve(call: &Call<'_>, scope: Scope, numbers: Vec<u32>) -> Result<Response<Body>, Problem> {
    let accepted = Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?;
    let (study, instances) = call.instances(&scope).await?;
    let Some(instance) = instances.first() else { return Err(Problem::nothing_here("no such instance")) };
    let form = accepted.frames(instance.record.instance.transfer_syntax.as_str())?;
    let frames = instance.record.instance.image.as_ref().map_or(0, |image| image.frames);
    if let Some(number) = numbers.iter().find(|number| **number > frames) {
        return Err(Problem::nothing_here(format!("frame {number} of {frames}")));
    }
    give(call, &study.record.uid, instance, form, numbers).await
}

/// Gives out these frames, which there are.
pub(super) async fn give(
    call: &Call<'_>,
    study: &Uid,
    instance: &Instance,
    form: FrameForm,
    numbers: Vec<u32>,
) -> Result<Response<Body>, Problem> {
    if form.is_single && numbers.len() > 1 {
        return Err(Problem::not_acceptable("several frames do not go into one part; ask for multipart/related"));
    }
    let (frames, room) = read(call, study, instance, form, numbers).await?;
    let essence = form.compressed.unwrap_or(OCTETS);
    let syntax = match form.compressed {
        Some(_) => instance.record.instance.transfer_syntax.as_str(),
        None => EXPLICIT_LITTLE,
    };
    let media_type = format!("{essence}; transfer-syntax={syntax}");
    if form.is_single {
        let frame = frames.into_iter().next().unwrap_or_default();
        let length = frame.len() as u64;
        return Ok(wado::answer(&media_type, Some(length), Body::from_stream(wado::in_pieces(frame, room))));
    }
    let writer = Writer::new(rand::random());
    let whole = writer.media_type(essence);
    Ok(wado::answer(&whole, None, Body::from_stream(parts(frames, room, &media_type, &writer))))
}

/// Frames as parts.
fn parts(frames: Vec<Vec<u8>>, room: Room, media_type: &str, writer: &Writer) -> Pieces {
    let heads: Vec<Bytes> = (0..frames.len()).map(|at| writer.head(media_type, at == 0)).collect();
    let end = writer.end();
    // The room goes with the last of them.
    let parts = stream::iter(heads.into_iter().zip(frames))
        .flat_map(|(head, frame)| stream::iter([Ok(head), Ok(Bytes::from(frame))]));
    let end = stream::once(async move {
        drop(room);
        Ok(end)
    });
    parts.chain(end).boxed()
}

/// The bytes of frames, and the room that they take.
async fn read(
    call: &Call<'_>,
    study: &Uid,
    instance: &Instance,
    form: FrameForm,
    numbers: Vec<u32>,
) -> Result<(Vec<Vec<u8>>, Room), Problem> {
    let web = call.web;
    let of = instance.record.instance.image.as_ref().map_or(1, |image| image.frames.max(1)) as usize;
    let each = web.decoded_bytes(instance) / of;
    let decoded =
        if form.compressed.is_some() { web.held_bytes(instance) } else { each.saturating_mul(numbers.len() + 1) };
    let room = web.memory.wait_for(web.held_bytes(instance).saturating_add(decoded)).await?;
    let bytes = web.bytes_of(study, instance).await?;
    let command = web.coordinator.decoder.clone();
    let read = move || {
        let limits = Limits::default();
        let scanned = scan(&bytes, &limits).map_err(|error| Problem::unreadable(error.to_string()))?;
        let mut decoder = Decoder::new(command, limits, Decoder::DEADLINE);
        let frame = |number: u32| {
            let undecoded =
                |error: &dyn ToString| Problem::not_acceptable(format!("it cannot be decoded: {}", error.to_string()));
            if form.compressed.is_some() {
                let stream = decode::codestream(&scanned, number, &limits).map_err(|error| undecoded(&error))?;
                let stream = stream.ok_or_else(|| Problem::not_acceptable("its frames are not compressed"))?;
                return Ok(stream.into_owned());
            }
            frame_bytes(&scanned, number, &limits, |number| decoder.decode(&scanned, number))
                .map_err(|error| undecoded(&error))
        };
        let frames = numbers.into_iter().map(frame).collect::<Result<Vec<_>, Problem>>()?;
        Ok((frames, room))
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Problem::busy("the coordinator is stopping"))?
}
