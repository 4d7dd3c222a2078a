//! Large values (PS3.18 section 10.4.1.1.5), at the addresses that metadata gives for them.

use axum::body::Body;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use hyper::Response;
use prelim_imaging::Limits;
use prelim_imaging::dataset::{Attributes, Value};
use prelim_imaging::scan::scan;

use super::multipart::Writer;
use super::negotiate::{Accepted, OCTETS};
use super::problem::Problem;
use super::request::Call;
use super::route::{Scope, Step};
use super::{frames, json, query, wado};

/// Gives out a value of an instance, its numbers least significant byte first. Compressed pixels are given frame by frame.
pub(super) async fn retrieve(call: &Call<'_>, scope: Scope, way: Vec<Step>) -> Result<Response<Body>, Problem> {
    let accepted = Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?;
    let (study, instances) = call.instances(&scope).await?;
    let Some(instance) = instances.first() else { return Err(Problem::nothing_here("no such instance")) };
    let stored = instance.record.instance.transfer_syntax.as_str();
    let form = accepted.frames(stored)?;
    // The object, and the value.
    let room = call.web.memory.wait_for(2 * call.web.held_bytes(instance)).await?;
    let bytes = call.web.bytes_of(&study.record.uid, instance).await?;
    let find = move || {
        let scanned = scan(&bytes, &Limits::default()).map_err(|error| Problem::unreadable(error.to_string()))?;
        Ok::<_, Problem>((find(&scanned.attributes(), &way)?, room))
    };
    let found = tokio::task::spawn_blocking(find).await.map_err(|_| Problem::busy("the coordinator is stopping"))?;
    let value = match found? {
        (Found::Value(value), room) => (value, room),
        (Found::Frames, room) => {
            drop(room);
            let frames = instance.record.instance.image.as_ref().map_or(0, |image| image.frames);
            return frames::give(call, &study.record.uid, instance, form, (1..=frames).collect()).await;
        }
    };
    let (value, room) = value;
    if form.is_single {
        let length = value.len() as u64;
        return Ok(wado::answer(OCTETS, Some(length), Body::from_stream(wado::in_pieces(value, room))));
    }
    let writer = Writer::new(rand::random());
    let body = [&writer.head(OCTETS, true)[..], &value, &writer.end()].concat();
    let length = body.len() as u64;
    Ok(wado::answer(&writer.media_type(OCTETS), Some(length), Body::from_stream(wado::in_pieces(body, room))))
}

enum Found {
    Value(Vec<u8>),
    /// Compressed pixels.
    Frames,
}

/// The value at the end of the way.
fn find(attributes: &Attributes<'_>, way: &[Step]) -> Result<Found, Problem> {
    let nothing = || Problem::nothing_here("the instance has no such value");
    let Some((step, rest)) = way.split_first() else { return Err(nothing()) };
    let tag = Tag::from(step.tag);
    if let Some(item) = step.item {
        return find(&attributes.nth_item(tag, item).ok_or_else(nothing)?, rest);
    }
    let element = attributes.elements().iter().find(|element| element.tag == tag).ok_or_else(nothing)?;
    match &element.value {
        Value::Fragments(_) if tag == tags::PIXEL_DATA => Ok(Found::Frames),
        Value::Bytes(_) => {
            let bytes = attributes.value(element);
            let value = if element.big_endian { json::turned(bytes, element.vr) } else { bytes.to_vec() };
            Ok(Found::Value(value))
        }
        _ => Err(nothing()),
    }
}
