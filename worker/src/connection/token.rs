//! Bearer tokens, shown with each call (RFC 6750 section 2.1).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tonic::codegen::http::header::AUTHORIZATION;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::Secret;

/// Longest token that is read from a file.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// What a caller shows: a token, the newest of a file, or nothing. Clones share it.
#[derive(Clone)]
pub struct Credentials(Arc<Source>);

enum Source {
    Nothing,
    Token(Secret),
    File { path: PathBuf, held: Mutex<Option<(Stamp, Secret)>> },
}

/// What tells one state of a file from another.
type Stamp = (Option<SystemTime>, u64, u64);

impl Credentials {
    /// The token itself, before a file with one.
    pub(super) fn new(token: Option<Secret>, file: Option<PathBuf>) -> Self {
        Self(Arc::new(match (token, file) {
            (Some(token), _) => Source::Token(token),
            (None, Some(path)) => Source::File { path, held: Mutex::default() },
            (None, None) => Source::Nothing,
        }))
    }

    fn token(&self) -> Result<Option<Secret>, String> {
        match &*self.0 {
            Source::Nothing => Ok(None),
            Source::Token(token) => Ok(Some(token.clone())),
            Source::File { path, held } => {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                newest(path, &mut held)
                    .map(Some)
                    .map_err(|error| format!("token file {} cannot be read: {error}", path.display()))
            }
        }
    }
}

/// The token in the file; read only where the file changed.
fn newest(path: &Path, held: &mut Option<(Stamp, Secret)>) -> std::io::Result<Secret> {
    let found = fs::metadata(path)?;
    let stamp = (found.modified().ok(), found.len(), found.ino());
    if let Some((_, token)) = held.as_ref().filter(|(seen, _)| *seen == stamp) {
        return Ok(token.clone());
    }
    if found.len() > MAX_TOKEN_BYTES {
        return Err(std::io::Error::other("it is too long for a token"));
    }
    let token = Secret(fs::read_to_string(path)?.trim().to_owned());
    *held = Some((stamp, token.clone()));
    Ok(token)
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.token().map_err(Status::unauthenticated)? {
            let value: Result<MetadataValue<Ascii>, _> = format!("Bearer {}", token.expose()).parse();
            let mut value = value.map_err(|_| Status::unauthenticated("the token has characters that no token has"))?;
            value.set_sensitive(true);
            request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(credentials: &mut Credentials) -> Result<Option<String>, Status> {
        let request = credentials.call(Request::new(()))?;
        Ok(request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_newest_token_of_a_file_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut credentials = Credentials::new(None, Some(path.clone()));
        assert!(shown(&mut credentials).unwrap_err().message().contains("cannot be read"));
        for token in ["first", "second-one"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(shown(&mut credentials).unwrap(), Some(format!("Bearer {token}")));
        }
        fs::write(&path, "two\nlines").unwrap();
        assert!(shown(&mut credentials).is_err());
        assert_eq!(shown(&mut Credentials::new(None, None)).unwrap(), None);
    }
}
