//! Whom a browser on this machine may be taken for. Pure.
//!
//! Where nobody shows who they are, being on this machine is what lets them in. A page from elsewhere is not, though its browser
//! is: it may have this machine's address given to a name of its own (DNS rebinding), or call here from its own origin.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::http::request::Parts;

use super::config::WebConfig;
use super::cors;
use super::problem::Problem;

/// Where a browser says that what asks is from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request in that is for this machine by a name that is known, and from no page of another place.
pub(super) fn check(config: &WebConfig, head: &Parts) -> Result<(), Problem> {
    let told = config.told_host();
    let named = head.headers.get(HOST).map(|host| host.to_str().unwrap_or_default());
    // What names no host is no browser.
    let Some(host) = named.or_else(|| head.uri.authority().map(|named| named.as_str())) else { return Ok(()) };
    if !is_here(name_of(host)) && !told.is_some_and(|told| name_of(told).eq_ignore_ascii_case(name_of(host))) {
        let found: String = host.chars().take(100).collect();
        return Err(Problem::misdirected(format!(
            "{found:?} is no name of this machine, and nothing tells who calls: call localhost, or start the coordinator with --http-url where a proxy stands before it"
        )));
    }
    let is_of_a_page_that_may = match head.headers.get(ORIGIN) {
        Some(origin) => cors::is_named(&config.http_origin, origin) || cors::is_from(origin, [Some(host), told]),
        // A picture in a page of another place has no Origin, but browsers say this (Fetch Metadata).
        None => !head.headers.get(SITE).is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site")),
    };
    if is_of_a_page_that_may {
        return Ok(());
    }
    Err(Problem::forbidden("pages of other places may not call here: name theirs with --http-origin"))
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

fn is_here(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use hyper::{Request, StatusCode};

    use super::*;

    fn asked(host: &str, origin: Option<&str>) -> Result<(), StatusCode> {
        let config = WebConfig {
            http_url: Some("https://pacs.example/ai".into()),
            http_origin: vec!["https://viewer.example".into()],
            ..WebConfig::default()
        };
        let mut request = Request::get("/dicom-web/studies").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        check(&config, &request.body(()).unwrap().into_parts().0).map_err(|problem| problem.status())
    }

    #[test]
    fn pictures_are_in_no_page_of_another_place() {
        let shown = |site: &str| {
            let request = Request::get("/dicom-web/studies").header(HOST, "localhost:8042").header(SITE, site);
            check(&WebConfig::default(), &request.body(()).unwrap().into_parts().0).map_err(|problem| problem.status())
        };
        for site in ["none", "same-origin"] {
            assert_eq!(shown(site), Ok(()), "{site}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(shown(site), Err(StatusCode::FORBIDDEN), "{site}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_answered_to() {
        for host in
            ["localhost", "LOCALHOST:8042", "127.0.0.1:8042", "[::1]:8042", "[::1]", "pacs.example", "localhost."]
        {
            assert_eq!(asked(host, None), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8042", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            assert_eq!(asked(host, None), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
    }

    #[test]
    fn only_pages_from_here_and_those_that_are_named_may_call() {
        for origin in ["http://localhost:8042", "https://viewer.example", "https://pacs.example"] {
            assert_eq!(asked("localhost:8042", Some(origin)), Ok(()), "{origin}");
        }
        for origin in ["https://evil.example", "null", "http://localhost:3000", "", "https://viewer.example.evil"] {
            assert_eq!(asked("localhost:8042", Some(origin)), Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }
}
