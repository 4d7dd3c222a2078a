//! Sessions: who is signed in, by a cookie that nobody but the browser and we know. They are notes in the store, so that every
//! coordinator on one Redis knows them; kept is only the digest of the cookie.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::access::{Access, Caller, Role, Tenants, now_s};
use crate::store::notes::PutNote;
use crate::store::{JobStore, StoreError};
use crate::web::Web;

/// The cookie.
pub(super) const COOKIE_NAME: &str = "prelim_session";
/// Signing in with a name and a password.
pub(super) const PASSWORD: &str = "password";
/// Signing in at the issuer.
pub(super) const ISSUER: &str = "oidc";
/// A session that is used is noted so, but not more often.
const TOUCH_EVERY_MS: i64 = 60_000;

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lasting {
    /// Without use.
    pub(crate) idle: Duration,
    /// In all.
    pub(crate) whole: Duration,
}

/// A session, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    who: Who,
    csrf: String,
    /// When it began, in ms since the Unix epoch.
    began_ms: i64,
    /// When it was used last, about.
    used_ms: i64,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(super) enum Who {
    /// Of an account; what it may do is looked up in the file each time.
    Account {
        /// Its name.
        name: String,
        /// Of its password: a session ends when that changes.
        mark: String,
    },
    /// Of somebody whom the issuer named: what a token said.
    Issuer {
        /// The name, which tells the issuer.
        name: String,
        /// The person's name, as DICOM writes names.
        person: Option<String>,
        /// What it may do.
        roles: Vec<String>,
        /// Whose studies it may see; none is all.
        tenants: Option<Vec<String>>,
    },
}

/// A session that counts.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Who it is.
    pub(crate) caller: Arc<Caller>,
    /// What each request that changes something shows.
    pub(super) csrf: String,
    /// How they signed in, as `sign_in` of who is signed out has it.
    pub(super) way: &'static str,
    /// When it ends if nothing more is done, in ms since the Unix epoch.
    pub(super) expires_at_ms: i64,
}

impl Who {
    /// What the issuer's token said of a caller.
    pub(super) fn of_issuer(caller: &Caller) -> Self {
        let tenants = match &caller.tenants {
            Tenants::All => None,
            Tenants::Only(tenants) => Some(tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect()),
        };
        let roles = caller.roles.iter().map(|role| role.as_str().to_owned()).collect();
        Self::Issuer { name: caller.name.clone(), person: caller.person.clone(), roles, tenants }
    }

    /// How they signed in.
    fn way(&self) -> &'static str {
        match self {
            Self::Account { .. } => PASSWORD,
            Self::Issuer { .. } => ISSUER,
        }
    }

    /// The caller, as things stand; nobody where the account is gone or has another password, or people are of another issuer
    /// by now.
    fn caller(&self, access: &Access) -> Option<Caller> {
        match self {
            Self::Account { name, mark } => {
                let accounts = access.accounts()?;
                accounts.find(name).filter(|account| account.mark() == *mark).map(|account| account.caller())
            }
            Self::Issuer { name, person, roles, tenants } => {
                if !access.is_of_issuer(name) {
                    return None;
                }
                let roles: BTreeSet<Role> = roles.iter().filter_map(|role| Role::named(role)).collect();
                let tenants = match tenants {
                    None => Tenants::All,
                    Some(names) if names.is_empty() => Tenants::Only(BTreeSet::new()),
                    Some(names) => Tenants::named(names.iter().map(String::as_str)).ok()?,
                };
                Some(Caller { name: name.clone(), person: person.clone(), roles, tenants, expires_at_s: None })
            }
        }
    }
}

/// Begins a session: what the cookie is to say.
pub(super) async fn begin(store: &dyn JobStore, who: Who, lasting: Lasting) -> Result<String, StoreError> {
    let cookie = secret();
    let now_ms = now_s().saturating_mul(1_000);
    let kept = Kept { who, csrf: secret(), began_ms: now_ms, used_ms: now_ms };
    let lasts_ms = millis(lasting.idle.min(lasting.whole));
    store.put_note(PutNote { after: Some(0), ..PutNote::new(key(&cookie), text(&kept), lasts_ms) }).await?;
    Ok(cookie)
}

