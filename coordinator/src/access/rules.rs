//! The file of `--access`: which certificates and tokens have which roles, for which tenants.
//!
//! ```toml
//! [[certificate]]                        # a client certificate, by the common name, DNS name or URI in it
//! name = "worker-1.hospital.example"     # "*.workers.hospital.example" stands for one more label
//! roles = ["worker"]
//! tenants = ["st-mary"]                  # "*" for all; `default` alone where none are named
//! person = "Family^Given"                # who signs with it, as DICOM writes names; nobody where not given
//!
//! [token]                                # where a token says it; these are the defaults
//! name = "sub"
//! roles = "roles"                        # a path with dots reaches into objects: "realm_access.roles"
//! tenants = "tenants"
//! person = "name"                        # who signs; family_name and given_name go before it
//!
//! [[token.map]]                          # the issuer's own words; where any are mapped, only those count
//! value = "radiology-readers"
//! roles = ["read", "review"]
//! tenants = ["st-mary"]
//! ```

use std::collections::BTreeSet;

use prelim_proto::ids::Tenant;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::caller::{Caller, Role, Tenants};
use super::token::TokenError;

/// The claims of a token that was checked.
pub type Claims = Map<String, Value>;

/// A file of rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It is no TOML of that shape.
    #[error("{0}")]
    Shape(#[from] Box<toml::de::Error>),
    /// A tenant's name is none.
    #[error(transparent)]
    Tenant(#[from] prelim_proto::ids::IdError),
    /// A rule gives nothing.
    #[error("the rule for {0:?} has no roles")]
    NoRoles(String),
    /// A person's name is none.
    #[error("person = {0:?} is no name as DICOM writes them, \"Family^Given\": at most 64 characters")]
    Person(String),
    /// A name has a star where none may be.
    #[error("the name {0:?} has a star elsewhere than as its first label")]
    Star(String),
}

/// Which certificates and tokens have which roles.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    certificates: Vec<(String, Grant, Option<String>)>,
    token: TokenPlaces,
    map: Vec<(String, Grant)>,
}

#[derive(Debug, Clone)]
struct Grant {
    roles: BTreeSet<Role>,
    tenants: Tenants,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    certificate: Vec<CertificateRule>,
    #[serde(default)]
    token: TokenSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateRule {
    name: String,
    roles: BTreeSet<Role>,
    #[serde(default)]
    tenants: Vec<String>,
    person: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TokenSection {
    name: Option<String>,
    roles: Option<String>,
    tenants: Option<String>,
    person: Option<String>,
    map: Vec<Mapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    value: String,
    roles: BTreeSet<Role>,
    #[serde(default)]
    tenants: Vec<String>,
}

#[derive(Debug, Clone)]
struct TokenPlaces {
    name: String,
    roles: String,
    tenants: String,
    person: String,
}

impl Default for TokenPlaces {
    fn default() -> Self {
        let word = str::to_owned;
        Self { name: word("sub"), roles: word("roles"), tenants: word("tenants"), person: word("name") }
    }
}

impl Rules {
    /// Reads and checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text).map_err(Box::new)?;
        let mut certificates = Vec::new();
        for rule in file.certificate {
            if rule.name.strip_prefix("*.").unwrap_or(&rule.name).contains('*') {
                return Err(RulesError::Star(rule.name));
            }
            let grant = grant(&rule.name, rule.roles, &rule.tenants)?;
            let person = rule.person.map(|person| person_name(&person)).transpose()?;
            certificates.push((rule.name, grant, person));
        }
        let mut map = Vec::new();
        for mapping in file.token.map {
            let grant = grant(&mapping.value, mapping.roles, &mapping.tenants)?;
            map.push((mapping.value, grant));
        }
        let usual = TokenPlaces::default();
        let token = TokenPlaces {
            name: file.token.name.unwrap_or(usual.name),
            roles: file.token.roles.unwrap_or(usual.roles),
            tenants: file.token.tenants.unwrap_or(usual.tenants),
            person: file.token.person.unwrap_or(usual.person),
        };
        Ok(Self { certificates, token, map })
    }

    /// The caller with a certificate of these names: the first rule that fits one of them decides.
    pub fn of_certificate(&self, names: &[String], expires_at_s: i64) -> Option<Caller> {
        let found = self.certificates.iter().find_map(|(wanted, grant, person)| {
            let name = names.iter().find(|name| fits(wanted, name))?;
            Some((name, grant, person))
        });
        let (name, grant, person) = found?;
        let (roles, tenants) = (grant.roles.clone(), grant.tenants.clone());
        Some(Caller {
            name: name.clone(),
            id: None,
            person: person.clone(),
            roles,
            tenants,
            expires_at_s: Some(expires_at_s),
        })
    }

    /// The caller with a token of these claims, which were checked before. Its name tells the issuer: who has the same name
    /// elsewhere, or an account here, is somebody else.
    ///
    /// # Errors
    /// [`TokenError::Claim`] where the claim with the caller's name is no text, or nothing says who issued the token.
    pub fn of_claims(&self, claims: &Claims, expires_at_s: i64) -> Result<Caller, TokenError> {
        let name = claim(claims, &self.token.name).and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).ok_or(TokenError::Claim("the caller's name"))?;
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Claim("iss"))?;
        let values = claim(claims, &self.token.roles).map(words).unwrap_or_default();
        let mapped: Vec<&Grant> =
            self.map.iter().filter(|(value, _)| values.contains(&value.as_str())).map(|(_, grant)| grant).collect();
        let roles = if self.map.is_empty() {
            values.iter().filter_map(|value| Role::named(value)).collect()
        } else {
            mapped.iter().flat_map(|grant| grant.roles.iter().copied()).collect()
        };
        // What the token says of tenants is final; without a word of it, the mapping decides, and then `default`.
        let tenants = match claim(claims, &self.token.tenants).map(words) {
            Some(named) if named.contains(&"*") => Tenants::All,
            Some(named) => Tenants::Only(named.iter().filter_map(|name| Tenant::parse(name).ok()).collect()),
            None => joined(mapped.iter().map(|grant| &grant.tenants)),
        };
        let person = self.person(claims);
        let name = name_at(name, issuer);
        Ok(Caller { name, id: None, person, roles, tenants, expires_at_s: Some(expires_at_s) })
    }
}

