//! The scripts, one an operation: their text, and how they are called.

use redis::Cmd;

/// What every script begins with.
const PRELUDE: &str = include_str!("lua/prelude.lua");

/// The line that begins a part of it.
const PART: &str = "---\n";

/// The parts of the prelude that `body` uses, and those that they use, in their order. The first part is always there.
fn parts_for(body: &str) -> String {
    let parts: Vec<&str> = PRELUDE.split(PART).collect();
    let mut wanted = vec![false; parts.len()];
    let mut texts = vec![body];
    while let Some(text) = texts.pop() {
        for (place, part) in parts.iter().enumerate() {
            if !wanted[place] && (place == 0 || names(part).iter().any(|name| uses(text, name))) {
                wanted[place] = true;
                texts.push(part);
            }
        }
    }
    let kept = parts.iter().zip(wanted).filter_map(|(part, wanted)| wanted.then_some(*part));
    kept.collect()
}

/// A script without its comments: what is for people is not sent.
fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--") && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that a part gives at its top level.
fn names(part: &str) -> Vec<&str> {
    let given = part.lines().filter_map(|line| line.strip_prefix("local "));
    let names = given.flat_map(|rest| match rest.strip_prefix("function ") {
        Some(function) => vec![function.split('(').next().unwrap_or_default()],
        None => rest.split('=').next().unwrap_or_default().split(',').map(str::trim).collect(),
    });
    names.collect()
}

/// Whether `text` uses `name` as a whole word.
fn uses(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word))
}

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
        let text = format!("{first_line}\n{}", without_comments(&format!("{}\n{body}", parts_for(body))));
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

    /// The same, with `text` in the place that the script knows as `ARGV[place]`.
    pub(super) fn with_text(mut self, place: usize, text: &str) -> Self {
        self.0[place] = text.as_bytes().to_vec();
        self
    }

    /// More arguments, as text.
    pub(super) fn texts(self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    /// One more argument, packed.
    pub(super) fn packed(mut self, value: &impl serde::Serialize) -> Self {
        // Numbers and lists of them always have a packed form.
        self.0.push(rmp_serde::to_vec(value).unwrap_or_default());
        self
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
    always add_deliveries,
    within_limits add_instances,
    within_limits ask,
    always cancel_study,
    within_limits create_workitem,
    always change_workitem,
    always commit_merge,
    always commit_review,
    always complete_due,
    always complete_studies,
    always dead_jobs,
    always depth,
    always end_delivery,
    always end_question,
    always exchange,
    always expire,
    always expired,
    always fail_job,
    always forget_requests,
    always forget_study,
    always forget_workitems,
    always lease_deliveries,
    always mend_counts,
    always mend_entries,
    always mend_studies,
    always note_arriving,
    always notes,
    always open_deliveries,
    always plan_study,
    within_limits put_note,
    always release,
    always renew,
    always remove_study,
    always requeue_job,
    always steps,
    always studies,
    within_limits subscribe_worklist,
    always workers,
    always workitems,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gets_the_parts_that_it_uses_and_no_others() {
        let scripts = Scripts::default();
        let has = |script: &Script, name: &str| script.text.contains(&format!("function {name}("));
        assert!(has(&scripts.renew, "refusal") && has(&scripts.renew, "place_of") && has(&scripts.renew, "clocks"));
        assert!(!has(&scripts.renew, "reopen") && !has(&scripts.dead_jobs, "clocks"));
        // A part that another part uses comes before it.
        let finish = &scripts.exchange.text;
        assert!(finish.find("function enqueue_merge(") < finish.find("function count_finished("));
        assert!(!finish.contains("-- "));
    }
}
