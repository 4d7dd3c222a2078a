//! The built page: files in the program, and the headers that browsers hold them to.

use axum::body::Body;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// What the page may do: scripts, styles, images and calls from here, and nothing else. Styles of single elements are set by
/// scripts.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; \
    img-src 'self' blob: data:; style-src 'self'; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// Files below it are named by what they hold.
const HASHED: &str = "assets/";

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    bytes: &'static [u8],
    /// Compressed, where that makes it smaller.
    gzip: Option<&'static [u8]>,
}

/// Every file.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The file at a path of the address; that of the page itself for its own addresses.
pub(super) fn find(path: &str) -> Option<&'static File> {
    let name = if is_of_page(path) { "index.html" } else { path.strip_prefix('/')? };
    FILES.iter().find(|file| file.path == name)
}

/// Whether the page shows something of its own at that address.
fn is_of_page(path: &str) -> bool {
    match path.trim_end_matches('/') {
        "" | "/worklist" | "/agreement" | "/sign-in" => true,
        other => other.strip_prefix("/study/").is_some_and(|uid| !uid.is_empty() && !uid.contains('/')),
    }
}

impl File {
    /// The answer with it.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response<Body> {
        let packed = self.gzip.filter(|_| takes_gzip(asked));
        let bytes = packed.unwrap_or(self.bytes);
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(self.path)));
        headers.insert(CONTENT_LENGTH, bytes.len().into());
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if packed.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let lasts = if self.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(lasts));
        response
    }
}

/// That there is no such file.
pub(super) fn nothing_here() -> Response<Body> {
    let mut response = Response::new(Body::from("there is nothing here\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Adds what every answer of the page and its calls says to browsers.
pub(super) fn guard(headers: &mut HeaderMap) {
    let said: [(HeaderName, &'static str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in said {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let lists = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|each| {
        let mut parts = each.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_its_addresses_and_nowhere_else() {
        for path in ["/", "/worklist", "/worklist/", "/study/1.2.3", "/agreement", "/sign-in"] {
            assert_eq!(find(path).map(|file| file.path), Some("index.html"), "{path}");
        }
        for path in ["/study", "/study/", "/study/1/2", "/other", "/../Cargo.toml", "/assets/none.js", "//", "index"] {
            let found = find(path).map(|file| file.path);
            assert!(found.is_none() || path == "//", "{path}: {found:?}");
        }
    }

    #[test]
    fn a_client_that_takes_gzip_gets_it() {
        let file = File { path: "assets/a-1.js", bytes: b"plain", gzip: Some(b"packed") };
        let asks = |accept: &'static str| {
            let asked = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            file.response(&asked).headers().contains_key(CONTENT_ENCODING)
        };
        assert!(asks("br, gzip;q=0.5") && asks("GZIP"));
        assert!(!asks("gzip;q=0") && !asks("identity") && !asks(""));
        let lasts = file.response(&HeaderMap::new()).headers()[CACHE_CONTROL].to_str().unwrap().to_owned();
        assert!(lasts.contains("immutable"), "{lasts}");
        assert_eq!(find("/").unwrap().response(&HeaderMap::new()).headers()[CACHE_CONTROL], "no-cache");
    }
}
