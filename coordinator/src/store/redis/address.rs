//! Where a Redis is: one server, a group watched by Sentinels, or a cluster.

use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

/// The port of a server and of a Sentinel where none is named.
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What may be given as an address.
const USAGE: &str = "give redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH, \
                     redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT; valkey:// and \
                     valkeys:// mean the same";

/// An address as it was given, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The shape of what is there.
    pub(super) kind: Kind,
    /// Whether to speak TLS.
    pub(super) is_tls: bool,
    /// Hosts and ports; a path for a socket.
    pub(super) hosts: Vec<(String, u16)>,
    /// Number of the database.
    pub(super) database: i64,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// The shapes that a Redis comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server.
    Server,
    /// One server on this machine, by its socket.
    Socket(PathBuf),
    /// Sentinels, which name the server that is the master of a group.
    Sentinel(String),
    /// A cluster. All keys lie in one slot.
    Cluster,
}

/// How to make oneself known to a Redis, and how to know it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Name of an ACL user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// What signs the server's certificate; the system's roots where absent.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, for servers that ask for one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Address {
    /// Takes an address apart.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password that may be in `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| format!("not the address of a Redis: {problem}; {USAGE}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        if scheme == "unix" {
            let kind = Kind::Socket(rest.into());
            return Ok(Self { kind, is_tls: false, hosts: vec![], database: 0, username: None, password: None });
        }
        let (is_tls, shape) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis" | "valkey", shape) => (false, shape),
            ("rediss" | "valkeys", shape) => (true, shape),
            (other, _) => return Err(wrong(&format!("scheme {other:?}"))),
        };
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (username, password) = user.map_or(("", ""), |user| user.split_once(':').unwrap_or((user, "")));
        let decoded = |text, what| decoded(text).map_err(|problem| wrong(&format!("{what} {problem}")));
        let (username, password) = (decoded(username, "user")?, decoded(password, "password")?);
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if shape == "sentinel" { SENTINEL_PORT } else { SERVER_PORT };
        let hosts: Result<Vec<_>, _> = hosts.split(',').map(|host| host_port(host, port)).collect();
        let hosts = hosts.map_err(|host| wrong(&format!("{host:?} is no HOST:PORT")))?;
        let (kind, database) = match shape {
            "" if hosts.len() > 1 => return Err(wrong("several hosts, and neither +sentinel nor +cluster")),
            "" => (Kind::Server, path),
            "cluster" if !matches!(path, "" | "0") => return Err(wrong("a cluster has no databases")),
            "cluster" => (Kind::Cluster, ""),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(wrong("no name of a master after the Sentinels"));
                }
                (Kind::Sentinel(master.to_owned()), database)
            }
            other => return Err(wrong(&format!("+{other} is neither +sentinel nor +cluster"))),
        };
        let number = if database.is_empty() { Ok(0) } else { database.parse::<u32>() };
        let database = number.map_err(|_| wrong(&format!("database {database:?} is no number")))?;
        Ok(Self { kind, is_tls, hosts, database: database.into(), username, password })
    }

    /// Where connections go to, for people: without user and password.
    pub fn display(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let tls = if self.is_tls { "s" } else { "" };
        match &self.kind {
            Kind::Server => format!("redis{tls}://{}", hosts.join(",")),
            Kind::Socket(path) => format!("unix://{}", path.display()),
            Kind::Sentinel(master) => format!("redis{tls}+sentinel://{}/{master}", hosts.join(",")),
            Kind::Cluster => format!("redis{tls}+cluster://{}", hosts.join(",")),
        }
    }

    /// What connects to one of the hosts.
    pub(super) fn info(&self, host: &(String, u16), credentials: &Credentials) -> redis::RedisResult<ConnectionInfo> {
        let (host, port) = host.clone();
        let address = match &self.kind {
            Kind::Socket(path) => ConnectionAddr::Unix(path.clone()),
            _ if self.is_tls => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        Ok(address.into_connection_info()?.set_redis_settings(self.settings(credentials)))
    }

    /// User, password and database.
    pub(super) fn settings(&self, credentials: &Credentials) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(username) = self.username.as_ref().or(credentials.username.as_ref()) {
            settings = settings.set_username(username);
        }
        if let Some(password) = self.password.as_ref().or(credentials.password.as_ref()) {
            settings = settings.set_password(password);
        }
        settings
    }
}

impl Credentials {
    /// The certificates as the library takes them.
    pub(super) fn certificates(&self) -> TlsCertificates {
        let client_tls = self.client.clone();
        let client_tls = client_tls.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
        TlsCertificates { client_tls, root_cert: self.ca.clone() }
    }
}

/// A user or password without its percent-encoding (RFC 3986 section 2.1); none where it is empty. The problem does not
/// repeat what was found: it may be a secret.
fn decoded(text: &str) -> Result<Option<String>, &'static str> {
    let mut after_percents = text.split('%').skip(1);
    let is_code = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !after_percents.all(is_code) {
        return Err("has a % that no two hexadecimal digits follow: write % itself as %25");
    }
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| "is not UTF-8 when its percent-encoding is taken away")?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// A host and its port; IPv6 addresses stand in brackets.
fn host_port(text: &str, default: u16) -> Result<(String, u16), String> {
    let bad = || text.to_owned();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(bad)?;
            (host, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default), str::parse).map_err(|_| bad())?;
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, want) in [
            ("redis://cache", "redis://cache:6379"),
            ("redis://user:secret@cache:7000/3", "redis://cache:7000"),
            ("rediss://[::1]:7000", "rediss://::1:7000"),
            ("valkey://cache", "redis://cache:6379"),
            ("valkeys://cache", "rediss://cache:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+sentinel://a,b:1/main", "redis+sentinel://a:26379,b:1/main"),
            ("rediss+cluster://a:1,b:2", "rediss+cluster://a:1,b:2"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.display()).as_deref(), Ok(want));
        }
        let address = Address::parse("redis://user:secret@cache:7000/3").unwrap();
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("user"), Some("secret")));
        assert_eq!(address.database, 3);
        assert_eq!(Address::parse("redis://:secret@cache").unwrap().username, None);
        let address = Address::parse("redis+sentinel://us%65r:p%40ss%2F%3a%25%C3%A9@a,b/main").unwrap();
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("user"), Some("p@ss/:%é")));
        assert_eq!(address.hosts.len(), 2);
    }

    #[test]
    fn what_is_no_address_is_told_without_the_password() {
        for (text, says) in [
            ("cache:6379", "no scheme"),
            ("http://cache", "scheme \"http\""),
            ("redis://u:secret@a,b", "several hosts"),
            ("redis+ring://a", "+ring"),
            ("redis+sentinel://a", "no name of a master"),
            ("redis+cluster://a/2", "no databases"),
            ("redis://u:secret@a:b", "\"a:b\" is no HOST:PORT"),
            ("redis://a/x", "database \"x\""),
            ("redis://u:secret%4@a", "password has a %"),
            ("redis://u:%zzsecret@a", "write % itself as %25"),
            ("redis://%é:secret@a", "user has a %"),
            ("redis://u:secret%ff@a", "password is not UTF-8"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
