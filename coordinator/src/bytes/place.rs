//! Where bytes are kept: `--bytes` taken apart, and the environment that goes with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use object_store::path::Path as Key;
use object_store::signer::Url;

/// A place for bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder, made where it is missing.
    Folder(PathBuf),
    /// A bucket of an S3 store.
    S3 {
        /// Its name.
        bucket: String,
        /// Before every key; may be empty.
        prefix: Key,
    },
}

/// An address that is no place for bytes. The address itself is not repeated: somebody may have put a secret into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It has no scheme.
    #[error("--bytes is no URL; give file:///FOLDER or s3://BUCKET/PREFIX")]
    NoUrl,
    /// Nothing is kept under that scheme.
    #[error("--bytes has the scheme {0:?}, and bytes are kept in file:///FOLDER or s3://BUCKET/PREFIX")]
    Scheme(String),
    /// A name where a folder should begin.
    #[error("--bytes names no folder of this machine; give file:///FOLDER, with three slashes")]
    Folder,
    /// No bucket.
    #[error("--bytes names no bucket; give s3://BUCKET/PREFIX")]
    NoBucket,
    /// Credentials in the address.
    #[error(
        "--bytes holds a user or password, which would be shown wherever it is; give them as AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY"
    )]
    Credentials,
    /// A port, a query or a fragment.
    #[error("--bytes has more than a bucket and a prefix; a server is named with AWS_ENDPOINT_URL")]
    Surplus,
    /// A prefix that no key can have.
    #[error("--bytes has a prefix that cannot be used in keys; use letters, digits, dashes and slashes")]
    Prefix,
}

impl Place {
    /// The place that `--bytes` names.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let url = Url::parse(text).map_err(|_| PlaceError::NoUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PlaceError::Credentials);
        }
        if url.port().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(PlaceError::Surplus);
        }
        match url.scheme() {
            "file" => url.to_file_path().map(Self::Folder).map_err(|()| PlaceError::Folder),
            "s3" => {
                let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or(PlaceError::NoBucket)?;
                let prefix = Key::from_url_path(url.path()).map_err(|_| PlaceError::Prefix)?;
                Ok(Self::S3 { bucket: bucket.to_owned(), prefix })
            }
            other => Err(PlaceError::Scheme(other.to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The variables of the environment that speak of S3: those beginning with `AWS_` that are not empty. They hold secrets
/// and are not printed.
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Those among `all`.
    pub fn new<N: Into<String>, V: Into<String>>(all: impl IntoIterator<Item = (N, V)>) -> Self {
        let all = all.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(all.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()).collect())
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these that is set, with its name.
    pub(super) fn first<'a>(&'a self, names: &[&'a str]) -> Option<(&'a str, &'a str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, PlaceError>) {
        assert_eq!(Place::parse(text).map(|place| place.to_string()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn a_place_is_a_folder_or_a_bucket_and_the_rest_is_refused_by_name() {
        check("file:///var/lib/prelim%20bytes", Ok("/var/lib/prelim bytes"));
        check("s3://scans", Ok("s3://scans/"));
        check("s3://Scans/a/b/", Ok("s3://Scans/a/b"));
        check("/var/lib", Err(PlaceError::NoUrl));
        check("objects", Err(PlaceError::NoUrl));
        check("ftp://host/x", Err(PlaceError::Scheme("ftp".to_owned())));
        check("gs://bucket", Err(PlaceError::Scheme("gs".to_owned())));
        check("file://objects/x", Err(PlaceError::Folder));
        check("s3:///prefix", Err(PlaceError::NoBucket));
        check("s3://AKIA:secret@bucket/x", Err(PlaceError::Credentials));
        check("s3://bucket:9000/x", Err(PlaceError::Surplus));
        check("s3://bucket/x?secret=1", Err(PlaceError::Surplus));
    }
}
