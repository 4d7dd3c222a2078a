//! Sessions: who is signed in, by a cookie that nobody but the browser and we know. They are notes in the store, so that every
//! coordinator on one Redis knows them; kept is only the digest of the cookie.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HOST, HeaderValue};
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::access::{Access, Caller, Role, Tenants};
use crate::clock::steady_ms;
use crate::store::notes::PutNote;
use crate::store::{JobStore, StoreError};
use crate::web::Web;
use crate::web::config::WebConfig;

/// What the name of the cookie begins with.
const COOKIE_NAME: &str = "prelim_session";
/// Signing in with a name and a password.
pub(super) const PASSWORD: &str = "password";
/// Signing in at the issuer.
pub(super) const ISSUER: &str = "oidc";
/// A session that is used is noted so, but not more often.
const TOUCH_EVERY_MS: i64 = 60_000;
/// Sessions that are remembered of those that the store could not end.
const MAX_LEFT: usize = 10_000;
/// How often it is tried again to end them.
const END_AGAIN: Duration = Duration::from_secs(5);

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
                Some(Caller {
                    name: name.clone(),
                    id: None,
                    person: person.clone(),
                    roles,
                    tenants,
                    expires_at_s: None,
                })
            }
        }
    }
}

/// Begins a session: what the cookie is to say.
pub(super) async fn begin(store: &dyn JobStore, who: Who, lasting: Lasting) -> Result<String, StoreError> {
    let cookie = secret();
    let now_ms = steady_ms();
    let kept = Kept { who, csrf: secret(), began_ms: now_ms, used_ms: now_ms };
    let lasts_ms = millis(lasting.idle.min(lasting.whole));
    store.put_note(PutNote { after: Some(0), ..PutNote::new(key(&cookie), text(&kept), lasts_ms) }).await?;
    Ok(cookie)
}

/// The session of a request; none where it shows none that counts. `is_used` says that a person did something: then it lasts on.
pub(crate) async fn of(web: &Web, headers: &HeaderMap, is_used: bool) -> Result<Option<SignedIn>, StoreError> {
    let Some(cookie) = shown(&web.config, headers) else { return Ok(None) };
    if web.page.left.has(&key(&cookie)) {
        return Ok(None);
    }
    of_cookie(&*web.coordinator.store, &web.gate.access, &cookie, web.lasting(), is_used).await
}

/// The same of what a cookie says.
pub(super) async fn of_cookie(
    store: &dyn JobStore,
    access: &Access,
    cookie: &str,
    lasting: Lasting,
    is_used: bool,
) -> Result<Option<SignedIn>, StoreError> {
    if !is_secret(cookie) {
        return Ok(None);
    }
    let key = key(cookie);
    let Some(note) = store.note(&key).await? else { return Ok(None) };
    let Ok(mut kept) = serde_json::from_str::<Kept>(&note.text) else { return Ok(None) };
    let now_ms = steady_ms();
    let (idle_ms, whole_ms) = (millis(lasting.idle) as i64, millis(lasting.whole) as i64);
    let end_ms = kept.began_ms.saturating_add(whole_ms);
    let Some(caller) = kept.who.caller(access) else {
        // It ends for good: an account that comes back does not bring it back. It lets nobody in, also where that fails.
        let _ = store.drop_notes(&key).await;
        return Ok(None);
    };
    // The store ends it by its own clock; where ours is ahead of that, it is not for us to end it for all.
    if now_ms >= end_ms || now_ms >= kept.used_ms.saturating_add(idle_ms) {
        return Ok(None);
    }
    // Settings with less patience than that are for tests.
    if is_used && now_ms - kept.used_ms >= TOUCH_EVERY_MS.min(idle_ms / 4) {
        let before_ms = std::mem::replace(&mut kept.used_ms, now_ms);
        let lasts_ms = u64::try_from(idle_ms.min(end_ms - now_ms)).unwrap_or(0);
        let put = PutNote { after: Some(note.version), ..PutNote::new(key.clone(), text(&kept), lasts_ms) };
        match store.put_note(put).await {
            // Another request of the same page was sooner, or somebody signed out.
            Ok(_) | Err(StoreError::NoteChanged { .. }) => {}
            // A store that is full keeps nobody from reading, signing and signing out; the session lasts as it would have.
            Err(error) => {
                tracing::debug!(%error, "the use of a session is not noted");
                kept.used_ms = before_ms;
            }
        }
    }
    let expires_at_ms = kept.used_ms.saturating_add(idle_ms).min(end_ms);
    Ok(Some(SignedIn { caller: Arc::new(caller), way: kept.who.way(), csrf: kept.csrf, expires_at_ms }))
}

