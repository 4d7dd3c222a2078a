//! Who may call what: certificates and tokens to callers, callers to roles and tenants.
//!
//! # Layout
//! - [`Access`]: a call let in, or refused with a [`Refusal`]
//! - [`Caller`], [`Role`], [`Tenants`]: who calls; [`rules`]: the file that says so; [`table`]: what each call takes
//! - [`token`], `keys`: bearer tokens checked (pure); `issuer`: the keys fetched
//! - [`accounts`]: people with passwords; `guesses`: wrong ones, slowed (pure); `turns`: a few are checked at once, none is left out
//! - `code_flow`: people who come back from the issuer with a code
//! - `certificate`: the names in a client certificate; [`SecurityConfig`]: the settings
//!
//! **Invariant**: what is in no table and no rule is refused.
//! **Invariant**: a token that is shown must count; a certificate does not make up for a bad one.
//! **Invariant**: where nothing tells callers apart, nothing is refused but a token, which nobody here gave.

pub mod accounts;
mod caller;
mod certificate;
pub(crate) mod code_flow;
mod config;
pub(crate) mod guesses;
mod issuer;
mod keys;
mod refusal;
pub mod rules;
pub mod table;
pub mod token;
pub(crate) mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use caller::{Caller, Role, Tenants};
pub use certificate::PeerCertificate;
pub use config::SecurityConfig;
pub use issuer::IssuerError;
pub use refusal::Refusal;

use accounts::{Accounts, AccountsError};
use code_flow::{Client, CodeFlow};
use issuer::Issuer;
use rules::{Rules, RulesError};
use table::Need;

use crate::accept::Peer;
use crate::watched::Watched;

