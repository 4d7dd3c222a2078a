//! What a server is, and what its settings risk. Looked at when a coordinator starts, and by `prelim doctor`.

use std::collections::BTreeMap;
use std::fmt;

use redis::Value;

use super::link::Link;
use super::reply;
use crate::store::StoreError;
use crate::store::records::Result;

/// The oldest version that runs our scripts: their flags came with it.
const OLDEST: (u32, u32) = (7, 0);
/// The first version that can be asked whether a write is on the disk.
const WAITS: (u32, u32) = (7, 2);

/// What a server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// Redis or Valkey.
    pub product: String,
    /// Version of the commands that it understands.
    pub version: (u32, u32),
    /// Version in words.
    pub version_text: String,
    /// What it does at its limit of memory.
    pub maxmemory_policy: String,
    /// Its limit of memory in bytes; 0 is none.
    pub maxmemory_bytes: u64,
    /// Whether writes go to a log on the disk.
    pub appendonly: bool,
    /// How often the log is synced; none where the server does not tell.
    pub appendfsync: Option<String>,
}

/// A setting that can be lived with, and what it risks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// The setting, as it is.
    pub setting: String,
    /// What may happen, and what to do.
    pub what: &'static str,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.what)
    }
}

impl ServerReport {
    /// Whether writes have to be waited for: the server syncs now and then, and can be asked. One that leaves it to the
    /// system cannot: it never knows that something is on the disk.
    pub(super) fn needs_wait(&self) -> bool {
        self.appendonly && !matches!(self.appendfsync.as_deref(), Some("always" | "no")) && self.version >= WAITS
    }

    /// What the settings risk, the worst first.
    pub fn risks(&self) -> Vec<Risk> {
        let mut risks = Vec::new();
        let mut risk = |setting: String, what| risks.push(Risk { setting, what });
        if self.maxmemory_policy != "noeviction" {
            risk(
                format!("maxmemory-policy {}", self.maxmemory_policy),
                "at its limit of memory the server throws studies and jobs away; set noeviction, with which submits are \
                 refused and nothing is lost",
            );
        }
        match (self.appendonly, self.appendfsync.as_deref()) {
            (false, _) => risk(
                "appendonly no".to_owned(),
                "when the server stops, acknowledged studies and finished work since its last snapshot are lost; set \
                 appendonly yes and appendfsync always",
            ),
            (true, Some("always")) => {}
            (true, Some("no")) => risk(
                "appendfsync no".to_owned(),
                "when the machine stops, half a minute of acknowledged studies and finished work may be lost; set always, or \
                 everysec where the server is asked whether a write is on the disk (from version 7.2 on)",
            ),
            (true, _) if self.version >= WAITS => {}
            (true, Some(_)) => risk(
                "appendfsync everysec".to_owned(),
                "when the server stops suddenly, a second of acknowledged studies and finished work may be lost; set \
                 always, or use a server from version 7.2 on, which is asked whether a write is on the disk",
            ),
            (true, None) => risk(
                "appendfsync not known (CONFIG GET is not allowed)".to_owned(),
                "unless it is always, a second of acknowledged work may be lost when the server stops suddenly",
            ),
        }
        if self.maxmemory_bytes == 0 {
            risk(
                "maxmemory 0".to_owned(),
                "the server takes memory without a limit until the system kills it; set a limit below what the machine \
                 has: submits are refused there, and finished work is still stored",
            );
        }
        risks
    }

    /// What is done about durability, in a few words.
    pub fn durability(&self) -> &'static str {
        match (self.appendonly, self.appendfsync.as_deref()) {
            (false, _) => "in memory only",
            (true, Some("always")) => "every write is synced",
            (true, _) if self.needs_wait() => "acknowledged writes are waited for (WAITAOF)",
            (true, _) => "synced now and then",
        }
    }
}

