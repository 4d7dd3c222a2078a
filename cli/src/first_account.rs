//! The account that `prelim up` makes for a newcomer, so that the page can be signed in to.

use std::path::Path;

use prelim_coordinator::CoordinatorConfig;
use prelim_coordinator::access::Role;
use prelim_coordinator::access::accounts::{self, Account};
use prelim_coordinator::{audit, folder};

/// Its name.
const NAME: &str = "radiologist";
/// The file beside the data.
const FILE: &str = "accounts.toml";

/// An account that was made: its name and password, which nothing else knows.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) password: String,
}

/// Has the audit beside the data where it is nowhere else, and the page's accounts, too, where the page is served and nobody could
/// sign in. What was made, where that file was not there.
pub(crate) fn provide(config: &mut CoordinatorConfig) -> anyhow::Result<Option<Made>> {
    // Also where nobody is told apart: who looks at patients is on record.
    config.security.audit.get_or_insert_with(|| config.data.join(audit::FILE));
    let is_wanted =
        config.web.http.is_some() && config.security.accounts.is_none() && config.security.oidc_issuer.is_none();
    if !is_wanted {
        return Ok(None);
    }
    let file = config.data.join(FILE);
    config.security.accounts = Some(file.clone());
    // Its password is told once, and not where nothing is started.
    let problems = config.validate();
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    folder::make_private(&config.data)?;
    Ok(if file.exists() { None } else { Some(make(&file)?) })
}

fn make(file: &Path) -> anyhow::Result<Made> {
    let password = accounts::generate();
    let roles = [Role::Read, Role::Review].into();
    // Everything that a machine of one's own holds.
    let account = Account::new(NAME, ("Radiologist", "Local"), roles, vec!["*".to_owned()], &password)?;
    accounts::add(file, account)?;
    Ok(Made { name: NAME, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_is_kept_with_and_without_accounts_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut config = CoordinatorConfig { data: data.clone(), ..CoordinatorConfig::default() };
        assert!(provide(&mut config).unwrap().is_none());
        assert_eq!(config.security.audit, Some(data.join(audit::FILE)), "nothing is served");
        config.security.audit = None;
        config.security.accounts = Some("mine.toml".into());
        config.web.http = Some(([127, 0, 0, 1], 0).into());
        assert!(provide(&mut config).unwrap().is_none());
        assert_eq!(config.security.audit, Some(data.join(audit::FILE)), "accounts of one's own");
        config.security.audit = Some("elsewhere.jsonl".into());
        config.security.accounts = None;
        // The page has no path, and no account is made that nobody is told of.
        config.web.http_url = Some("https://pacs.example/ai".to_owned());
        let refused = provide(&mut config).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|words| words.contains("/ai") && words.contains("page")));
        assert!(!data.join(FILE).exists());
        config.web.http_url = Some("https://pacs.example/".to_owned());
        config.security.accounts = None;
        assert!(provide(&mut config).unwrap().is_some());
        assert_eq!(config.security.audit, Some("elsewhere.jsonl".into()));
    }
}
