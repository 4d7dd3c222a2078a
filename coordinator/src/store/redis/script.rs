//! The scripts, one an operation: their text, and how they are called.

use redis::Cmd;

/// What every script begins with.
const PRELUDE: &str = include_str!("lua/prelude.lua");

/// A script of the store.
pub(super) struct Script {
    text: String,
    digest: String,
}

impl Script {
    /// A script that is refused when the server is at its limit of memory.
    fn within_limits(body: &str) -> Self {
        Self::with("#!lua", body)
    }

    /// A script that runs also then: work that was taken on can always be finished.
    fn always(body: &str) -> Self {
        Self::with("#!lua flags=allow-oom", body)
    }

    fn with(first_line: &str, body: &str) -> Self {
        let text = format!("{first_line}\n{PRELUDE}\n{body}");
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest }
    }

    pub(super) fn by_digest(&self, args: &Args) -> Cmd {
        command("EVALSHA", &self.digest, args)
    }

    pub(super) fn by_text(&self, args: &Args) -> Cmd {
        command("EVAL", &self.text, args)
    }
}

fn command(name: &str, script: &str, args: &Args) -> Cmd {
    let mut cmd = redis::cmd(name);
    // One key: the prefix, whose hash tag says where all keys of the store lie.
    cmd.arg(script).arg(1);
    for arg in &args.0 {
        cmd.arg(arg.as_slice());
    }
    cmd
}

/// Arguments of a script: the prefix, the time, and its own.
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    pub(super) fn new(prefix: &str, time_ms: Option<i64>) -> Self {
        let time = time_ms.map(|time_ms| time_ms.to_string()).unwrap_or_default();
        Self(vec![prefix.as_bytes().to_vec(), time.into_bytes()])
    }

    /// One more argument, as text.
    pub(super) fn text(mut self, text: impl AsRef<str>) -> Self {
        self.0.push(text.as_ref().as_bytes().to_vec());
        self
    }

    /// One more argument, as a number in decimal.
    pub(super) fn number(self, number: impl std::fmt::Display) -> Self {
        self.text(number.to_string())
    }

    /// More arguments, as text.
    pub(super) fn texts(self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    /// One more argument, as JSON.
    pub(super) fn json(mut self, value: &impl serde::Serialize) -> Self {
        // Records are plain data: they always have a JSON form.
        self.0.push(serde_json::to_vec(value).unwrap_or_default());
        self
    }
}

macro_rules! scripts {
    ($($constructor:ident $name:ident),* $(,)?) => {
        /// Every script.
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Default for Scripts {
            fn default() -> Self {
                Self { $($name: Script::$constructor(include_str!(concat!("lua/", stringify!($name), ".lua"))),)* }
            }
        }
    };
}

scripts! {
    within_limits add_instances,
    always cancel_study,
    always commit_merge,
    always complete_job,
    always complete_quiet,
    always complete_studies,
    always dead_jobs,
    always depth,
    always expire,
    always expired,
    always fail_job,
    always forget_requests,
    always jobs,
    always lease,
    always mend_counts,
    always mend_entries,
    always mend_studies,
    always plan_study,
    always release,
    always renew,
    always requeue_job,
    always studies,
    always workers,
}
