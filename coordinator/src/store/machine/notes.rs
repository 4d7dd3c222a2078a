//! Notes are written and forgotten.

use super::StoreError;
use crate::store::notes::{Note, PutNote};
use crate::store::records::{Reads, Records, Result};

/// [`crate::store::notes::Notes::note`].
pub(crate) fn note(records: &impl Reads, now_ms: i64, key: &str) -> Result<Option<Note>> {
    Ok(records.note(key)?.filter(|note| note.ends_at_ms > now_ms))
}

/// [`crate::store::notes::Notes::put_note`].
pub(crate) fn put_note(records: &mut impl Records, now_ms: i64, put: &PutNote) -> Result<u64> {
    let held = records.note(&put.key)?;
    let there = held.as_ref().filter(|note| note.ends_at_ms > now_ms);
    let version = there.map_or(0, |note| note.version);
    if let Some(after) = put.after.filter(|after| *after != version) {
        let is_repeated = there.is_some_and(|note| note.text == put.text && note.after == after);
        return if is_repeated { Ok(version) } else { Err(StoreError::NoteChanged { newest: version }) };
    }
    if held.is_none() && records.count_notes()? >= put.max_notes {
        return Err(StoreError::TooManyNotes { limit: put.max_notes });
    }
    let ends_at_ms = now_ms.saturating_add(i64::try_from(put.lasts_ms).unwrap_or(i64::MAX));
    // Larger than one that ended, or was dropped, before.
    let before = held.map_or(0, |note| note.version);
    let note = Note {
        key: put.key.clone(),
        version: (before + 1).max(u64::try_from(now_ms).unwrap_or(0)),
        after: version,
        text: put.text.clone(),
        written_at_ms: now_ms,
        ends_at_ms,
    };
    records.put_note(&note)?;
    Ok(note.version)
}

/// [`crate::store::notes::Notes::drop_notes`].
pub(crate) fn drop_notes(records: &mut impl Records, beginning: &str) -> Result<u64> {
    let found = records.notes(beginning)?;
    found.iter().try_for_each(|note| records.remove_note(note))?;
    Ok(found.len() as u64)
}

/// [`crate::store::notes::Notes::forget_notes`].
pub(crate) fn forget_notes(records: &mut impl Records, now_ms: i64, limit: usize) -> Result<u64> {
    let ended = records.ended_notes(now_ms, limit)?;
    ended.iter().try_for_each(|note| records.remove_note(note))?;
    Ok(ended.len() as u64)
}
