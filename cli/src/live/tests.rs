use std::time::{Duration, Instant};

use prelim_proto::v1::{JobCounts, JobKind, Priority, Queue, Study, StudyAttributes, StudyState, Worker, WorkerStatus};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::snapshot::Snapshot;
use super::view::View;

/// The screen as lines of text.
fn screen(view: &View, now: Instant, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, now)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn worker(id: &str, running: u32, slots: u32) -> Worker {
    let status = WorkerStatus {
        kinds: vec![JobKind::ReadXray.into(), JobKind::ReadCt.into()],
        slots,
        running,
        model: "medgemma-4b".to_owned(),
        software_version: "0.1.0".to_owned(),
        process: String::new(),
        prompts: Vec::new(),
        adapters: Vec::new(),
        questions: Vec::new(),
    };
    Worker { id: id.to_owned(), status: Some(status), silent_ms: 2_000, ..Worker::default() }
}

fn study(number: u32, state: StudyState) -> Study {
    Study {
        uid: format!("1.2.840.{number}"),
        state: state.into(),
        priority: Priority::Stat.into(),
        attributes: Some(StudyAttributes {
            patient_name: "PLANTED^NAME".to_owned(),
            patient_id: "PLANTED-ID".to_owned(),
            ..StudyAttributes::default()
        }),
        jobs_total: 4,
        jobs_finished: 2,
        modalities: vec!["CT".to_owned()],
        instance_count: 300,
        ..Study::default()
    }
}

fn busy() -> Snapshot {
    Snapshot {
        queue: Queue {
            ready: Some(JobCounts { xray: 7, ct: 5, merge: 1, answer: 0 }),
            leased: Some(JobCounts { xray: 1, ct: 2, merge: 0, answer: 0 }),
            dead: 1,
            open_studies: 6,
            longest_wait_ms: 41_000,
            backlog_seconds: 720.0,
            ..Queue::default()
        },
        workers: vec![worker("reader-a", 2, 2), worker("reader-b", 1, 2)],
        studies: vec![study(1, StudyState::Reading), study(2, StudyState::Queued), study(3, StudyState::Drafted)],
    }
}

#[test]
fn the_screen_shows_queue_workers_and_studies_and_no_patient() {
    let now = Instant::now();
    let mut view = View::new("http://127.0.0.1:7070", now);
    view.take(Ok(busy()), now);
    let text = screen(&view, now, 120, 30);
    for expected in [
        "http://127.0.0.1:7070",
        "12 jobs waiting, 3 running",
        "12 min of work, done in about 3 min; the longest wait is 41 s",
        "6 studies open, 1 job given up (prelim dead)",
        "waiting: at most 12 in 42 s",
        "Workers (2)",
        "reader-a",
        "━━━━━━━━━━ 2/2",
        "━━━━━───── 1/2",
        "1.2.840.1 ",
        "STAT",
        "━━━━━───── 2/4",
        "reading",
        "1 drafted of the newest 3",
        "not a medical device",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert!(!text.contains("PLANTED"), "{text}");
}

#[test]
fn what_is_old_is_said_to_be_old() {
    let began = Instant::now();
    let mut view = View::new("http://127.0.0.1:7070", began);
    view.take(Ok(busy()), began);
    let later = began + Duration::from_secs(12);
    view.take(Err(anyhow::anyhow!("the connection broke")), later);
    let text = screen(&view, later, 120, 30);
    assert!(text.contains("as of 12 s ago, trying again: the connection broke"), "{text}");
    assert!(text.contains("reader-a"), "{text}");
    view.take(Ok(Snapshot::default()), later);
    let text = screen(&view, later, 120, 30);
    assert!(!text.contains("trying again"), "{text}");
    for hint in ["prelim worker", "prelim submit DIR", "nothing to read"] {
        assert!(text.contains(hint), "{hint:?} is not in\n{text}");
    }
}

#[test]
fn a_uid_is_whole_or_says_that_it_is_not() {
    let now = Instant::now();
    let mut view = View::new("", now);
    let long = "2.25.325169302371028174651093847561029384756";
    let studies = vec![Study { uid: long.to_owned(), ..study(1, StudyState::Reading) }];
    view.take(Ok(Snapshot { studies, ..busy() }), now);
    for width in [60, 80, 100, 120, 200] {
        let text = screen(&view, now, width, 24);
        assert!(text.contains(long) && text.contains("reading"), "{width}\n{text}");
    }
    let text = screen(&view, now, 40, 24);
    assert!(text.contains("2.25.3251…1029384756") || text.contains('…') && text.contains("384756"), "{text}");
}

#[test]
fn work_without_workers_is_said() {
    let now = Instant::now();
    let mut view = View::new("", now);
    view.take(Ok(Snapshot { workers: Vec::new(), ..busy() }), now);
    let text = screen(&view, now, 100, 24);
    assert!(text.contains("12 min of work, and no worker for it"), "{text}");
}

#[test]
fn keys_scroll_within_the_list_and_end() {
    let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
    let mut view = View::new("", Instant::now());
    view.press(key(KeyCode::Down));
    assert_eq!(view.first, 0);
    view.take(Ok(busy()), Instant::now());
    for (code, first) in [
        (KeyCode::Down, 1),
        (KeyCode::PageDown, 2),
        (KeyCode::Down, 2),
        (KeyCode::Up, 1),
        (KeyCode::Home, 0),
        (KeyCode::End, 2),
    ] {
        view.press(key(code));
        assert_eq!(view.first, first, "{code:?}");
    }
    // The list became shorter.
    view.take(Ok(Snapshot::default()), Instant::now());
    assert_eq!(view.first, 0);
    view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(view.is_over());
}

#[test]
fn small_screens_and_hostile_names_do_no_harm() {
    let now = Instant::now();
    let mut view = View::new("http://127.0.0.1:7070", now);
    let workers = (0..40).map(|number| worker(&format!("\u{1b}[2Jreader\n{number}"), 9, 2)).collect();
    view.take(Ok(Snapshot { workers, ..busy() }), now);
    for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
        let text = screen(&view, now, width, height);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(screen(&view, now, 120, 40).contains("… and 28 more (prelim workers)"));
}
