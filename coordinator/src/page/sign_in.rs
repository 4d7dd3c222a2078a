//! Signing in with a password, signing out, and who is signed in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use hyper::header::{HeaderName, HeaderValue, SET_COOKIE};
use hyper::{Response, StatusCode};
use prelim_proto::trace::without_uids;
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::sessions::{self, SignedIn, Who};
use super::{Call, answer_json};
use crate::access::accounts::{MAX_PASSWORD, is_name};
use crate::access::{Caller, Role};
use crate::audit::{Act, Event};
use crate::clock::steady_ms;
use crate::session::Session;
use crate::web::body::Received;

/// Longest body of a sign-in, in bytes.
const MAX_BYTES: usize = 4 << 10;
/// What a wrong name and a wrong password are told alike.
const WRONG: &str = "name or password is wrong";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    password: String,
}

/// Signs somebody in.
pub(super) async fn sign_in(call: &Call<'_>, body: &mut Received) -> Result<Response<Body>, Fault> {
    let Given { name, password } = call.json(body, MAX_BYTES).await?;
    // Tablets begin a line with a capital, and end a word with a blank.
    let name = name.trim().to_lowercase();
    let page = &call.web.page;
    let access = &call.web.gate.access;
    let Some(accounts) = access.accounts() else {
        return Err(Fault::forbidden(
            "nobody signs in with a password here: the coordinator was started without --accounts",
        ));
    };
    let address = call.peer.address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    // What is no name is not remembered: somebody may have typed a password there.
    let tried = if is_name(&name) { name.clone() } else { String::new() };
    let metrics = &call.web.coordinator.metrics;
    slow(call, &tried, address).await?;
    let Some(_turn) = page.checking.take(address).await else {
        return Err(Fault::busy("many sign in just now: try again"));
    };
    // Those before it in the line may have been wrong.
    slow(call, &tried, address).await?;
    let found = {
        let (accounts, name) = (accounts.clone(), name.clone());
        let check = move || {
            let is_long = password.len() > MAX_PASSWORD;
            let account = accounts.check(&name, if is_long { "" } else { &password }).filter(|_| !is_long);
            account.map(|account| (account.caller(), account.mark()))
        };
        // It takes a processor for some tens of milliseconds.
        tokio::task::spawn_blocking(check).await.map_err(|_| Fault::busy("the coordinator is stopping"))?
    };
    let Some((caller, mark)) = found else {
        page.guesses().failed(&tried, address, steady_ms());
        metrics.signed_in("refused");
        let known = accounts.find(&name).map(|account| account.caller());
        note(call, known.as_ref(), WRONG).await;
        return Err(Fault::signed_out(WRONG).with("sign_in", call.ways()));
    };
    page.guesses().let_in(&name, address);
    let who = Who::Account { name, mark };
    let cookie = begin(call, Arc::new(caller), who).await?;
    let mut response = session_of(call, &cookie).await?;
    response.headers_mut().insert(SET_COOKIE, call.set_cookie(&cookie));
    Ok(response)
}

/// Refuses guesses that come too fast.
async fn slow(call: &Call<'_>, tried: &str, address: IpAddr) -> Result<(), Fault> {
    let wait_ms = call.web.page.guesses().wait_ms(tried, address, steady_ms());
    if wait_ms == 0 {
        return Ok(());
    }
    call.web.coordinator.metrics.signed_in("slowed");
    note(call, None, "a password is guessed too fast").await;
    Err(Fault::too_soon(wait_ms))
}

/// Begins a session in the place of the one that the request shows, and has it recorded.
pub(super) async fn begin(call: &Call<'_>, caller: Arc<Caller>, who: Who) -> Result<String, Fault> {
    let session = Session { caller, address: call.peer.address, call: call.name, audit: call.web.gate.audit.clone() };
    session.note(Act::SignedIn, &[]).await?;
    let store = &*call.web.coordinator.store;
    // A session that was begun by another hand is not gone on with.
    sessions::end(call.web, &call.head.headers).await?;
    let cookie = sessions::begin(store, who, call.web.lasting()).await?;
    call.web.coordinator.metrics.signed_in("signed_in");
    Ok(cookie)
}