/// Asks a server what it is. Fails where it cannot be used at all.
pub(super) async fn look(link: &Link) -> Result<ServerReport> {
    // Scripts are what we need; where they are not allowed, that is said before anything else.
    let mut probe = redis::cmd("EVAL");
    probe.arg("#!lua flags=allow-oom\nreturn redis.call('TIME')").arg(1).arg("{prelim}:probe");
    link.ask(&probe).await?;
    let mut held = BTreeMap::new();
    for section in ["server", "memory", "persistence"] {
        held.extend(info(link, section).await?);
    }
    let mut report = ServerReport {
        product: if held.contains_key("valkey_version") { "Valkey" } else { "Redis" }.to_owned(),
        maxmemory_policy: held.get("maxmemory_policy").cloned().unwrap_or_default(),
        maxmemory_bytes: held.get("maxmemory").and_then(|text| text.parse().ok()).unwrap_or(0),
        appendonly: held.get("aof_enabled").is_some_and(|text| text == "1"),
        ..ServerReport::default()
    };
    let version = held.get("redis_version").cloned().unwrap_or_default();
    report.version_text = held.get("valkey_version").unwrap_or(&version).clone();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    report.version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    // Managed servers often keep their configuration to themselves.
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("appendfsync");
    if let Ok(Value::Array(pair)) = link.ask_once(&config).await {
        report.appendfsync = pair.get(1).map(reply::text).transpose()?.map(str::to_owned);
    }
    if report.version < OLDEST {
        return Err(StoreError::Storage(format!(
            "{} {} is too old: version {}.{} or later is needed",
            report.product, report.version_text, OLDEST.0, OLDEST.1
        )));
    }
    Ok(report)
}

/// The processor time that the server used so far, in s.
pub(super) async fn cpu_s(link: &Link) -> Result<f64> {
    let held = info(link, "cpu").await?;
    let of = |name: &str| held.get(name).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok(of("used_cpu_user") + of("used_cpu_sys"))
}

/// The lines of a section of INFO. In a cluster, one server's answer stands for all.
async fn info(link: &Link, section: &str) -> Result<BTreeMap<String, String>> {
    // A script runs where the keys are, and INFO in it is that server's own.
    let mut cmd = if link.is_cluster() {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg("#!lua flags=allow-oom\nreturn redis.call('INFO', ARGV[1])").arg(1).arg("{prelim}:probe");
        cmd
    } else {
        redis::cmd("INFO")
    };
    cmd.arg(section);
    let answer = match link.ask(&cmd).await? {
        Value::VerbatimString { text, .. } => text,
        other => reply::text(&other)?.to_owned(),
    };
    let lines = answer.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: (u32, u32), appendfsync: Option<&str>) -> ServerReport {
        ServerReport {
            version,
            maxmemory_policy: "noeviction".into(),
            maxmemory_bytes: 1 << 30,
            appendonly: true,
            appendfsync: appendfsync.map(str::to_owned),
            ..ServerReport::default()
        }
    }

    #[test]
    fn each_setting_that_risks_something_is_named() {
        let risks = |report: &ServerReport| report.risks().into_iter().map(|risk| risk.setting).collect::<Vec<_>>();
        assert_eq!(risks(&server((7, 0), Some("always"))), [""; 0]);
        assert_eq!(risks(&server((7, 2), Some("everysec"))), [""; 0]);
        assert_eq!(risks(&server((7, 0), Some("everysec"))), ["appendfsync everysec"]);
        assert_eq!(risks(&server((7, 0), Some("no"))), ["appendfsync no"]);
        assert_eq!(risks(&server((7, 0), None)), ["appendfsync not known (CONFIG GET is not allowed)"]);
        let bare = ServerReport { maxmemory_policy: "allkeys-lru".into(), ..ServerReport::default() };
        assert_eq!(risks(&bare), ["maxmemory-policy allkeys-lru", "appendonly no", "maxmemory 0"]);
        assert!(server((7, 2), None).needs_wait());
        assert!(!server((7, 2), Some("always")).needs_wait() && !server((7, 0), None).needs_wait());
    }
}
