//! The settings of TLS, access and audit.

use std::path::PathBuf;

use clap::Args;

/// A session without use: half an hour.
const SESSION_IDLE_S: u64 = 1_800;
/// A session in all: a long shift.
const SESSION_S: u64 = 43_200;

/// How the wire is guarded. Without any of these everything is open, as fits a single machine.
#[derive(Debug, Clone, Args)]
pub struct SecurityConfig {
    /// Certificate chain in PEM to serve TLS with. It is read again when it changes on disk.
    #[arg(long, value_name = "FILE", env = "PRELIM_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, in PEM.
    #[arg(long, value_name = "FILE", env = "PRELIM_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Authorities in PEM whose client certificates are let in. Callers need one, unless they may bring a token instead.
    #[arg(long, value_name = "FILE", env = "PRELIM_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// OpenID Connect issuer whose tokens (JWT) are let in. It must be https, except on this machine.
    #[arg(long, value_name = "URL", env = "PRELIM_OIDC_ISSUER")]
    pub oidc_issuer: Option<String>,
    /// Audience that tokens must be for.
    #[arg(long, value_name = "NAME", env = "PRELIM_OIDC_AUDIENCE")]
    pub oidc_audience: Option<String>,
    /// Our name at --oidc-issuer, where people sign in to the page there (authorization code with PKCE). The issuer is told
    /// of the address https://HOST/api/oidc/end.
    #[arg(long, value_name = "ID", env = "PRELIM_OIDC_CLIENT_ID")]
    pub oidc_client_id: Option<String>,
    /// File with our secret there; none where the client is public.
    #[arg(long, value_name = "FILE", env = "PRELIM_OIDC_CLIENT_SECRET_FILE", requires = "oidc_client_id")]
    pub oidc_client_secret: Option<PathBuf>,
    /// Rules in TOML: which certificate or token has which roles and tenants. Read again when it changes.
    #[arg(long, value_name = "FILE", env = "PRELIM_ACCESS")]
    pub access: Option<PathBuf>,
    /// People who sign in to the page with a password: a file in TOML, as `prelim account add` writes it. Read again when it
    /// changes.
    #[arg(long, value_name = "FILE", env = "PRELIM_ACCOUNTS")]
    pub accounts: Option<PathBuf>,
    /// A session on the page ends after so long without use, in s.
    #[arg(long, value_name = "S", default_value_t = SESSION_IDLE_S, env = "PRELIM_SESSION_IDLE_S")]
    pub session_idle_s: u64,
    /// A session on the page ends after so long, in s, whatever is done in it.
    #[arg(long, value_name = "S", default_value_t = SESSION_S, env = "PRELIM_SESSION_S")]
    pub session_s: u64,
    /// File for the audit: one JSON line for each refusal and each access to a study, in a chain of digests. Full files
    /// are kept beside it, numbered. Without it, audit.jsonl in the folder of --data where callers or people are told apart
    /// (--client-ca, --oidc-issuer, --accounts), and always with `prelim up`.
    #[arg(long, value_name = "FILE", env = "PRELIM_AUDIT")]
    pub audit: Option<PathBuf>,
    /// Where an audit file was changed by another hand, set the audit aside and begin a new one, instead of not starting.
    #[arg(long, env = "PRELIM_AUDIT_SET_ASIDE")]
    pub audit_set_aside: bool,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            oidc_issuer: None,
            oidc_audience: None,
            oidc_client_id: None,
            oidc_client_secret: None,
            access: None,
            accounts: None,
            session_idle_s: SESSION_IDLE_S,
            session_s: SESSION_S,
            audit: None,
            audit_set_aside: false,
        }
    }
}

impl SecurityConfig {
    /// Whether callers are told apart.
    pub fn tells_callers_apart(&self) -> bool {
        self.client_ca.is_some() || self.oidc_issuer.is_some()
    }

    /// Every problem, in words.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        need(self.tls_cert.is_some() == self.tls_key.is_some(), "--tls-cert and --tls-key go together");
        need(self.client_ca.is_none() || self.tls_cert.is_some(), "--client-ca needs --tls-cert and --tls-key");
        need(
            self.oidc_issuer.is_some() == self.oidc_audience.is_some(),
            "--oidc-issuer and --oidc-audience go together",
        );
        need(self.oidc_client_id.is_none() || self.oidc_issuer.is_some(), "--oidc-client-id needs --oidc-issuer");
        need(
            self.client_ca.is_none() || self.access.is_some(),
            "--client-ca needs --access: without rules no certificate has a role",
        );
        need(
            self.access.is_none() || self.tells_callers_apart(),
            "--access needs --client-ca or --oidc-issuer: callers have no names without",
        );
        need((1..=86_400).contains(&self.session_idle_s), "--session-idle-s is not between 1 and 86,400");
        need((1..=604_800).contains(&self.session_s), "--session-s is not between 1 and 604,800");
        let issuer = self.oidc_issuer.as_deref().unwrap_or("https://");
        need(issuer.starts_with("https://") || is_local(issuer), "--oidc-issuer is no https URL");
        problems
    }
}

/// Whether an open URL stays on this machine.
fn is_local(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = host.strip_prefix("[::1]").map_or_else(|| host.split(':').next().unwrap_or_default(), |_| "[::1]");
    !host.contains('@') && matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        assert_eq!(SecurityConfig::default().validate(), Vec::<String>::new());
        let file = || Some(PathBuf::from("file"));
        let half = SecurityConfig {
            tls_key: file(),
            client_ca: file(),
            oidc_issuer: Some("http://issuer.example".into()),
            ..SecurityConfig::default()
        };
        assert_eq!(half.validate().len(), 5, "{:?}", half.validate());
        let idle = SecurityConfig { access: file(), ..SecurityConfig::default() };
        assert_eq!(idle.validate().len(), 1);
    }

    #[test]
    fn only_issuers_on_this_machine_may_be_open() {
        for (url, local) in [
            ("http://127.0.0.1:4000", true),
            ("http://localhost/realm", true),
            ("http://[::1]:80", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1@issuer.example", false),
            ("https://localhost", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }
}