/// What the page is told of a session that has just begun.
async fn session_of(call: &Call<'_>, cookie: &str) -> Result<Response<Body>, Fault> {
    let (store, access) = (&*call.web.coordinator.store, &call.web.gate.access);
    let signed_in = sessions::of_cookie(store, access, cookie, call.web.lasting(), false).await?;
    let signed_in = signed_in.ok_or_else(|| Fault::busy("the session has ended already: sign in again"))?;
    tell(call, &signed_in).await
}

/// Who is signed in.
pub(super) async fn tell(call: &Call<'_>, signed_in: &SignedIn) -> Result<Response<Body>, Fault> {
    let caller = &signed_in.caller;
    let roles: Vec<&str> = caller.roles.iter().copied().map(Role::as_str).collect();
    let account = json!({
        "id": caller.name,
        "name": caller.person,
        "roles": roles,
        "organization": call.web.coordinator.config.organization,
    });
    let is_demonstration = call.web.page.is_demonstration(&call.web.coordinator).await?;
    Ok(answer_json(&json!({
        "account": account,
        "way": signed_in.way,
        "csrf": signed_in.csrf,
        "expires_at_ms": signed_in.expires_at_ms,
        "demonstration": is_demonstration,
        "statement": prelim_proto::UNSIGNED_DRAFT_STATEMENT,
    })))
}

/// Signs the caller out, and takes the cookie away in any case: nobody is kept signed in by a full disk, nor where it cannot be
/// recorded. Where the store does not end the session, it is refused here all the same, and the answer says so.
pub(super) async fn sign_out(call: &Call<'_>) -> Result<Response<Body>, Fault> {
    let known = call.session(false).await;
    if let Ok(Some(signed_in)) = &known {
        call.check_token(signed_in)?;
    }
    let ended = sessions::end(call.web, &call.head.headers).await;
    // Who shows no session that counts is signed out already.
    if !matches!(known, Ok(None)) {
        let caller = known.ok().flatten().map(|signed_in| signed_in.caller);
        let (name, account) = (caller.as_ref().map(|who| who.name.clone()), caller.and_then(|who| who.id.clone()));
        let reason =
            ended.as_ref().err().map(|_| "the session is refused here, and not ended in the store yet".to_owned());
        let (call_name, address) = (Some(call.name), call.peer.address);
        let out = Event { caller: name, account, call: call_name, reason, address, ..Event::of(Act::SignedOut) };
        if call.web.gate.audit.record(vec![out]).await.is_err() {
            tracing::error!("somebody signed out, which is not in the audit");
        }
    }
    let mut response = match ended {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(error) => {
            tracing::error!(error = without_uids(&error), "a session is refused here that the store did not end");
            let notice = format!(
                "You are signed out. The session could not be ended in the store ({error}): this coordinator refuses it from now on, and ends it there as soon as it can."
            );
            let mut response = answer_json(&json!({"signed_out": "here", "notice": notice}));
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(SET_COOKIE, call.set_cookie(""));
    // Images that the browser kept are not for who sits there next.
    let clear = HeaderValue::from_static("\"cache\", \"storage\"");
    headers.insert(HeaderName::from_static("clear-site-data"), clear);
    Ok(response)
}

/// Records somebody who was not let in.
pub(super) async fn note(call: &Call<'_>, known: Option<&Caller>, reason: &str) {
    let (address, reason) = (call.peer.address, Some(reason.to_owned()));
    let (caller, account) = (known.map(|known| known.name.clone()), known.and_then(|known| known.id.clone()));
    let event = Event { caller, account, call: Some(call.name), reason, address, ..Event::of(Act::LoginRefused) };
    call.web.gate.audit.refused(event).await;
}