/// The session of a request for images, which a person looks at.
pub(crate) async fn of_request(web: &Web, head: &Parts) -> Result<Option<SignedIn>, StoreError> {
    of(web, &head.headers, true).await
}

/// How often what lasts looks whether the session still counts that let it in.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Whether the session of these headers still counts, and is of the same caller: somebody else may have the name now, or less to
/// see. It is not when the store does not answer.
pub(crate) async fn still_lets_in(web: &Web, headers: &HeaderMap, caller: &Caller) -> bool {
    let found = of(web, headers, false).await;
    found.is_ok_and(|signed_in| signed_in.is_some_and(|signed_in| *signed_in.caller == *caller))
}

/// Sessions that their people left and the store could not end: they let nobody in here any more.
#[derive(Default)]
pub(super) struct Left(Mutex<VecDeque<String>>);

impl Left {
    fn has(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|left| left == key)
    }

    fn note(&self, key: &str) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.push_front(key.to_owned());
        left.truncate(MAX_LEFT);
    }

    fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|left| left != key);
    }
}

/// Ends the session that a request shows, if it shows one. Where the store does not end it, it is refused here from now on, and
/// the store is asked again until it does.
pub(super) async fn end(web: &Arc<Web>, headers: &HeaderMap) -> Result<(), StoreError> {
    let Some(cookie) = shown(&web.config, headers) else { return Ok(()) };
    let key = key(&cookie);
    let Err(error) = web.coordinator.store.drop_notes(&key).await else { return Ok(()) };
    if !web.page.left.has(&key) {
        web.page.left.note(&key);
        tokio::spawn(end_again(web.clone(), key));
    }
    Err(error)
}

async fn end_again(web: Arc<Web>, key: String) {
    let began = std::time::Instant::now();
    // By then it has ended by itself.
    while began.elapsed() < web.lasting().whole {
        tokio::select! {
            () = tokio::time::sleep(END_AGAIN) => {}
            () = web.coordinator.stopping.cancelled() => return,
        }
        if web.coordinator.store.drop_notes(&key).await.is_ok() {
            break;
        }
    }
    web.page.left.forget(&key);
}

/// The name of a cookie of ours. Browsers have one jar for all ports of a host: so it tells by which port they reach us, and two
/// coordinators on a machine sign nobody out of the other. Those that stand behind one address have one name.
pub(super) fn named(stem: &str, config: &WebConfig, headers: &HeaderMap) -> String {
    let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
    let port = config.told_host().or_else(host).and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let is_port = |port: &&str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    port.filter(is_port).map_or_else(|| stem.to_owned(), |port| format!("{stem}_{port}"))
}

/// What the cookie of a session says, where a request shows one.
pub(super) fn shown(config: &WebConfig, headers: &HeaderMap) -> Option<String> {
    cookie(headers, &named(COOKIE_NAME, config, headers)).filter(|cookie| is_secret(cookie))
}

/// Whether a request shows the cookie of a session, whatever it says.
pub(super) fn shows_any(config: &WebConfig, headers: &HeaderMap) -> bool {
    cookie(headers, &named(COOKIE_NAME, config, headers)).is_some()
}

