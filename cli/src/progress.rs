//! Progress bars: studies, jobs, tokens a second and the time left.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use prelim_proto::v1::Progress;

/// Two bars on stderr. Nothing is drawn where stderr is no terminal.
pub(crate) struct Bars {
    group: MultiProgress,
    studies: ProgressBar,
    jobs: ProgressBar,
    started: std::time::Instant,
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
        let jobs = bar("jobs", "{prefix:>8} {bar:32.cyan/dim} {pos}/{len}  {msg}  left {eta}");
        jobs.enable_steady_tick(Duration::from_millis(200));
        Self { group, studies, jobs, started: std::time::Instant::now() }
    }

    /// Shows how far the work is.
    pub(crate) fn update(&self, progress: &Progress) {
        self.studies.set_length(progress.studies_total.into());
        self.studies.set_position(progress.studies_settled.into());
        self.jobs.set_length(progress.jobs_total.into());
        self.jobs.set_position(progress.jobs_finished.into());
        let tokens = (progress.prompt_tokens + progress.generated_tokens) as f64;
        let rate = tokens / self.started.elapsed().as_secs_f64().max(0.001);
        self.jobs.set_message(format!("{rate:.0} tokens/s"));
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