/// The session of a request; none where it shows none that counts. `is_used` says that a person did something: then it lasts on.
pub(crate) async fn of(
    store: &dyn JobStore,
    access: &Access,
    headers: &HeaderMap,
    lasting: Lasting,
    is_used: bool,
) -> Result<Option<SignedIn>, StoreError> {
    let Some(cookie) = cookie(headers, COOKIE_NAME).filter(|cookie| is_secret(cookie)) else { return Ok(None) };
    let key = key(&cookie);
    let Some(note) = store.note(&key).await? else { return Ok(None) };
    let Ok(mut kept) = serde_json::from_str::<Kept>(&note.text) else { return Ok(None) };
    let now_ms = now_s().saturating_mul(1_000);
    let (idle_ms, whole_ms) = (millis(lasting.idle) as i64, millis(lasting.whole) as i64);
    let end_ms = kept.began_ms.saturating_add(whole_ms);
    let caller = kept.who.caller(access);
    let (Some(caller), true) = (caller, now_ms < end_ms && now_ms < kept.used_ms.saturating_add(idle_ms)) else {
        // It ends for good: an account that comes back does not bring it back.
        store.drop_notes(&key).await?;
        return Ok(None);
    };
    // Settings with less patience than that are for tests.
    if is_used && now_ms - kept.used_ms >= TOUCH_EVERY_MS.min(idle_ms / 4) {
        kept.used_ms = now_ms;
        let lasts_ms = u64::try_from(idle_ms.min(end_ms - now_ms)).unwrap_or(0);
        let put = PutNote { after: Some(note.version), ..PutNote::new(key.clone(), text(&kept), lasts_ms) };
        match store.put_note(put).await {
            // Another request of the same page was sooner, or somebody signed out.
            Ok(_) | Err(StoreError::NoteChanged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let expires_at_ms = kept.used_ms.saturating_add(idle_ms).min(end_ms);
    Ok(Some(SignedIn { caller: Arc::new(caller), way: kept.who.way(), csrf: kept.csrf, expires_at_ms }))
}

/// The session of a request for images, which a person looks at.
pub(crate) async fn of_request(web: &Web, head: &Parts) -> Result<Option<SignedIn>, StoreError> {
    of(&*web.coordinator.store, &web.gate.access, &head.headers, web.lasting(), true).await
}

/// How often what lasts looks whether the session still counts that let it in.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Whether the session of these headers still counts, and is of the same caller: somebody else may have the name now, or less to
/// see. It is not when the store does not answer.
pub(crate) async fn still_lets_in(web: &Web, headers: &HeaderMap, caller: &Caller) -> bool {
    let found = of(&*web.coordinator.store, &web.gate.access, headers, web.lasting(), false).await;
    found.is_ok_and(|signed_in| signed_in.is_some_and(|signed_in| *signed_in.caller == *caller))
}

/// Ends the session that a request shows, if it shows one.
pub(super) async fn end(store: &dyn JobStore, headers: &HeaderMap) -> Result<(), StoreError> {
    if let Some(cookie) = cookie(headers, COOKIE_NAME).filter(|cookie| is_secret(cookie)) {
        store.drop_notes(&key(&cookie)).await?;
    }
    Ok(())
}

/// The header that gives a browser a cookie for as long as it runs, or takes it away where there is nothing in it.
pub(super) fn set_cookie(value: &str, is_secure: bool) -> HeaderValue {
    let ends = if value.is_empty() { "; Max-Age=0" } else { "" };
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{ends}");
    // It is made of words of ours and of digits.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The value of a cookie of a request.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).next()
}

/// 256 bits that nobody can guess, as 64 digits.
pub(super) fn secret() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The note of a session: whoever reads the store cannot make the cookie from it.
fn key(cookie: &str) -> String {
    let digest: String = Sha256::digest(cookie.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("session/{digest}/")
}

fn text(kept: &Kept) -> String {
    // It is plain data: it always has a JSON form.
    serde_json::to_string(kept).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::SecurityConfig;
    use crate::access::accounts::{self, Account};
    use crate::clock::ManualClock;
    use crate::store::memory::MemoryStore;
    use crate::store::notes::Notes as _;

    const LASTING: Lasting = Lasting { idle: Duration::from_secs(1_800), whole: Duration::from_secs(43_200) };

    fn shows(cookie: &str) -> HeaderMap {
        let line = format!("a=b; {COOKIE_NAME}={cookie}; c=d");
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&line).unwrap())])
    }

    #[tokio::test]
    async fn a_session_counts_while_its_account_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.toml");
        let jane = |role| Account::new("jane", ("Doe", "Jane"), [role].into(), Vec::new(), "correct horse").unwrap();
        let account = jane(Role::Read);
        let mark = account.mark();
        accounts::add(&file, account).unwrap();
        let access =
            Access::open(&SecurityConfig { accounts: Some(file.clone()), ..SecurityConfig::default() }).unwrap();
        let clock = Arc::new(ManualClock::at(1_000));
        let store = MemoryStore::new(clock.clone());
        let who = Who::Account { name: "jane".into(), mark };
        let cookie = begin(&store, who.clone(), LASTING).await.unwrap();
        let signed_in = of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().unwrap();
        assert_eq!(signed_in.caller.person.as_deref(), Some("Doe^Jane"));
        assert_ne!(signed_in.csrf, cookie);
        let held = format!("{:?}", store.notes("", 9).await.unwrap());
        assert!(!held.contains(&cookie), "only its digest is kept");
        for other in ["", "x", &"0".repeat(64), &cookie.to_uppercase(), &signed_in.csrf] {
            assert!(of(&store, &access, &shows(other), LASTING, true).await.unwrap().is_none(), "{other}");
        }
        // It ends without use.
        clock.advance(1_800_000);
        assert!(of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().is_none());
        // And when the password changes.
        let cookie = begin(&store, who, LASTING).await.unwrap();
        assert!(of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().is_some());
        accounts::add(&file, jane(Role::Read)).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().is_none());
        assert_eq!(store.note(&key(&cookie)).await.unwrap(), None, "it is gone for good");
    }

    #[tokio::test]
    async fn a_session_ends_after_its_whole_time_and_by_signing_out() {
        let of_issuer = |url: &str| {
            let (oidc_issuer, oidc_audience) = (Some(url.to_owned()), Some("prelim".to_owned()));
            Access::open(&SecurityConfig { oidc_issuer, oidc_audience, ..SecurityConfig::default() }).unwrap()
        };
        let access = of_issuer("https://issuer.example");
        let store = MemoryStore::new(Arc::new(ManualClock::at(1_000)));
        let name = "jane@https://issuer.example".to_owned();
        let caller = Caller { name, tenants: Tenants::named(["st-mary"]).unwrap(), ..Caller::anybody() };
        let cookie = begin(&store, Who::of_issuer(&caller), LASTING).await.unwrap();
        let found = of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().unwrap();
        assert_eq!(*found.caller, Caller { expires_at_s: None, ..caller.clone() });
        let over = Lasting { whole: Duration::ZERO, ..LASTING };
        assert!(of(&store, &access, &shows(&cookie), over, true).await.unwrap().is_none());
        let nobody = Caller { tenants: Tenants::Only(BTreeSet::new()), ..caller };
        let cookie = begin(&store, Who::of_issuer(&nobody), LASTING).await.unwrap();
        let found = of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().unwrap();
        assert_eq!(found.caller.tenants, nobody.tenants, "no tenant is not the default one");
        end(&store, &shows(&cookie)).await.unwrap();
        assert!(of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().is_none());
        // Nor does one count of another issuer, or one that was kept when names did not tell it.
        let cookie = begin(&store, Who::of_issuer(&nobody), LASTING).await.unwrap();
        let other = of_issuer("https://other.example");
        assert!(of(&store, &other, &shows(&cookie), LASTING, true).await.unwrap().is_none());
        let unnamed = Caller { name: "jane".to_owned(), ..nobody };
        let cookie = begin(&store, Who::of_issuer(&unnamed), LASTING).await.unwrap();
        assert!(of(&store, &access, &shows(&cookie), LASTING, true).await.unwrap().is_none());
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let text = set_cookie("abc", true).to_str().unwrap().to_owned();
        assert_eq!(text, "prelim_session=abc; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(set_cookie("", false).to_str().unwrap().ends_with("SameSite=Strict; Max-Age=0"));
    }
}