/// What is said to a token where there is no issuer to ask about it, and no certificates either.
const NO_TOKENS: &str = "tokens are not taken here: leave it out, or start the coordinator with --oidc-issuer";

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read.
    #[error("--access {file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something else.
    #[error("--access {file}: {source}")]
    Rules {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: RulesError,
    },
    /// Our secret cannot be read.
    #[error("--oidc-client-secret {file}: {source}")]
    Secret {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The accounts.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The issuer.
    #[error("--oidc-issuer: {0}")]
    Issuer(#[from] IssuerError),
}

/// What lets calls in.
pub struct Access {
    takes_certificates: bool,
    rules: Option<Watched<Rules, AccessError>>,
    issuer: Option<Issuer>,
    accounts: Option<Watched<Accounts, AccountsError>>,
    client: Option<Client>,
    /// What this process's own worker shows, at a door that only it is told of.
    inside: String,
}

impl Access {
    /// Reads the rules, if there are any.
    pub fn open(config: &SecurityConfig) -> Result<Self, AccessError> {
        let rules = config.access.clone().map(|file| {
            let path = file.clone();
            Watched::open("rules of access", vec![file], move || {
                let wrong = |source| AccessError::File { file: path.clone(), source };
                let text = std::fs::read_to_string(&path).map_err(wrong)?;
                Rules::parse(&text).map_err(|source| AccessError::Rules { file: path.clone(), source })
            })
        });
        let issuer = match (&config.oidc_issuer, &config.oidc_audience) {
            (Some(url), Some(audience)) => Some(Issuer::new(url, audience)?),
            _ => None,
        };
        let accounts = config.accounts.clone().map(|file| {
            let path = file.clone();
            Watched::open("accounts", vec![file], move || Accounts::read(&path))
        });
        let inside = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let (rules, accounts, client) = (rules.transpose()?, accounts.transpose()?, client(config)?);
        Ok(Self { takes_certificates: config.client_ca.is_some(), rules, issuer, accounts, client, inside })
    }

    /// The token of this process's own worker.
    pub fn inside_token(&self) -> &str {
        &self.inside
    }

    /// The people who sign in with a password, where there are any.
    pub(crate) fn accounts(&self) -> Option<Arc<Accounts>> {
        self.accounts.as_ref().map(Watched::get)
    }

    /// The files that say who may do what, and whether each was changed and cannot be used as it is: then what it said before
    /// counts, so that a slip of the pen shuts nobody out who was let in.
    pub(crate) fn outdated(&self) -> [(&'static str, bool); 2] {
        let rules = self.rules.as_ref().is_some_and(Watched::is_outdated);
        [("accounts", self.accounts.as_ref().is_some_and(Watched::is_outdated)), ("access", rules)]
    }

    /// The way in by the issuer, where people sign in there.
    pub(crate) fn code_flow(&self) -> Option<CodeFlow<'_>> {
        let (client, issuer) = (self.client.as_ref()?, self.issuer.as_ref()?);
        Some(CodeFlow { client, issuer, rules: self.rules() })
    }

    /// Whether somebody of this name is of the issuer that people have here.
    pub(crate) fn is_of_issuer(&self, name: &str) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| name.ends_with(&rules::name_at("", issuer.url())))
    }

    /// Whether callers are told apart.
    pub fn tells_callers_apart(&self) -> bool {
        self.takes_certificates || self.issuer.is_some()
    }

    /// Whether people need an account here, nothing else tells callers apart, and this one is on another machine.
    pub(crate) fn is_closed_to(&self, peer: &Peer) -> bool {
        let is_here = peer.is_inside || peer.address.is_none_or(|address| address.ip().to_canonical().is_loopback());
        self.accounts.is_some() && !self.tells_callers_apart() && !is_here
    }

    /// Lets the call in that was found in a table, with its name and its caller, or says why not. Nothing stands for one
    /// that is in no table.
    pub(crate) async fn admit(
        &self,
        found: Option<(&'static str, Need)>,
        authorization: Option<&str>,
        peer: &Peer,
    ) -> Result<(&'static str, Caller), Refusal> {
        let call = found.map_or("an unknown call", |(call, _)| call);
        if !self.tells_callers_apart() {
            // Another scheme is for a proxy before us.
            return match authorization.and_then(bearer) {
                Some(token) if !(peer.is_inside && same(token, &self.inside)) => Err(Refusal::NoCredentials(NO_TOKENS)),
                _ => Ok((call, Caller::anybody())),
            };
        }
        if let Some((_, Need::Nothing)) = found {
            return Ok((call, Caller::nobody()));
        }
        // Who is not known does not learn which calls there are.
        let caller = self.identify(authorization, peer).await?;
        match found {
            None => Err(Refusal::NoSuchCall),
            Some((_, Need::Role(needed))) if !needed.iter().any(|role| caller.roles.contains(role)) => {
                Err(Refusal::role(&caller.name, call, needed))
            }
            Some(_) => Ok((call, caller)),
        }
    }

    /// Who calls.
    async fn identify(&self, authorization: Option<&str>, peer: &Peer) -> Result<Caller, Refusal> {
        let now_s = now_s();
        if let Some(authorization) = authorization {
            let token = bearer(authorization).ok_or(Refusal::Token(token::TokenError::Malformed))?;
            if peer.is_inside && same(token, &self.inside) {
                let roles = [Role::Worker].into();
                let name = "worker in this process".to_owned();
                return Ok(Caller { name, id: None, person: None, roles, tenants: Tenants::All, expires_at_s: None });
            }
            let issuer = self.issuer.as_ref().ok_or(Refusal::NoCredentials(
                "tokens are not taken here; give a client certificate with --cert and --key",
            ))?;
            let (claims, expires_at_s) = issuer.verify(token, now_s).await?;
            return Ok(self.rules().of_claims(&claims, expires_at_s.saturating_add(token::LEEWAY_S))?);
        }
        let Some(certificate) = &peer.certificate else { return Err(Refusal::NoCredentials(self.wanted())) };
        if now_s >= certificate.not_after_s {
            return Err(Refusal::CertificateExpired { caller: certificate.name() });
        }
        let caller = self.rules().of_certificate(&certificate.names, certificate.not_after_s);
        caller.ok_or_else(|| Refusal::NoRule { caller: certificate.name() })
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.as_ref().map_or_else(Arc::default, Watched::get)
    }

    /// What a caller without credentials is told to bring.
    fn wanted(&self) -> &'static str {
        match (self.takes_certificates, self.issuer.is_some()) {
            (true, true) => "sign in: give a token with --token-file, or a client certificate with --cert and --key",
            (true, false) => "sign in: give a client certificate with --cert and --key",
            _ => "sign in: give a token with --token-file",
        }
    }
}

/// Who we are to the issuer, where people sign in there.
fn client(config: &SecurityConfig) -> Result<Option<Client>, AccessError> {
    let Some(id) = config.oidc_client_id.clone() else { return Ok(None) };
    let secret = config.oidc_client_secret.as_ref().map(|file| {
        let wrong = |source| AccessError::Secret { file: file.clone(), source };
        std::fs::read_to_string(file).map(|text| text.trim().to_owned()).map_err(wrong)
    });
    Ok(Some(Client { id, secret: secret.transpose()? }))
}

/// The token of an `authorization` header (RFC 6750 section 2.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether two secrets are the same, in a time that tells nothing of where they differ.
pub(crate) fn same(left: &str, right: &str) -> bool {
    let differing = left.bytes().zip(right.bytes()).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && differing == 0
}