/// What somebody is called whom an issuer calls `name`. An issuer is a URL, and no account has its `:` and `/`.
pub(super) fn name_at(name: &str, issuer: &str) -> String {
    format!("{name}@{issuer}")
}

impl Rules {
    /// Who it is that a token was given to. A name that DICOM cannot write is none.
    fn person(&self, claims: &Claims) -> Option<String> {
        let text =
            |path: &str| claim(claims, path).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let whole = match (text("family_name"), text("given_name")) {
            (Some(family), Some(given)) => format!("{family}^{given}"),
            _ => text(&self.token.person)?.to_owned(),
        };
        person_name(&whole).ok()
    }
}

/// A Person Name (PS3.5 section 6.2): one line of at most 64 characters, without what separates values and groups.
pub(super) fn person_name(name: &str) -> Result<String, RulesError> {
    let is_other = |c: char| c.is_control() || matches!(c, '\\' | '=');
    let holds = !name.trim_matches(['^', ' ']).is_empty() && name.chars().count() <= 64 && !name.contains(is_other);
    // Five components: family, given, middle, prefix, suffix.
    let holds = holds && name.matches('^').count() < 5;
    if holds { Ok(name.to_owned()) } else { Err(RulesError::Person(name.to_owned())) }
}

fn grant(name: &str, roles: BTreeSet<Role>, tenants: &[String]) -> Result<Grant, RulesError> {
    if roles.is_empty() {
        return Err(RulesError::NoRoles(name.to_owned()));
    }
    Ok(Grant { roles, tenants: Tenants::named(tenants.iter().map(String::as_str))? })
}

/// Whether `name` is the one wanted. A star stands for one label, as in server certificates (RFC 6125 section 6.4.3).
fn fits(wanted: &str, name: &str) -> bool {
    match wanted.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(label, found)| !label.is_empty() && found == rest),
        None => name == wanted,
    }
}

