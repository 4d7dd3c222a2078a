//! Why a call is refused, in words that say what to do.

use super::caller::Role;
use super::token::TokenError;

/// How a caller gets a person's name.
const NAMED: &str = "sign on the page of --http, where people have accounts (--accounts; `prelim account add`), or have \
    the coordinator tell callers apart with --oidc-issuer (the token's family_name and given_name, or name) or with --client-ca (person in the file of --access)";

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing says who calls.
    #[error("{0}")]
    NoCredentials(&'static str),
    /// The token is not one that counts here.
    #[error("token refused: {0}")]
    Token(#[from] TokenError),
    /// The keys to check tokens with cannot be had.
    #[error("tokens cannot be checked now: the issuer's keys cannot be fetched; try again")]
    NoKeys,
    /// The certificate ran out since the connection was made.
    #[error("client certificate {caller:?} has expired; renew it and connect again")]
    CertificateExpired {
        /// A name in it.
        caller: String,
    },
    /// Certificate or token ran out in the middle of a long call.
    #[error("the credentials of this call have expired; sign in again")]
    Expired,
    /// The certificate is good, and no rule names it.
    #[error("client certificate {caller:?} has no role here; an administrator gives it one in the file of --access")]
    NoRule {
        /// A name in it.
        caller: String,
    },
    /// The caller is known, and may not do this.
    #[error("{caller:?} has not the role for {call}: it takes {needed}, and an administrator gives roles")]
    Role {
        /// Its name.
        caller: String,
        /// What it called.
        call: &'static str,
        /// The roles that would do.
        needed: String,
    },
    /// No rule says who may call this.
    #[error("no such call")]
    NoSuchCall,
    /// The study or tenant is another's.
    #[error("{caller:?} may not act for that tenant; it may for: {allowed}")]
    Tenant {
        /// Its name.
        caller: String,
        /// Its tenants.
        allowed: String,
    },
    /// A tenant has to be named.
    #[error("tenant is not clear; name one with --tenant: {choices}")]
    TenantUnclear {
        /// The caller's tenants.
        choices: String,
    },
    /// The caller is nobody by name, and somebody has to answer for a report.
    #[error("{caller:?} is no person by name, and a report is signed by one: {how}", how = NAMED)]
    NoPerson {
        /// Its name.
        caller: String,
    },
    /// The record of this access could not be made, so there is no access.
    #[error("the audit record of this call cannot be written; nothing is served without one")]
    NoAudit,
}

impl Refusal {
    /// That a caller has none of the roles that a call takes.
    pub(crate) fn role(caller: &str, call: &'static str, needed: &[Role]) -> Self {
        let needed: Vec<_> = needed.iter().map(|role| format!("the role {}", role.as_str())).collect();
        Self::Role { caller: caller.to_owned(), call, needed: needed.join(" or ") }
    }

    /// The name of whom it is about, where one is known.
    pub fn caller(&self) -> Option<&str> {
        match self {
            Self::CertificateExpired { caller }
            | Self::NoRule { caller }
            | Self::Role { caller, .. }
            | Self::NoPerson { caller }
            | Self::Tenant { caller, .. } => Some(caller),
            _ => None,
        }
    }
}