/// Now, in s since the Unix epoch.
pub(crate) fn now_s() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = "/prelim.v1.StudyService/GetReport";

    fn peer(name: &str, not_after_s: i64) -> Peer {
        let certificate = PeerCertificate { names: vec![name.to_owned()], not_after_s };
        Peer { certificate: Some(Arc::new(certificate)), ..Peer::default() }
    }

    /// Access by certificates: `reader` reads, `worker` works.
    fn access() -> (tempfile::TempDir, Access) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.toml");
        let rule = |name: &str, role: &str| format!("[[certificate]]\nname = '{name}'\nroles = ['{role}']\n");
        std::fs::write(&file, rule("reader", "read") + &rule("worker", "worker")).unwrap();
        let config = SecurityConfig { client_ca: Some("ca".into()), access: Some(file), ..SecurityConfig::default() };
        let access = Access::open(&config).unwrap();
        (folder, access)
    }

    #[test]
    fn where_people_have_accounts_strangers_of_other_machines_stay_outside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.toml");
        let account = accounts::Account::new("jane", ("Doe", "Jane"), [Role::Read].into(), Vec::new(), "correct horse");
        accounts::add(&file, account.unwrap()).unwrap();
        let open = Access::open(&SecurityConfig::default()).unwrap();
        let guarded = Access::open(&SecurityConfig { accounts: Some(file), ..SecurityConfig::default() }).unwrap();
        let of = |address: &str| Peer { address: Some(address.parse().unwrap()), ..Peer::default() };
        for (address, closed) in [
            ("127.0.0.1:4000", false),
            ("[::1]:4000", false),
            ("[::ffff:127.0.0.1]:4000", false),
            ("10.0.0.7:4000", true),
            ("[2001:db8::1]:4000", true),
        ] {
            assert_eq!(guarded.is_closed_to(&of(address)), closed, "{address}");
            assert!(!open.is_closed_to(&of(address)));
        }
        let inside = Peer { is_inside: true, ..of("10.0.0.7:4000") };
        assert!(!guarded.is_closed_to(&inside));
    }

    #[tokio::test]
    async fn where_callers_are_not_told_apart_everybody_may_call_everything() {
        let access = Access::open(&SecurityConfig::default()).unwrap();
        for path in [READ, "/prelim.v1.WorkerService/Lease", "/unknown.Service/Call"] {
            for shown in [None, Some("Basic of-a-proxy")] {
                let (_, caller) = access.admit(table::need(path), shown, &Peer::default()).await.unwrap();
                assert_eq!(caller, Caller::anybody());
            }
            // But what is shown must count.
            let own = format!("Bearer {}", access.inside_token());
            let inside = Peer { is_inside: true, ..Peer::default() };
            assert!(access.admit(table::need(path), Some(&own), &inside).await.is_ok());
            for (shown, peer) in
                [("Bearer anything", &inside), ("bearer anything", &Peer::default()), (&own, &Peer::default())]
            {
                let refused = access.admit(table::need(path), Some(shown), peer).await.unwrap_err();
                assert!(matches!(refused, Refusal::NoCredentials(_)), "{refused}");
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_gives_the_roles_of_its_rule_and_no_more() {
        let (_folder, access) = access();
        let later = now_s() + 60;
        assert_eq!(access.admit(table::need(READ), None, &peer("reader", later)).await.unwrap().1.name, "reader");
        let refused = async |path, authorization, peer: &Peer| {
            access.admit(table::need(path), authorization, peer).await.unwrap_err()
        };
        let role = refused(READ, None, &peer("worker", later)).await;
        assert_eq!(
            role.to_string(),
            "\"worker\" has not the role for GetReport: it takes the role read, and an administrator gives roles"
        );
        assert!(matches!(refused(READ, None, &peer("stranger", later)).await, Refusal::NoRule { .. }));
        assert!(matches!(refused(READ, None, &peer("reader", now_s())).await, Refusal::CertificateExpired { .. }));
        assert!(matches!(refused(READ, None, &Peer::default()).await, Refusal::NoCredentials(_)));
        assert!(matches!(refused(READ, Some("Bearer x"), &peer("reader", later)).await, Refusal::NoCredentials(_)));
        assert!(matches!(refused(READ, Some("Basic x"), &peer("reader", later)).await, Refusal::Token(_)));
        assert_eq!(refused("/prelim.v1.StudyService/New", None, &peer("reader", later)).await, Refusal::NoSuchCall);
        let unknown = refused("/prelim.v1.StudyService/New", None, &Peer::default()).await;
        assert!(matches!(unknown, Refusal::NoCredentials(_)), "strangers do not learn what there is");
    }

    #[tokio::test]
    async fn health_is_open_and_reflection_is_for_the_known() {
        let (_folder, access) = access();
        assert!(access.admit(table::need("/grpc.health.v1.Health/Check"), None, &Peer::default()).await.is_ok());
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(access.admit(table::need(reflection), None, &Peer::default()).await.is_err());
        assert!(access.admit(table::need(reflection), None, &peer("worker", now_s() + 60)).await.is_ok());
    }

    #[tokio::test]
    async fn the_inside_token_works_at_the_inside_door_only() {
        let (_folder, access) = access();
        let (lease, token) = ("/prelim.v1.WorkerService/Lease", format!("Bearer {}", access.inside_token()));
        let inside = Peer { is_inside: true, ..Peer::default() };
        assert!(access.admit(table::need(lease), Some(&token), &inside).await.is_ok());
        assert!(access.admit(table::need(lease), Some(&token), &Peer::default()).await.is_err());
        assert!(access.admit(table::need(lease), Some("Bearer guess"), &inside).await.is_err());
        assert!(access.admit(table::need(lease), None, &inside).await.is_err());
        assert!(access.admit(table::need(READ), Some(&token), &inside).await.is_err());
    }
}
