//! An object as a stream of pieces, checked against its digest at the end.

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};
use prelim_proto::ids::Digest;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::BytesError;

/// Bytes in one piece; the last one may be shorter.
pub const PIECE_BYTES: usize = 1 << 20;

/// An object, piece by piece.
pub type Pieces = BoxStream<'static, Result<Bytes, BytesError>>;

/// What is left of an object.
struct Reading {
    rest: Pieces,
    /// Read and not yet handed on; less than a piece after each step.
    held: BytesMut,
    hasher: Sha256,
    digest: Digest,
}

/// The object found, in pieces. The last one is handed on only where all have the digest.
pub(super) fn checked(found: GetResult, digest: Digest) -> Pieces {
    let reading = Reading { rest: source(found), held: BytesMut::new(), hasher: Sha256::new(), digest };
    stream::try_unfold(reading, |mut reading| async move { Ok(reading.next().await?.map(|piece| (piece, reading))) })
        .boxed()
}

/// The bytes as they come: of a file in large reads, since each costs a switch of threads.
fn source(found: GetResult) -> Pieces {
    match found.payload {
        GetResultPayload::File(file, _) => {
            let file = tokio::fs::File::from_std(file);
            ReaderStream::with_capacity(file, PIECE_BYTES).map_err(|error| BytesError::Store(error.to_string())).boxed()
        }
        GetResultPayload::Stream(stream) => stream.map_err(BytesError::from).boxed(),
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, BytesError> {
        while self.held.len() <= PIECE_BYTES {
            let Some(read) = self.rest.try_next().await? else { return self.last() };
            self.hasher.update(&read);
            self.held.extend_from_slice(&read);
        }
        Ok(Some(self.held.split_to(PIECE_BYTES).freeze()))
    }

    /// The rest, once it is known that all is well; then nothing.
    fn last(&mut self) -> Result<Option<Bytes>, BytesError> {
        if Digest::from_bytes(&self.hasher.clone().finalize().into()) != self.digest {
            return Err(BytesError::Damaged(self.digest.clone()));
        }
        let rest = self.held.split().freeze();
        Ok(Some(rest).filter(|rest| !rest.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore as _, ObjectStoreExt as _};

    use super::*;

    async fn read(stored: Vec<u8>, digest: Digest) -> (Vec<usize>, Result<Vec<u8>, BytesError>) {
        let (store, key) = (InMemory::new(), Path::from("x"));
        store.put_opts(&key, stored.into(), Default::default()).await.unwrap();
        let mut pieces = checked(store.get(&key).await.unwrap(), digest);
        let (mut sizes, mut whole) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => {
                    sizes.push(piece.len());
                    whole.extend(piece);
                }
                Err(error) => return (sizes, Err(error)),
            }
        }
        (sizes, Ok(whole))
    }

    #[tokio::test]
    async fn an_object_comes_in_pieces_and_its_last_one_only_when_it_is_sound() {
        for (length, expected) in [
            (0, vec![]),
            (5, vec![5]),
            (PIECE_BYTES, vec![PIECE_BYTES]),
            (PIECE_BYTES + 1, vec![PIECE_BYTES, 1]),
            (3 * PIECE_BYTES, vec![PIECE_BYTES; 3]),
        ] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let digest = prelim_imaging::header::digest(&bytes);
            let (sizes, whole) = read(bytes.clone(), digest.clone()).await;
            assert_eq!((sizes, whole.unwrap()), (expected.clone(), bytes.clone()), "{length}");
            let damaged = [&bytes[..], b"!"].concat();
            let (sizes, whole) = read(damaged, digest).await;
            assert!(matches!(whole, Err(BytesError::Damaged(_))), "{length}");
            assert!(sizes.iter().sum::<usize>() <= length, "{length}: the last piece is held back");
        }
    }
}
