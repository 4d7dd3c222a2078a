//! Progress bars: studies, jobs, tokens a second and the time left.

use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use prelim_proto::v1::Progress;

/// How long work is watched before its rate is shown.
const RATE_AFTER: Duration = Duration::from_secs(1);

/// Two bars on stderr. Nothing is drawn where stderr is no terminal.
pub(crate) struct Bars {
    group: MultiProgress,
    studies: ProgressBar,
    jobs: ProgressBar,
    /// When something was first told, and the tokens then.
    began: Option<(Instant, f64)>,
}

impl Bars {
    /// Bars at nought.
    pub(crate) fn new() -> Self {
        let group = MultiProgress::new();
        let bar = |name: &'static str, template: &str| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─");
            group.add(ProgressBar::new(0).with_style(style).with_prefix(name))
        };
        let studies = bar("studies", "{prefix:>8} {bar:32.cyan/dim} {pos}/{len}  {msg}");
        let jobs = bar("jobs", "{prefix:>8} {bar:32.cyan/dim} {pos}/{len}  {msg}");
        Self { group, studies, jobs, began: None }
    }

    /// Shows how far the work is.
    pub(crate) fn update(&mut self, progress: &Progress) {
        // Nothing is known yet: a bar of nought of nought would look done.
        if progress.jobs_total == 0 {
            return;
        }
        self.studies.set_length(progress.studies_total.into());
        self.studies.set_position(progress.studies_settled.into());
        self.jobs.set_length(progress.jobs_total.into());
        self.jobs.set_position(progress.jobs_finished.into());
        if self.began.is_none() {
            self.jobs.enable_steady_tick(Duration::from_millis(200));
        }
        let tokens = (progress.prompt_tokens + progress.generated_tokens) as f64;
        let (began, before) = *self.began.get_or_insert_with(|| (Instant::now(), tokens));
        // A rate over less than that is noise.
        if began.elapsed() >= RATE_AFTER {
            let rate = (tokens - before) / began.elapsed().as_secs_f64();
            let left = if progress.jobs_finished == 0 {
                String::new()
            } else {
                format!("  left {}", HumanDuration(self.jobs.eta()))
            };
            self.jobs.set_message(format!("{rate:.0} tokens/s{left}"));
        }
    }

    /// A line above the bars.
    pub(crate) fn line(&self, text: &str) {
        // Without a terminal there are no bars to stand above, and the line would be lost.
        if self.group.is_hidden() {
            let _ = writeln!(std::io::stderr(), "{text}");
        } else {
            let _ = self.group.println(text);
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(self) {
        self.studies.finish_and_clear();
        self.jobs.finish_and_clear();
        let _ = self.group.clear();
    }
}

/// A line on stderr on what is going on, for people.
pub(crate) fn note(text: &str) {
    // A closed stderr is no reason to stop the work.
    let _ = writeln!(std::io::stderr(), "{text}");
}
