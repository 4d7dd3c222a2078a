//! Notes.

use proptest::prelude::*;

use super::Harness;
use super::cases::Case;
use crate::store::notes::{Note, PutNote};
use crate::store::{JobStore, StoreError};

pub(super) fn cases<H: Harness>() -> [for<'a> fn(&'a mut H) -> Case<'a>; 2] {
    [
        |h| Box::pin(of_two_who_change_a_version_one_is_told_of_the_other(h)),
        |h| Box::pin(notes_end_are_bounded_and_found_by_how_they_begin(h)),
    ]
}

fn put(key: &str, text: &str, after: Option<u64>) -> PutNote {
    PutNote { after, max_notes: 3, ..PutNote::new(key.to_owned(), text.to_owned(), 100) }
}

async fn of_two_who_change_a_version_one_is_told_of_the_other<H: Harness>(h: &mut H) {
    let store = h.store();
    assert_eq!(store.note("a/b/").await, Ok(None));
    let first = store.put_note(put("a/b/", "1", Some(0))).await.unwrap();
    assert_eq!(store.put_note(put("a/b/", "1", Some(0))).await, Ok(first), "the answer may have been lost");
    let changed = |newest| Err(StoreError::NoteChanged { newest });
    assert_eq!(store.put_note(put("a/b/", "2", Some(0))).await, changed(first));
    let second = store.put_note(put("a/b/", "2 \u{e9}\u{1f600}", Some(first))).await.unwrap();
    assert!(second > first);
    assert_eq!(store.put_note(put("a/b/", "3", Some(first))).await, changed(second));
    let third = store.put_note(put("a/b/", "4", None)).await.unwrap();
    h.reopen().await;
    let held = h.store().note("a/b/").await.unwrap().unwrap();
    assert_eq!((held.version, held.text.as_str(), held.after), (third, "4", second));
    assert_eq!(held.ends_at_ms, held.written_at_ms + 100);
    // One that ended is not there, and the next has a version of its own.
    h.advance(100);
    let store = h.store();
    assert_eq!(store.note("a/b/").await, Ok(None));
    assert_eq!(store.put_note(put("a/b/", "5", Some(third))).await, changed(0));
    assert!(store.put_note(put("a/b/", "5", Some(0))).await.unwrap() > third);
    assert_eq!(store.drop_notes("a/b/").await, Ok(1));
    assert_eq!(store.drop_notes("a/b/").await, Ok(0));
    h.advance(1);
    assert!(store.put_note(put("a/b/", "6", Some(0))).await.unwrap() > third);
}

async fn notes_end_are_bounded_and_found_by_how_they_begin<H: Harness>(h: &mut H) {
    let store = h.store();
    for key in ["r/1/ann/", "r/1/anna/", "r/2/ann/"] {
        store.put_note(put(key, key, None)).await.unwrap();
        h.advance(10);
    }
    assert_eq!(store.put_note(put("s/", "", None)).await, Err(StoreError::TooManyNotes { limit: 3 }));
    store.put_note(put("r/2/ann/", "again", None)).await.unwrap();
    let keys = async |store: &dyn JobStore, beginning: &str, limit| -> Vec<String> {
        store.notes(beginning, limit).await.unwrap().into_iter().map(|note: Note| note.key).collect()
    };
    assert_eq!(keys(&*store, "r/", 9).await, ["r/1/ann/", "r/1/anna/", "r/2/ann/"]);
    assert_eq!(keys(&*store, "r/1/", 1).await, ["r/1/ann/"]);
    assert_eq!(keys(&*store, "r/1/ann/", 9).await, ["r/1/ann/"]);
    h.advance(75);
    assert_eq!(keys(&*store, "r/", 9).await, ["r/1/anna/", "r/2/ann/"], "the first has ended");
    assert_eq!(store.forget_notes(9).await, Ok(1));
    assert_eq!(store.forget_notes(9).await, Ok(0));
    assert!(store.put_note(put("s/", "", None)).await.is_ok(), "there is room again");
    assert_eq!(store.drop_notes("r/").await, Ok(2));
    assert_eq!(keys(&*store, "", 9).await, ["s/"]);
}

/// A random operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put { n: u8, text: u8, after: Option<bool>, lasts_ms: u64 },
    Drop { n: Option<u8> },
    Forget,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u8..3, 0_u8..3, prop::option::of(any::<bool>()), 1_u64..50)
            .prop_map(|(n, text, after, lasts_ms)| Op::Put { n, text, after, lasts_ms }),
        1 => prop::option::of(0_u8..3).prop_map(|n| Op::Drop { n }),
        1 => Just(Op::Forget),
    ]
}

fn key(n: u8) -> String {
    format!("n/{n}/")
}

/// Carries out an operation; the answer as text. `version` is that of the note in the model.
pub(super) async fn apply(store: &dyn JobStore, op: &Op, version: impl Fn(&str) -> u64) -> String {
    match op {
        Op::Put { n, text, after, lasts_ms } => {
            let after = after.map(|is_newest| version(&key(*n)).saturating_sub(u64::from(!is_newest)));
            let put = PutNote { after, max_notes: 2, ..PutNote::new(key(*n), text.to_string(), *lasts_ms) };
            format!("{:?}", store.put_note(put).await)
        }
        Op::Drop { n } => format!("{:?}", store.drop_notes(&n.map_or_else(|| "n/".to_owned(), key)).await),
        Op::Forget => format!("{:?}", store.forget_notes(1).await),
    }
}

/// All that can be seen of notes, as text.
pub(super) async fn view(store: &dyn JobStore) -> String {
    format!("{:?}\n{:?}\n", store.notes("", usize::MAX).await, store.note(&key(0)).await)
}
