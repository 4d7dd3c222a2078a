//! Notes in a redb transaction, and when they end.

use redb::WriteTransaction;

use super::tables::{self, Source};
use super::{Transaction, corrupt, keys};
use crate::store::notes::Note;
use crate::store::records::Result;

/// A note among those that end.
fn end_of(note: &Note) -> Vec<u8> {
    [&keys::number(note.ends_at_ms)[..], note.key.as_bytes()].concat()
}

impl<S: Source> Transaction<S> {
    pub(super) fn get_note(&self, key: &str) -> Result<Option<Note>> {
        tables::get(&self.0, tables::NOTES, key.as_bytes())
    }

    pub(super) fn list_notes(&self, beginning: &str) -> Result<Vec<Note>> {
        tables::all(&self.0, tables::NOTES, beginning.as_bytes())
    }

    pub(super) fn list_ended_notes(&self, now_ms: i64, limit: usize) -> Result<Vec<Note>> {
        let (mut ended, now) = (Vec::new(), keys::number(now_ms));
        tables::scan(&self.0, tables::NOTE_ENDS, &[], None, |entry, _| {
            let (ends, key) = entry.split_first_chunk::<8>().ok_or_else(|| corrupt("ends of notes"))?;
            if *ends > now || ended.len() >= limit {
                return Ok(false);
            }
            let key = std::str::from_utf8(key).map_err(|_| corrupt("ends of notes"))?;
            ended.push(self.get_note(key)?.ok_or_else(|| corrupt("ends of notes"))?);
            Ok(true)
        })?;
        Ok(ended)
    }
}

impl Transaction<WriteTransaction> {
    pub(super) fn store_note(&mut self, note: &Note) -> Result<()> {
        if let Some(before) = self.get_note(&note.key)? {
            tables::remove(&self.0, tables::NOTE_ENDS, &end_of(&before))?;
        }
        tables::mark(&self.0, tables::NOTE_ENDS, &end_of(note))?;
        tables::put(&self.0, tables::NOTES, note.key.as_bytes(), note)
    }

    pub(super) fn drop_note(&mut self, note: &Note) -> Result<()> {
        tables::remove(&self.0, tables::NOTE_ENDS, &end_of(note))?;
        tables::remove(&self.0, tables::NOTES, note.key.as_bytes())?;
        Ok(())
    }
}
