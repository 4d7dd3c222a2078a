//! The screen.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prelim_proto::v1::{Priority, Study, StudyState, Worker};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};

use super::view::View;
use crate::table::{self, kinds, reads, spell};

/// Rows of the queue's part, its line above included.
const QUEUE_ROWS: u16 = 4;
/// Rows that a bar of jobs takes.
const BAR: usize = 10;
/// Characters that most UIDs have at most; the standard allows 64.
const UID: usize = 44;
/// Workers shown at most; more are counted.
const WORKERS: usize = 12;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, now: Instant) {
    let shown = view.now.workers.len().clamp(1, WORKERS) as u16;
    let workers_rows = shown + 2 + u16::from(view.now.workers.len() > WORKERS);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(QUEUE_ROWS),
        Constraint::Length(workers_rows),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, queue, workers, studies, foot] = Layout::vertical(rows).areas(frame.area());
    draw_head(frame, head, view, now);
    draw_queue(frame, queue, view);
    draw_workers(frame, workers, view);
    draw_studies(frame, studies, view);
    let keys = "q quit   ↑↓ scroll";
    let foot_line =
        Line::from(vec![keys.dim(), "   drafts are unsigned, by software that is not a medical device".dim()]);
    frame.render_widget(foot_line, foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View, now: Instant) {
    let mut line = vec![" prelim ".bold().reversed(), format!(" {}  ", view.address).into()];
    if let Some((why, since)) = &view.trouble {
        let age = now.saturating_duration_since(*since).as_secs();
        let words = format!("as of {age} s ago, trying again: {}", table::cell(why, 160));
        line.push(Span::styled(words, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)));
    }
    frame.render_widget(Line::from(line), area);
}

fn draw_queue(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let queue = &view.now.queue;
    let waiting = reads(&queue.ready);
    let [words, curve] = Layout::horizontal([Constraint::Min(40), Constraint::Percentage(35)]).areas(area);
    let mut first = vec![
        format!("{} waiting", table::count(waiting, "job")).bold(),
        format!(", {} running", reads(&queue.leased)).into(),
    ];
    if queue.delayed > 0 {
        first.push(format!(", {} to be tried again", queue.delayed).yellow());
    }
    let second = match view.clears_in() {
        _ if waiting == 0 && reads(&queue.leased) == 0 => "nothing to read".into(),
        Some(time) => format!(
            "{} of work, done in about {}; the longest wait is {}",
            spell(queue.backlog_seconds),
            spell(time.as_secs_f64()),
            spell(queue.longest_wait_ms as f64 / 1e3)
        )
        .into(),
        None => format!("{} of work, and no worker for it", spell(queue.backlog_seconds)).red(),
    };
    let mut third = vec![format!("{} open", table::count(queue.open_studies as usize, "study")).into()];
    if queue.dead > 0 {
        third.push(format!(", {} given up (prelim dead)", table::count(queue.dead as usize, "job")).red());
    }
    let lines = vec![Line::from(first), Line::from(vec![second]), Line::from(third)];
    frame.render_widget(Paragraph::new(lines).block(section("Queue")), words);
    draw_curve(frame, curve, view);
}

/// Jobs that waited, a column a second.
fn draw_curve(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let width = usize::from(area.width);
    let newest: Vec<u64> = view.waiting.iter().rev().take(width).rev().copied().collect();
    // The newest moment stands at the right edge.
    let mut moments = vec![0; width.saturating_sub(newest.len())];
    moments.extend(newest);
    let most = moments.iter().max().copied().unwrap_or_default();
    let title = Line::from(format!(" waiting: at most {most} in {} ", spell(width as f64)).dim()).right_aligned();
    let curve = Sparkline::default().data(&moments).style(Style::new().fg(Color::Cyan));
    frame.render_widget(
        curve.block(Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(title)),
        area,
    );
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let workers = &view.now.workers;
    if workers.is_empty() {
        return draw_none(frame, area, "Workers", "none was heard of lately; start one with `prelim worker`".yellow());
    }
    let mut rows: Vec<Row<'_>> = workers.iter().take(WORKERS).map(worker).collect();
    if workers.len() > WORKERS {
        rows.push(Row::new([format!("… and {} more (prelim workers)", workers.len() - WORKERS)]).dim());
    }
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(16),
        Constraint::Length(10),
        Constraint::Fill(2),
        Constraint::Length(8),
    ];
    let header = Row::new(["Name", "Reads", "Running", "State", "Model", "Heard of"]).dim();
    let title = format!("Workers ({})", workers.len());
    frame.render_widget(Table::new(rows, widths).header(header).block(section(&title)), area);
}

