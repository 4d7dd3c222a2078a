//! The account that `prelim up` makes for a newcomer, so that the page can be signed in to.

use std::path::Path;

use prelim_coordinator::CoordinatorConfig;
use prelim_coordinator::access::Role;
use prelim_coordinator::access::accounts::{self, Account};

/// Its name.
const NAME: &str = "radiologist";
/// The file beside the data.
const FILE: &str = "accounts.toml";
/// The audit beside it: who looks at patients is on record.
const AUDIT: &str = "audit.jsonl";

/// An account that was made: its name and password, which nothing else knows.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) password: String,
}

/// Has the page's accounts in a file beside the data, where the page is served and nobody could sign in, and the audit as well
/// where it is nowhere else. What was made, where the file was not there.
pub(crate) fn provide(config: &mut CoordinatorConfig) -> anyhow::Result<Option<Made>> {
    let is_wanted =
        config.web.http.is_some() && config.security.accounts.is_none() && config.security.oidc_issuer.is_none();
    if !is_wanted {
        return Ok(None);
    }
    std::fs::create_dir_all(&config.data)?;
    let file = config.data.join(FILE);
    let made = if file.exists() { None } else { Some(make(&file)?) };
    config.security.accounts = Some(file);
    config.security.audit.get_or_insert_with(|| config.data.join(AUDIT));
    Ok(made)
}

fn make(file: &Path) -> anyhow::Result<Made> {
    let password = accounts::generate();
    let roles = [Role::Read, Role::Review].into();
    // Everything that a machine of one's own holds.
    let account = Account::new(NAME, ("Radiologist", "Local"), roles, vec!["*".to_owned()], &password)?;
    accounts::add(file, account)?;
    Ok(Made { name: NAME, password })
}
