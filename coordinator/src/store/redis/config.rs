//! How a coordinator is told of its Redis.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::RedisOptions;
use super::address::{Address, Credentials};

/// The name in the keys' hash tag where nobody gives another.
const DEFAULT_PREFIX: &str = "prelim";

/// Settings of the store for a cluster.
#[derive(Clone, Args)]
pub struct RedisConfig {
    /// Keep studies and jobs in this Redis or Valkey server, so that several coordinators can share them: redis://HOST,
    /// rediss://HOST (TLS), redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST. Without it they are kept in the
    /// data folder, for one coordinator.
    #[arg(long = "redis", value_name = "URL", env = "PRELIM_REDIS", hide_env_values = true)]
    pub url: Option<String>,
    /// ACL user for Redis.
    #[arg(long = "redis-username", value_name = "NAME", env = "PRELIM_REDIS_USERNAME")]
    pub username: Option<String>,
    /// Password for Redis. Better given by the environment than on the command line, where others see it.
    #[arg(long = "redis-password", value_name = "WORD", env = "PRELIM_REDIS_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Certificates, in PEM, of those who may sign the server's certificate. Without it the system's are taken.
    #[arg(long = "redis-ca", value_name = "FILE", env = "PRELIM_REDIS_CA")]
    pub ca: Option<PathBuf>,
    /// Our certificate for Redis, in PEM, where the server asks for one.
    #[arg(long = "redis-cert", value_name = "FILE", env = "PRELIM_REDIS_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of that certificate, in PEM.
    #[arg(long = "redis-key", value_name = "FILE", env = "PRELIM_REDIS_KEY", id = "key")]
    pub key: Option<PathBuf>,
    /// Name that sets the keys of this cluster apart from others on the same server.
    #[arg(long = "redis-prefix", value_name = "NAME", default_value = DEFAULT_PREFIX, env = "PRELIM_REDIS_PREFIX")]
    pub prefix: String,
}

impl Default for RedisConfig {
    fn default() -> Self {
        let prefix = DEFAULT_PREFIX.to_owned();
        Self { url: None, username: None, password: None, ca: None, cert: None, key: None, prefix }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.as_deref().map(|url| Address::parse(url).map(|address| address.display()));
        f.debug_struct("RedisConfig").field("address", &address).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// Every problem, in words.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(Err(problem)) = self.url.as_deref().map(Address::parse) {
            problems.push(format!("--redis is {problem}"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(plain) {
            problems.push("--redis-prefix is not 1 to 64 letters, digits, dots, dashes and underscores".to_owned());
        }
        problems
    }

    /// How to open the store; none where studies and jobs are kept in the data folder.
    ///
    /// # Errors
    /// A sentence: the address or a file cannot be read.
    pub fn options(&self) -> Result<Option<RedisOptions>, String> {
        let Some(url) = &self.url else { return Ok(None) };
        let read =
            |file: &Path| std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            _ => None,
        };
        let credentials = Credentials {
            username: self.username.clone(),
            password: self.password.clone(),
            ca: self.ca.as_deref().map(read).transpose()?,
            client,
        };
        Ok(Some(RedisOptions { address: Address::parse(url)?, credentials, prefix: self.prefix.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_passwords_are_not_shown() {
        let config = RedisConfig {
            url: Some("redis://u:secret@cache".into()),
            password: Some("secret".into()),
            ..RedisConfig::default()
        };
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.validate(), [""; 0]);
        assert!(config.options().unwrap().is_some());
        let config = RedisConfig { url: Some("cache".into()), prefix: "a{b}".into(), ..RedisConfig::default() };
        assert_eq!(config.validate().len(), 2);
        assert!(RedisConfig::default().options().unwrap().is_none());
        let config =
            RedisConfig { ca: Some("/nowhere".into()), url: Some("redis://a".into()), ..RedisConfig::default() };
        assert!(config.options().unwrap_err().contains("/nowhere"));
    }
}