fn worker(worker: &Worker) -> Row<'static> {
    let status = worker.status.clone().unwrap_or_default();
    let silent_s = worker.silent_ms / 1_000;
    let state = if worker.draining { "draining" } else { "working" };
    Row::new([
        table::cell(&worker.id, 64).into(),
        kinds(&status.kinds).into(),
        bar(status.running, status.slots),
        if worker.draining { state.yellow() } else { state.into() },
        table::cell(&status.model, 40).into(),
        // A heartbeat is due every few seconds.
        if silent_s >= 15 { format!("{silent_s} s").red() } else { format!("{silent_s} s").into() },
    ])
}

fn draw_studies(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let studies = &view.now.studies;
    if studies.is_empty() {
        return draw_none(frame, area, "Studies", "none yet; send some with `prelim submit DIR`".dim());
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    // A UID that is cut is another UID: what is dropped first on a narrow screen is everything else.
    let columns = Columns::of(area.width);
    let rows: Vec<Row<'_>> = studies.iter().skip(view.first).map(|each| study(each, columns, now_ms)).collect();
    let all = [
        ("Study", Constraint::Length(columns.uid as u16), 0),
        ("State", Constraint::Fill(1), 0),
        ("Jobs", Constraint::Length(16), 1),
        ("Age", Constraint::Length(10), 1),
        ("Priority", Constraint::Length(8), 2),
        ("Modality", Constraint::Length(8), 3),
        ("Files", Constraint::Length(6), 3),
        ("Complete by", Constraint::Length(18), 4),
        ("Rule", Constraint::Fill(1), 4),
    ];
    let kept = || all.iter().filter(|(_, _, level)| *level <= columns.level);
    let widths: Vec<Constraint> = kept().map(|(_, width, _)| *width).collect();
    let header = Row::new(kept().map(|(name, _, _)| *name)).dim();
    let title = format!(
        "Studies: {} being read, {} drafted of the newest {}",
        view.listed(StudyState::Reading),
        view.listed(StudyState::Drafted),
        studies.len(),
    );
    frame.render_widget(Table::new(rows, widths).header(header).block(section(&title)), area);
}

/// What a list of studies has room for.
#[derive(Debug, Clone, Copy)]
struct Columns {
    /// Characters of a UID.
    uid: usize,
    /// How many groups of columns beside it.
    level: u8,
}

impl Columns {
    fn of(width: u16) -> Self {
        let level = match width {
            ..80 => 0,
            80..100 => 1,
            100..120 => 2,
            120..160 => 3,
            _ => 4,
        };
        Self { uid: UID.min(usize::from(width).saturating_sub(12)), level }
    }
}

/// A UID whole, or with its middle left out: those of a hospital begin alike, and end differently.
fn uid(uid: &str, most: usize) -> String {
    if uid.len() <= most || most < 8 || !uid.is_ascii() {
        return uid.to_owned();
    }
    let head = most / 3;
    format!("{}…{}", &uid[..head], &uid[uid.len() - (most - head - 1)..])
}

fn study(study: &Study, columns: Columns, now_ms: i64) -> Row<'static> {
    let priority = match study.priority() {
        Priority::Stat => "STAT".red(),
        Priority::Urgent => "urgent".yellow(),
        Priority::Routine | Priority::Unspecified => "routine".dim(),
    };
    let colour = match study.state() {
        StudyState::Reading => Color::Cyan,
        StudyState::Drafted | StudyState::Signed | StudyState::Amended => Color::Green,
        StudyState::Failed | StudyState::Rejected => Color::Red,
        _ => Color::Reset,
    };
    let jobs = if study.jobs_total == 0 { Span::default() } else { bar(study.jobs_finished, study.jobs_total) };
    let age = spell((now_ms - study.received_at_ms).max(0) as f64 / 1e3);
    let all: [(Span<'static>, u8); 9] = [
        (uid(&study.uid, columns.uid).into(), 0),
        (Span::styled(table::state(study), Style::new().fg(colour)), 0),
        (jobs, 1),
        (age.into(), 1),
        (priority, 2),
        (study.modalities.join(" ").into(), 3),
        (study.instance_count.to_string().into(), 3),
        (table::intake::completion(study).into(), 4),
        (table::cell(&table::intake::rule(study), 64).into(), 4),
    ];
    Row::new(all.into_iter().filter(|(_, level)| *level <= columns.level).map(|(cell, _)| cell))
}

/// So much of so many, as a bar with its numbers.
fn bar(done: u32, all: u32) -> Span<'static> {
    let full = if all == 0 { 0 } else { (done.min(all) as usize * BAR).div_ceil(all as usize) };
    format!("{}{} {done}/{all}", "━".repeat(full), "─".repeat(BAR - full)).into()
}

/// A section that has nothing to show, and why.
fn draw_none(frame: &mut Frame<'_>, area: Rect, title: &str, words: Span<'static>) {
    frame.render_widget(Paragraph::new(Line::from(words)).block(section(title)), area);
}

fn section(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(format!(" {title} ").bold()).border_style(Style::new().dim())
}
