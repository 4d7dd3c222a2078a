//! A server that speaks S3, from `target/s3`: it checks signatures and keeps each object as a file.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::ports::free_port;
use crate::repository;

/// The access key.
pub const KEY_ID: &str = "AKIAPRELIMTESTS";
/// Its secret, which must be shown nowhere.
pub const SECRET: &str = "SecretOfThePrelimTests";
/// The bucket that is there.
pub const BUCKET: &str = "scans";

/// The server, ended when dropped. Its objects stay in its folder.
pub struct S3 {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
}

impl S3 {
    /// Starts a server on a free port, with objects in `folder` and one bucket.
    ///
    /// # Panics
    /// Where the server was not installed: `tests/install.sh` does that.
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join(BUCKET)).expect("the folder can be made");
        let mut server = Self { folder: folder.to_owned(), port: free_port(), child: None, log: Arc::default() };
        server.start_again();
        server
    }

    /// Starts it where it was.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        let program = repository().join("target/s3/bin/s3s-fs");
        let mut child = Command::new(&program)
            .args(["--host", "127.0.0.1", "--access-key", KEY_ID, "--secret-key", SECRET])
            .args(["--port", &self.port.to_string()])
            .arg(&self.folder)
            .env("RUST_LOG", "s3s_fs=info,s3s=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run tests/install.sh", program.display()));
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        while !line.contains("running at http://127.0.0.1:") {
            line.clear();
            let read = stdout.read_line(&mut line).expect("stdout can be read");
            assert!(read > 0, "the S3 server ended");
        }
        let log = Arc::clone(&self.log);
        // Read on, so that the server never waits for room in the pipe.
        thread::spawn(move || {
            let mut piece = [0; 1 << 16];
            while let Ok(read @ 1..) = stdout.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..read]);
                log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        self.child = Some(child);
    }

    /// Ends it at once. What it holds is kept.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The variables by which programs find it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// The keys of all objects of the bucket, with the files that hold them.
    pub fn objects(&self) -> Vec<(String, PathBuf)> {
        let bucket = self.folder.join(BUCKET);
        let key = |path: &Path| path.strip_prefix(&bucket).expect("below the bucket").display().to_string();
        objects_below(&bucket).into_iter().map(|path| (key(&path), path)).collect()
    }

    /// How many requests came to an address that somebody had signed before.
    pub fn signed_reads(&self) -> usize {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).matches("checking presigned url").count()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The files below `folder` that are named by a digest: what stores keep, without what a server notes for itself.
pub fn objects_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit()) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Changes one byte in the middle of a file and leaves its length, as a failing disk would.
///
/// # Panics
/// Where the file cannot be read or written, or is empty.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("the file can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut file = fs::File::create(path).expect("the file can be written");
    file.write_all(&bytes).expect("the file can be written");
}
