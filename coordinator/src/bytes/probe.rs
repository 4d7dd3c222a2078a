//! The store is tried out at the start, so that a mistake in its settings shows then and not in the first study.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::error::Fault;
use super::place::{Place, Variables};
use super::{ByteStore, OpenError, s3};

/// What is put.
const PROBE: &[u8] = b"prelim was here";

impl ByteStore {
    /// Puts a tiny object under `probe/`, reads it and deletes it.
    pub(super) async fn probe(&self, place: &Place, variables: &Variables) -> Result<(), OpenError> {
        // Another coordinator may start at the same time.
        let name = format!("{:016x}", rand::random::<u64>());
        let key = self.under(["probe", &name]);
        let refused = |doing: &'static str| {
            move |error: object_store::Error| {
                let place = place.to_string();
                match Fault::of(&error) {
                    Fault::NoBucket => OpenError::NoBucket { place },
                    Fault::Denied(said) => OpenError::Denied { place, doing, said },
                    Fault::Unavailable(cause) => {
                        OpenError::Unreachable { place, endpoint: s3::endpoint(variables).to_owned(), cause }
                    }
                    fault => OpenError::Probe { place, doing, cause: fault.to_string() },
                }
            }
        };
        match self.store.put(&key, PutPayload::from_static(PROBE)).await {
            Ok(_) => {}
            // What is there can still be read, and uploads are told.
            Err(error) if Fault::of(&error) == Fault::Full => {
                tracing::warn!("no space left for objects");
                return Ok(());
            }
            Err(error) => return Err(refused("put")(error)),
        }
        let found = self.store.get(&key).await.map_err(refused("read"))?;
        let found: Bytes = found.bytes().await.map_err(refused("read"))?;
        self.store.delete(&key).await.map_err(refused("deleted"))?;
        if found != PROBE {
            let cause = "it came back changed".to_owned();
            return Err(OpenError::Probe { place: place.to_string(), doing: "read", cause });
        }
        Ok(())
    }
}