/// The header that gives a browser the cookie of a session for as long as it runs, or takes it away where there is nothing in it.
pub(super) fn set_cookie(config: &WebConfig, headers: &HeaderMap, value: &str, is_secure: bool) -> HeaderValue {
    let name = named(COOKIE_NAME, config, headers);
    let ends = if value.is_empty() { "; Max-Age=0" } else { "" };
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{ends}");
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

    /// A request to a host that shows the cookie of that name.
    fn shows(host: &str, name: &str, cookie: &str) -> HeaderMap {
        let line = format!("a=b; {name}={cookie}; c=d");
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        HeaderMap::from_iter([(COOKIE, value(&line)), (HOST, value(host))])
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
        let signed_in = of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().unwrap();
        assert_eq!(signed_in.caller.person.as_deref(), Some("Doe^Jane"));
        assert_ne!(signed_in.csrf, cookie);
        let held = format!("{:?}", store.notes("", 9).await.unwrap());
        assert!(!held.contains(&cookie), "only its digest is kept");
        for other in ["", "x", &"0".repeat(64), &cookie.to_uppercase(), &signed_in.csrf] {
            assert!(of_cookie(&store, &access, other, LASTING, true).await.unwrap().is_none(), "{other}");
        }
        // It ends without use.
        clock.advance(1_800_000);
        assert!(of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().is_none());
        // And when the password changes.
        let cookie = begin(&store, who, LASTING).await.unwrap();
        assert!(of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().is_some());
        accounts::add(&file, jane(Role::Read)).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().is_none());
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
        let found = of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().unwrap();
        assert_eq!(*found.caller, Caller { expires_at_s: None, ..caller.clone() });
        let over = Lasting { whole: Duration::ZERO, ..LASTING };
        assert!(of_cookie(&store, &access, &cookie, over, true).await.unwrap().is_none());
        let nobody = Caller { tenants: Tenants::Only(BTreeSet::new()), ..caller };
        let cookie = begin(&store, Who::of_issuer(&nobody), LASTING).await.unwrap();
        let found = of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().unwrap();
        assert_eq!(found.caller.tenants, nobody.tenants, "no tenant is not the default one");
        store.drop_notes(&key(&cookie)).await.unwrap();
        assert!(of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().is_none());
        // Nor does one count of another issuer, or one that was kept when names did not tell it.
        let cookie = begin(&store, Who::of_issuer(&nobody), LASTING).await.unwrap();
        let other = of_issuer("https://other.example");
        assert!(of_cookie(&store, &other, &cookie, LASTING, true).await.unwrap().is_none());
        let unnamed = Caller { name: "jane".to_owned(), ..nobody };
        let cookie = begin(&store, Who::of_issuer(&unnamed), LASTING).await.unwrap();
        assert!(of_cookie(&store, &access, &cookie, LASTING, true).await.unwrap().is_none());
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let (config, headers) = (WebConfig::default(), HeaderMap::new());
        let text = |value, is_secure| set_cookie(&config, &headers, value, is_secure).to_str().unwrap().to_owned();
        assert_eq!(text("abc", true), "prelim_session=abc; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(text("", false).ends_with("SameSite=Strict; Max-Age=0"));
    }

    /// Promise: two coordinators on one machine sign nobody out of the other, and those behind one address have one cookie.
    #[test]
    fn a_cookie_is_of_the_port_by_which_browsers_come() {
        let told = |url: &str| WebConfig { http_url: Some(url.to_owned()), ..WebConfig::default() };
        for (config, host, name) in [
            (WebConfig::default(), "localhost:8042", "prelim_session_8042"),
            (WebConfig::default(), "[::1]:8043", "prelim_session_8043"),
            (WebConfig::default(), "[::1]", "prelim_session"),
            (WebConfig::default(), "pacs.example", "prelim_session"),
            (WebConfig::default(), "localhost:8042;x", "prelim_session"),
            (told("https://pacs.example"), "10.0.0.7:8042", "prelim_session"),
            (told("https://pacs.example:8443/"), "10.0.0.8:8043", "prelim_session_8443"),
        ] {
            let secret = secret();
            let headers = shows(host, name, &secret);
            assert_eq!(shown(&config, &headers), Some(secret.clone()), "{host}");
            let given = set_cookie(&config, &headers, &secret, false);
            assert!(given.to_str().unwrap().starts_with(&format!("{name}={secret};")), "{given:?}");
            assert_eq!(shown(&config, &shows(host, "prelim_session_1", &secret)), None, "another instance's");
        }
    }

    #[test]
    fn sessions_that_were_left_let_nobody_in() {
        let left = Left::default();
        for n in 0..=MAX_LEFT {
            left.note(&n.to_string());
        }
        assert!(left.has("1") && left.has(&MAX_LEFT.to_string()) && !left.has("0"), "as many as are remembered");
        left.forget("1");
        assert!(!left.has("1") && left.has("2"));
    }
}
