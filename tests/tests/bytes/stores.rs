//! One suite of cases for both stores of bytes, and what each of them says at the start.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use prelim_coordinator::bytes::{ByteStore, BytesError, PIECE_BYTES, Place, Variables};
use prelim_imaging::header::digest;
use prelim_proto::ids::{Digest, Uid};
use prelim_tests::s3::{BUCKET, KEY_ID, S3, SECRET, damage, objects_below};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn study(n: u32) -> Uid {
    Uid::parse(&format!("1.2.840.99.{n}")).unwrap()
}

/// A store whose objects lie as files below `files`.
async fn open(place: &str, variables: &Variables, files: &Path) -> (ByteStore, PathBuf) {
    (ByteStore::open(&Place::parse(place).unwrap(), variables).await.unwrap(), files.to_owned())
}

async fn in_folder(folder: &Path) -> (ByteStore, PathBuf) {
    let place = format!("file://{}", folder.display());
    open(&place, &Variables::new([("", "")]), folder).await
}

async fn in_bucket(s3: &S3, folder: &Path) -> (ByteStore, PathBuf) {
    open(&format!("s3://{BUCKET}/site/a"), &Variables::new(s3.variables()), folder).await
}

/// The object in pieces: their sizes, and all of it.
async fn read(store: &ByteStore, study: &Uid, digest: &Digest) -> Result<(Vec<usize>, Vec<u8>), BytesError> {
    let pieces: Vec<_> = store.read(study, digest).await?.try_collect().await?;
    Ok((pieces.iter().map(|piece| piece.len()).collect(), pieces.concat()))
}

/// What every store of bytes must do.
async fn conformance((store, files): (ByteStore, PathBuf)) {
    for (size, sizes) in [
        (1, vec![1]),
        (700, vec![700]),
        (PIECE_BYTES, vec![PIECE_BYTES]),
        (3 * PIECE_BYTES + 5, vec![PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5]),
    ] {
        let bytes: Vec<u8> = (0..size).map(|at| (at * at % 251) as u8).collect();
        let (digest, of, other) = (digest(&bytes), study(1), study(2));
        let missing = Err(BytesError::Missing(digest.clone()));
        assert_eq!(store.get(&of, &digest).await.map(drop), missing, "{size}");
        assert_eq!(read(&store, &of, &digest).await.map(drop), missing, "{size}");

        for _ in 0..2 {
            store.put(&of, &digest, bytes.clone().into()).await.unwrap();
        }
        assert_eq!(store.get(&of, &digest).await.unwrap(), bytes, "{size}");
        assert_eq!(read(&store, &of, &digest).await.unwrap(), (sizes, bytes.clone()), "{size}");
        assert_eq!(store.get(&other, &digest).await.map(drop), missing, "an object belongs to its study");

        let objects = objects_below(&files);
        let object = objects.iter().find(|path| path.ends_with(digest.as_str())).expect("a file named by the digest");
        assert!(objects.iter().all(|path| !path.display().to_string().contains("1.2.840")), "{objects:?}");
        damage(object);
        let damaged = Err(BytesError::Damaged(digest.clone()));
        assert_eq!(store.get(&of, &digest).await.map(drop), damaged, "{size}");
        assert_eq!(read(&store, &of, &digest).await.map(drop), damaged, "{size}");
        // Sent again, it is whole again.
        store.put(&of, &digest, bytes.clone().into()).await.unwrap();
        assert_eq!(store.get(&of, &digest).await.unwrap(), bytes, "{size}");
    }
    // Many at once, of two studies: each under its own.
    let puts = (0..40_u8).map(|n| {
        let store = store.clone();
        async move { store.put(&study(n.into()), &digest(&[n]), vec![n].into()).await }
    });
    futures::future::try_join_all(puts).await.unwrap();
    for n in 0..40_u8 {
        assert_eq!(store.get(&study(n.into()), &digest(&[n])).await.unwrap(), vec![n]);
    }
}

#[tokio::test]
async fn a_folder_keeps_what_it_is_given() {
    let work = tempfile::tempdir().unwrap();
    conformance(in_folder(&work.path().join("made/by/it")).await).await;
}

#[tokio::test]
async fn a_bucket_keeps_what_it_is_given() {
    let work = tempfile::tempdir().unwrap();
    let s3 = S3::start(work.path());
    conformance(in_bucket(&s3, work.path()).await).await;
    assert!(s3.objects().iter().all(|(key, _)| key.starts_with("site/a/studies/")), "{:?}", s3.objects());
}

