//! A bucket, from the variables that every S3 program reads.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::signer::Url;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::OpenError;
use super::place::Variables;

/// How long a request that does not get through is repeated. Less than a worker waits for the next piece of an object, and
/// less than a lease lasts by default.
const RETRY_TIME: Duration = Duration::from_secs(10);
/// Repetitions within that time.
const MAX_RETRIES: usize = 8;
/// Between repetitions, at most.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// For one request with its body: 512 MiB, the longest object, at 2 MiB/s.
const REQUEST_TIME: Duration = Duration::from_secs(300);

/// Names of the server, the strongest first.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
/// Ways to have credentials: each is complete when all its variables are set.
const CREDENTIALS: [&[&str]; 6] = [
    &[KEY_ID, SECRET],
    &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"],
    &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
    &["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
    &["AWS_METADATA_ENDPOINT"],
    &["AWS_SKIP_SIGNATURE"],
];
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// The bucket. Nothing is sent yet.
pub(super) fn build(bucket: &str, variables: &Variables) -> Result<AmazonS3, OpenError> {
    // What was installed before serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    check_credentials(variables)?;
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client_options(variables)?)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_retry(RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_TIME,
            backoff: BackoffConfig { max_backoff: MAX_PAUSE, ..BackoffConfig::default() },
        });
    for (name, value) in variables.iter() {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).build().map_err(|error| OpenError::Settings(error.to_string()))
}

/// The server that the variables name, for messages.
pub(super) fn endpoint(variables: &Variables) -> &str {
    variables.first(&ENDPOINTS).map_or("Amazon S3", |(_, url)| url)
}

/// `object_store` would ask a metadata service where nothing is set, and wait for one that is not there.
fn check_credentials(variables: &Variables) -> Result<(), OpenError> {
    // A key without its secret, or the reverse, is a slip, whatever else is set.
    let half = variables.get(KEY_ID).is_some() != variables.get(SECRET).is_some();
    let complete = |names: &&[&str]| names.iter().all(|name| variables.get(name).is_some());
    if !half && CREDENTIALS.iter().any(complete) {
        return Ok(());
    }
    let found: Vec<&str> =
        CREDENTIALS.iter().copied().flatten().copied().filter(|name| variables.get(name).is_some()).collect();
    let found = if found.is_empty() { "none".to_owned() } else { format!("only {}", found.join(", ")) };
    Err(OpenError::Credentials { found })
}

fn client_options(variables: &Variables) -> Result<ClientOptions, OpenError> {
    let mut options = ClientOptions::new().with_timeout(REQUEST_TIME);
    let mut is_plain = false;
    if let Some((variable, text)) = variables.first(&ENDPOINTS) {
        let problem = |problem| OpenError::Endpoint { variable: variable.to_owned(), problem };
        let url = Url::parse(text).map_err(|_| problem("is no URL; give https://HOST:PORT"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem("holds a user or password; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        is_plain = url.scheme() == "http";
        let is_allowed = variables.get("AWS_ALLOW_HTTP").is_some_and(is_true);
        if is_plain && !is_allowed {
            return Err(problem("is http, and pixels would travel unprotected; use https, or set AWS_ALLOW_HTTP=true"));
        }
    }
    match variables.get("AWS_CA_BUNDLE") {
        Some(file) => {
            let problem = |problem: String| OpenError::Authorities { file: file.into(), problem };
            let text = std::fs::read(file).map_err(|error| problem(error.to_string()))?;
            let found = Certificate::from_pem_bundle(&text).map_err(|error| problem(error.to_string()))?;
            if found.is_empty() {
                return Err(problem("it holds no certificate".to_owned()));
            }
            // As other S3 programs do, in place of the system's.
            options = found.into_iter().fold(options, ClientOptions::with_root_certificate);
            options = options.with_no_system_certificates(true);
        }
        // A small image without certificates can speak to a server that needs none.
        None if is_plain && variables.get(KEY_ID).is_some() => options = options.with_no_system_certificates(true),
        None => {}
    }
    Ok(options)
}

/// Whether a variable says yes, in the words that `object_store` takes.
fn is_true(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(&str, &str); 2] = [(KEY_ID, "AKIAKEY"), (SECRET, "very-secret")];

    fn refusal(more: &[(&str, &str)]) -> String {
        let error = build("scans", &Variables::new(more.iter().copied())).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("AKIAKEY") && !error.contains("very-secret"), "{error}");
        error
    }

    fn with_keys<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&KEYS[..], more].concat()
    }

    #[test]
    fn missing_credentials_are_named() {
        assert!(refusal(&[]).contains("none is set"), "{}", refusal(&[]));
        assert!(refusal(&KEYS[..1]).contains("only AWS_ACCESS_KEY_ID"), "{}", refusal(&KEYS[..1]));
        assert!(refusal(&[KEYS[1], (KEY_ID, "")]).contains("only AWS_SECRET_ACCESS_KEY"));
        assert!(refusal(&[("AWS_ROLE_ARN", "arn:x")]).contains("only AWS_ROLE_ARN"));
    }

    #[test]
    fn settings_that_cannot_be_meant_are_named() {
        assert!(refusal(&with_keys(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")])).contains("AWS_ALLOW_HTTP"));
        assert!(refusal(&with_keys(&[("AWS_ENDPOINT_URL", "nonsense")])).contains("is no URL"));
        assert!(
            refusal(&with_keys(&[("AWS_ENDPOINT_URL_S3", "https://a:very-secret@h")])).contains("user or password")
        );
        assert!(refusal(&with_keys(&[("AWS_CA_BUNDLE", "/nowhere/ca.pem")])).contains("/nowhere/ca.pem"));
        let plain = with_keys(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ALLOW_HTTP", "true")]);
        build("scans", &Variables::new(plain)).unwrap();
    }
}