/// A claim by its name, or by a path with dots. Some issuers have dots in names.
fn claim<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// The words of a claim: a list of texts, or one text with blanks, as `scope` is.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn joined<'a>(tenants: impl Iterator<Item = &'a Tenants>) -> Tenants {
    let mut only = BTreeSet::new();
    for tenants in tenants {
        match tenants {
            Tenants::All => return Tenants::All,
            Tenants::Only(named) => only.extend(named.iter().cloned()),
        }
    }
    if only.is_empty() {
        only.insert(Tenant::default());
    }
    Tenants::Only(only)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
        [[certificate]]
        name = "worker-1"
        roles = ["worker"]
        tenants = ["st-mary"]
        [[certificate]]
        name = "*.workers.example"
        roles = ["worker"]
        tenants = ["*"]
        [token]
        roles = "realm_access.roles"
        [[token.map]]
        value = "radiology readers"
        roles = ["read", "review"]
        tenants = ["st-mary"]
        [[token.map]]
        value = "ops"
        roles = ["admin"]
    "#;

    /// Roles and tenants, in words.
    fn shown(caller: &Caller) -> String {
        let roles: Vec<_> = caller.roles.iter().map(|role| role.as_str()).collect();
        format!("{} of {}", roles.join("+"), caller.tenants)
    }

    #[test]
    fn the_first_rule_that_fits_a_name_of_the_certificate_decides() {
        let rules = Rules::parse(FILE).unwrap();
        for (names, expected) in [
            (&["worker-1"][..], Some("worker of st-mary")),
            (&["other", "worker-1"], Some("worker of st-mary")),
            (&["a.workers.example"], Some("worker of all tenants")),
            (&["a.b.workers.example"], None),
            (&[".workers.example"], None),
            (&["workers.example"], None),
            (&["worker-11"], None),
            (&[], None),
        ] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            assert_eq!(rules.of_certificate(&names, 0).as_ref().map(shown).as_deref(), expected, "{names:?}");
        }
    }

    #[test]
    fn a_token_gives_what_its_claims_say() {
        let (mapped, plain) = (Rules::parse(FILE).unwrap(), Rules::parse("").unwrap());
        for (rules, mut claims, expected) in [
            (&plain, json!({"roles": ["read", "fly"]}), "read of default"),
            (&plain, json!({"roles": "read submit", "tenants": "er"}), "submit+read of er"),
            (&plain, json!({"roles": ["read"], "tenants": ["*"]}), "read of all tenants"),
            (&plain, json!({"roles": ["read"], "tenants": []}), "read of "),
            (&plain, json!({"roles": ["read"], "tenants": ["St Mary"]}), "read of "),
            (&plain, json!({}), " of default"),
            (&mapped, json!({"realm_access": {"roles": ["radiology readers"]}}), "read+review of st-mary"),
            (&mapped, json!({"realm_access.roles": ["ops"], "tenants": "er"}), "admin of er"),
            (&mapped, json!({"realm_access": {"roles": ["admin"]}}), " of default"),
        ] {
            (claims["iss"], claims["sub"]) = (json!("https://issuer.example"), json!("a"));
            let caller = rules.of_claims(claims.as_object().unwrap(), 0).unwrap();
            assert_eq!(shown(&caller), expected, "{claims}");
            assert_eq!(caller.name, "a@https://issuer.example");
        }
        for unnamed in [json!({"iss": "https://issuer.example", "roles": ["read"]}), json!({"sub": "a"})] {
            assert!(plain.of_claims(unnamed.as_object().unwrap(), 0).is_err(), "{unnamed}");
        }
    }

    #[test]
    fn nobody_at_an_issuer_is_called_as_an_account_may_be() {
        for issuer in ["https://issuer.example", "http://127.0.0.1:8080", "http://localhost"] {
            for name in ["jane", "jane@st-mary.example", "", "a"] {
                assert!(!super::super::accounts::is_name(&name_at(name, issuer)), "{name} at {issuer}");
            }
        }
    }

    #[test]
    fn a_file_that_says_something_else_is_refused_with_what_is_wrong() {
        for (text, problem) in [
            ("[[certificate]]\nname = 'a'\nroles = ['boss']", "boss"),
            ("[[certificate]]\nname = 'a'\nroles = []", "no roles"),
            ("[[certificate]]\nname = 'a'\nroles = ['read']\ntenant = 'b'", "tenant"),
            ("[[certificate]]\nname = 'a.*.b'\nroles = ['read']", "star"),
            ("[[certificate]]\nname = 'a'\nroles = ['read']\ntenants = ['St Mary']", "St Mary"),
            ("[[certificates]]", "certificates"),
        ] {
            let error = Rules::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