#[tokio::test]
async fn a_signed_address_opens_one_object_and_a_folder_has_none() {
    let work = tempfile::tempdir().unwrap();
    let s3 = S3::start(&work.path().join("s3"));
    let (store, _) = in_bucket(&s3, work.path()).await;
    let bytes = b"an instance".to_vec();
    store.put(&study(1), &digest(&bytes), bytes.clone().into()).await.unwrap();
    let address = store.sign(&study(1), &digest(&bytes)).await.unwrap().expect("a bucket has addresses");
    assert!(address.expires_in <= Duration::from_secs(600));
    assert!(!address.url.contains(SECRET));
    let get = async |url: &str| {
        let answer = reqwest::get(url).await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    assert_eq!(get(&address.url).await, (200, bytes.into()));
    let other = address.url.replace(digest(b"an instance").as_str(), digest(b"another").as_str());
    assert_eq!(get(&other).await.0, 403, "it was signed for one object");
    let (plain, _) = address.url.split_once('?').unwrap();
    assert_eq!(get(plain).await.0, 403, "nobody reads unsigned");

    let (folder, _) = in_folder(&work.path().join("folder")).await;
    assert!(folder.sign(&study(1), &digest(b"an instance")).await.unwrap().is_none());
}

/// What is said of a store that cannot be used.
async fn refusal(place: &str, variables: &[(&str, String)]) -> String {
    let variables = Variables::new(variables.iter().cloned());
    let error = ByteStore::open(&Place::parse(place).unwrap(), &variables).await.unwrap_err().to_string();
    assert!(!error.contains(KEY_ID) && !error.contains(SECRET), "{error}");
    error
}

/// A server that answers one request with `answer`; its address.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4_096]).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_store_that_cannot_be_used_says_why_at_the_start() {
    let work = tempfile::tempdir().unwrap();
    let s3 = S3::start(&work.path().join("s3"));
    let variables = s3.variables();
    let with = |name: &str, value: &str| -> Vec<(&str, String)> {
        let value = |(known, was): &(&'static str, String)| {
            (*known, if *known == name { value.to_owned() } else { was.clone() })
        };
        variables.iter().map(value).collect()
    };
    // The server makes buckets as they are named; this is how Amazon answers.
    let no_bucket = "HTTP/1.1 404 Not Found\r\nContent-Length: 88\r\nConnection: close\r\n\r\n\
        <Error><Code>NoSuchBucket</Code><Message>There is no such bucket here.</Message></Error>";
    let missing = refusal("s3://nowhere/x", &with("AWS_ENDPOINT_URL", &answering(no_bucket).await)).await;
    assert!(missing.contains("s3://nowhere/x") && missing.contains("no such bucket"), "{missing}");
    let denied = refusal("s3://scans", &with("AWS_SECRET_ACCESS_KEY", "guessed")).await;
    assert!(denied.contains("access is denied (403 SignatureDoesNotMatch)") && !denied.contains("guessed"), "{denied}");
    let started = Instant::now();
    let away = refusal("s3://scans", &with("AWS_ENDPOINT_URL", "http://127.0.0.1:9")).await;
    assert!(away.contains("http://127.0.0.1:9 cannot be reached") && away.contains("refused"), "{away}");
    // It is tried again for ten seconds; a request that hangs would have five minutes.
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());

    std::fs::write(work.path().join("file"), "").unwrap();
    let no_folder = refusal(&format!("file://{}/file", work.path().display()), &[]).await;
    assert!(no_folder.contains("--bytes file:///FOLDER"), "{no_folder}");
}

#[tokio::test]
async fn a_bucket_that_is_away_is_waited_for_and_then_said_to_be_away() {
    let work = tempfile::tempdir().unwrap();
    let mut s3 = S3::start(work.path());
    let (store, _) = in_bucket(&s3, work.path()).await;
    let bytes = b"an instance".to_vec();
    s3.stop();
    let put = store.put(&study(1), &digest(&bytes), bytes.clone().into()).await;
    assert!(matches!(put, Err(BytesError::Unavailable(_))), "{put:?}");
    assert!(put.unwrap_err().is_retryable());

    let putting = tokio::spawn({
        let (store, bytes) = (store.clone(), bytes.clone());
        async move { store.put(&study(1), &digest(&bytes), bytes.into()).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    s3.start_again();
    putting.await.unwrap().expect("a short absence costs time only");
    assert_eq!(store.get(&study(1), &digest(&bytes)).await.unwrap(), bytes);
}
