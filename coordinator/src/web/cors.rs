//! Pages from other origins (the CORS protocol of the Fetch standard): off, unless origins are named.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderValue, ORIGIN, VARY,
};

/// How long a browser may remember that it may call, in s.
const REMEMBER_S: &str = "600";

/// Adds what a browser needs to give the answer to a page from `origin`, where such pages may call. No cookie or
/// certificate of the browser's is taken for it: a page shows a token of its own.
pub(super) fn allow(allowed: &[String], origin: Option<&HeaderValue>, is_preflight: bool, headers: &mut HeaderMap) {
    if allowed.is_empty() {
        return;
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    if !is_named(allowed, origin) {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let exposed = "Content-Length, Content-Location, Content-Type, Location, Retry-After, Warning";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    if is_preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE"));
        let taken = HeaderValue::from_static("Accept, Authorization, Content-Type, Prelim-Tenant");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, taken);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBER_S));
    }
}

/// Whether a WebSocket may be opened: by anything that is no browser, by pages from here, and by those that may call. Browsers ask
/// nobody before they open one for a page of whomever.
pub(super) fn may_open(allowed: &[String], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    is_named(allowed, origin) || is_from(origin, [headers.get(HOST).and_then(|host| host.to_str().ok())])
}

/// Whether pages from an origin may call.
pub(super) fn is_named(allowed: &[String], origin: &HeaderValue) -> bool {
    allowed.iter().any(|each| each == "*" || each.as_bytes() == origin.as_bytes())
}

/// Whether an origin is one of these hosts, as browsers say it (RFC 6454 section 7). The scheme is not looked at: a proxy may
/// speak TLS for us.
pub(crate) fn is_from<'h>(origin: &HeaderValue, hosts: impl IntoIterator<Item = Option<&'h str>>) -> bool {
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    from.is_some() && hosts.into_iter().any(|host| host == from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], origin: &str, is_preflight: bool) -> HeaderMap {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        allow(&origins, Some(&HeaderValue::from_str(origin).unwrap()), is_preflight, &mut headers);
        headers
    }

    #[test]
    fn a_page_opens_a_channel_only_where_it_may_call() {
        let opens = |allowed: &[&str], origin: Option<&'static str>| {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("ai.example:8042"))]);
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            may_open(&allowed, &headers)
        };
        assert!(opens(&[], None) && opens(&[], Some("https://ai.example:8042")));
        assert!(opens(&["https://viewer.example"], Some("https://viewer.example")) && opens(&["*"], Some("null")));
        assert!(!opens(&[], Some("https://evil.example")) && !opens(&[], Some("null")));
    }

    #[test]
    fn pages_call_from_where_they_may_and_from_nowhere_else() {
        let viewer = "https://viewer.example";
        assert!(allowed(&[], viewer, true).is_empty());
        assert_eq!(allowed(&[viewer], viewer, false)[ACCESS_CONTROL_ALLOW_ORIGIN], viewer);
        assert_eq!(allowed(&["*"], viewer, true)[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, POST, PUT, DELETE");
        let other = allowed(&[viewer], "https://viewer.example.evil", true);
        assert!(!other.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(other[VARY], "Origin", "a cache must not give it to others");
    }
}
