//! Who calls, in which roles, and whose studies they may see.

use std::collections::BTreeSet;
use std::fmt;

use prelim_proto::ids::Tenant;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send studies, and stop work on them.
    Submit,
    /// See studies and their drafts.
    Read,
    /// Sign, amend and reject drafts.
    Review,
    /// Lease jobs, and read the images that they name.
    Worker,
    /// See the queue, give dead jobs another try, drain workers, stop work on studies.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Submit, Self::Read, Self::Review, Self::Worker, Self::Admin];

    /// Its name in rules, tokens and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Review => "review",
            Self::Worker => "worker",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// Whose studies a caller may see and send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Everybody's.
    All,
    /// Those of the tenants named.
    Only(BTreeSet<Tenant>),
}

impl Tenants {
    /// The tenants of these names, where `*` stands for all; `default` alone where there are no names.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, prelim_proto::ids::IdError> {
        let mut only = BTreeSet::new();
        let mut all = false;
        for name in names {
            if name == "*" {
                all = true;
            } else {
                only.insert(Tenant::parse(name)?);
            }
        }
        if only.is_empty() {
            only.insert(Tenant::default());
        }
        Ok(if all { Self::All } else { Self::Only(only) })
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all tenants"),
            Self::Only(tenants) => f.write_str(&tenants.iter().map(Tenant::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the account, in the certificate, or in the token with `@` and its issuer; for the audit and for who answers for a report, not for decisions.
    pub name: String,
    /// What tells an account from another that had its name before; none where it has none, or is no account.
    pub id: Option<String>,
    /// The person's name, as DICOM writes names; none where it is no person, or nothing names it.
    pub person: Option<String>,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Whose studies it may see.
    pub tenants: Tenants,
    /// When the certificate or token no longer counts, in s since the Unix epoch.
    pub expires_at_s: Option<i64>,
}

impl Caller {
    /// Anybody, where nothing was set up to tell callers apart: every role, all tenants.
    pub fn anybody() -> Self {
        let roles = Role::ALL.into_iter().collect();
        Self { name: "anybody".to_owned(), id: None, person: None, roles, tenants: Tenants::All, expires_at_s: None }
    }

    /// Somebody who may do nothing.
    pub fn nobody() -> Self {
        let tenants = Tenants::Only(BTreeSet::new());
        Self { name: "nobody".to_owned(), id: None, person: None, roles: BTreeSet::new(), tenants, expires_at_s: None }
    }

    /// By what its work is kept: the name, and the id where there is one. Names of accounts have no blanks, and those of an
    /// issuer end with that.
    pub fn key(&self) -> String {
        match &self.id {
            Some(id) => format!("{} {id}", self.name),
            None => self.name.clone(),
        }
    }

    /// Whether a study of `tenant` may be shown, or its images given out.
    pub fn may_see(&self, tenant: &Tenant) -> bool {
        match &self.tenants {
            Tenants::All => true,
            Tenants::Only(tenants) => tenants.contains(tenant),
        }
    }

    /// Whose a submission is: the tenant asked for, if the caller may send for it; with none asked for, the caller's only
    /// one, or else `default`.
    ///
    /// # Errors
    /// [`Refusal::Tenant`] for a tenant that is not the caller's; [`Refusal::TenantUnclear`] where there is a choice.
    pub fn tenant_for_submission(&self, asked: Option<Tenant>) -> Result<Tenant, Refusal> {
        if let Some(tenant) = asked {
            let refused = || Refusal::Tenant { caller: self.name.clone(), allowed: self.tenants.to_string() };
            return if self.may_see(&tenant) { Ok(tenant) } else { Err(refused()) };
        }
        match &self.tenants {
            Tenants::Only(tenants) if tenants.len() == 1 => Ok(tenants.iter().next().cloned().unwrap_or_default()),
            _ if self.may_see(&Tenant::default()) => Ok(Tenant::default()),
            tenants => Err(Refusal::TenantUnclear { choices: tenants.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tenants: &[&str]) -> Caller {
        Caller { tenants: Tenants::named(tenants.iter().copied()).unwrap(), ..Caller::anybody() }
    }

    #[test]
    fn a_submission_belongs_to_a_tenant_of_its_sender() {
        for (tenants, asked, whose) in [
            (&["st-mary"][..], None, Some("st-mary")),
            (&["st-mary"], Some("st-mary"), Some("st-mary")),
            (&["st-mary"], Some("er"), None),
            (&["st-mary"], Some("default"), None),
            (&["default", "er"], None, Some("default")),
            (&["st-mary", "er"], None, None),
            (&["*"], None, Some("default")),
            (&["*"], Some("er"), Some("er")),
            (&[], None, Some("default")),
            (&[], Some("er"), None),
        ] {
            let asked = asked.map(|name| Tenant::parse(name).unwrap());
            let found = caller(tenants).tenant_for_submission(asked.clone());
            assert_eq!(found.ok().as_ref().map(Tenant::as_str), whose, "{tenants:?} {asked:?}");
        }
        let unclear = caller(&["st-mary", "er"]).tenant_for_submission(None).unwrap_err();
        assert!(unclear.to_string().contains("er, st-mary"), "{unclear}");
        assert!(Caller::nobody().tenant_for_submission(None).is_err());
        assert!(!Caller::nobody().may_see(&Tenant::default()));
    }

    #[test]
    fn a_role_is_found_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.as_str()), Some(role));
        }
        assert_eq!(Role::named("Admin"), None);
    }
}
