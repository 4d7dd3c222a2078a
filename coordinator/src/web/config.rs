//! The settings of DICOMweb.

use std::net::SocketAddr;

use clap::Args;

use crate::config::address;

/// How DICOMweb is served.
#[derive(Debug, Clone, Args)]
pub struct WebConfig {
    /// Address for DICOMweb (STOW-RS, QIDO-RS, WADO-RS below /dicom-web), with TLS where --tls-cert is set. Not served
    /// where not given.
    #[arg(long, value_name = "ADDR", env = "PRELIM_HTTP", value_parser = address)]
    pub http: Option<SocketAddr>,
    /// How clients reach --http, where a proxy stands before it: https://HOST/PATH. It begins the addresses in answers.
    /// Without it, they begin as the client's request does. The page has no PATH: where people sign in, there is none.
    #[arg(long, value_name = "URL", env = "PRELIM_HTTP_URL")]
    pub http_url: Option<String>,
    /// Origin whose pages may call in a browser: https://viewer.example. May be given several times; * stands for all.
    #[arg(long, value_name = "ORIGIN", env = "PRELIM_HTTP_ORIGIN", value_delimiter = ',')]
    pub http_origin: Vec<String>,
    /// Requests that are served at once; more are told to come again.
    #[arg(long, value_name = "N", default_value_t = 64, env = "PRELIM_HTTP_REQUESTS")]
    pub http_requests: usize,
    /// Longest body of a request, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 16_384, env = "PRELIM_HTTP_BODY_MIB")]
    pub http_body_mib: u64,
    /// Memory for objects that are received, decoded or described, over all requests, in MiB. What is received and finds
    /// no room is refused and can be sent again; the others wait.
    #[arg(long, value_name = "MIB", default_value_t = 2_048, env = "PRELIM_HTTP_MEMORY_MIB")]
    pub http_memory_mib: usize,
    /// How long a client may be silent while something is expected of it, in s; the head of a request must be whole within
    /// the same time.
    #[arg(long, value_name = "S", default_value_t = 60, env = "PRELIM_HTTP_IDLE_S")]
    pub http_idle_s: u64,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            http: None,
            http_url: None,
            http_origin: Vec::new(),
            http_requests: 64,
            http_body_mib: 16_384,
            http_memory_mib: 2_048,
            http_idle_s: 60,
        }
    }
}

impl WebConfig {
    /// The host that clients are told, with its port where it has one.
    pub(crate) fn told_host(&self) -> Option<&str> {
        let (_, rest) = self.http_url.as_deref()?.split_once("://")?;
        rest.split('/').next()
    }

    /// The path below which clients reach it, where there is one.
    pub(crate) fn told_path(&self) -> Option<&str> {
        let (_, rest) = self.http_url.as_deref()?.split_once("://")?;
        rest.split_once('/').map(|(_, path)| path.trim_matches('/')).filter(|path| !path.is_empty())
    }

    /// Every problem, in words.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        if let Some(url) = &self.http_url {
            need(is_url(url), format!("--http-url {url:?} is no address as https://HOST/PATH"));
        }
        for origin in &self.http_origin {
            let is_origin = is_url(origin) && origin.matches('/').count() == 2;
            need(origin == "*" || is_origin, format!("--http-origin {origin:?} is no origin as https://HOST:PORT"));
        }
        need((1..=10_000).contains(&self.http_requests), "--http-requests is not between 1 and 10,000".to_owned());
        need((1..=1 << 20).contains(&self.http_body_mib), "--http-body-mib is not between 1 and 1,048,576".to_owned());
        // An object that is as long as any may be, and what it is decoded to.
        need(
            (1_024..=1 << 20).contains(&self.http_memory_mib),
            "--http-memory-mib is not between 1,024 and 1,048,576".to_owned(),
        );
        need((1..=3_600).contains(&self.http_idle_s), "--http-idle-s is not between 1 and 3,600".to_owned());
        problems
    }
}

/// Whether a text is the beginning of an address, in characters that need no quoting in JSON or in a header.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        assert_eq!(WebConfig::default().validate(), Vec::<String>::new());
        let wrong = WebConfig {
            http: None,
            http_url: Some("ftp://x".to_owned()),
            http_origin: vec!["https://viewer.example/ohif".to_owned(), "viewer".to_owned()],
            http_requests: 0,
            http_body_mib: 0,
            http_memory_mib: 1,
            http_idle_s: 0,
        };
        assert_eq!(wrong.validate().len(), 7, "{:?}", wrong.validate());
        let right = WebConfig {
            http_url: Some("https://pacs.example/ai".to_owned()),
            http_origin: vec!["https://viewer.example:8443".to_owned(), "*".to_owned()],
            ..WebConfig::default()
        };
        assert_eq!(right.validate(), Vec::<String>::new());
    }
}
