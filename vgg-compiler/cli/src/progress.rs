//! How long work shows: a bar on a terminal, now and then a line elsewhere, nothing when it was asked to be quiet.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::console;

/// Between two lines where there is no terminal.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where long work reports to.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
    /// When the last line was written.
    last: Cell<Option<Instant>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    Lines,
    Bar,
}

/// In what the extent of work is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Anything that is counted: images, layers.
    Items,
}

impl Progress {
    /// Nothing is shown: for libraries and tests.
    pub fn silent() -> Self {
        Self::with(Mode::Silent)
    }

    /// Shown on standard error as suits it, unless `quiet`.
    pub fn stderr(quiet: bool) -> Self {
        Self::with(match quiet {
            true => Mode::Silent,
            false if std::io::stderr().is_terminal() => Mode::Bar,
            false => Mode::Lines,
        })
    }

    fn with(mode: Mode) -> Self {
        Self { mode, last: Cell::new(None) }
    }

    /// Whether nothing is shown.
    pub fn is_silent(&self) -> bool {
        self.mode == Mode::Silent
    }

    /// A remark that is worth a line: which weights are used, what was written.
    pub fn note(&self, text: &str) {
        if self.mode != Mode::Silent {
            console::remark("note:", text);
        }
    }

    /// A remark that something may not be as it was meant.
    pub fn warn(&self, text: &str) {
        if self.mode != Mode::Silent {
            console::remark("warning:", text);
        }
    }

    /// Begins a piece of work of `total` units.
    pub fn stage(&self, what: impl Into<String>, total: u64, unit: Unit) -> Stage<'_> {
        let what = what.into();
        let bar = (self.mode == Mode::Bar).then(|| {
            let template = match unit {
                Unit::Bytes => "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}",
                Unit::Items => "{msg} [{bar:30}] {pos}/{len}",
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if self.due() {
            self.line(&format!("{what} ..."));
        }
        Stage { progress: self, what, total, bar }
    }

    /// A piece of work whose extent is not known.
    pub fn step(&self, what: impl Into<String>) -> Stage<'_> {
        let what = what.into();
        let bar = (self.mode == Mode::Bar).then(|| {
            let bar = ProgressBar::new_spinner().with_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if self.due() {
            self.line(&format!("{what} ..."));
        }
        Stage { progress: self, what, total: 0, bar }
    }

    /// Whether enough time has passed for another line.
    fn due(&self) -> bool {
        self.mode == Mode::Lines && self.last.get().is_none_or(|last| last.elapsed() >= INTERVAL)
    }

    fn line(&self, text: &str) {
        self.last.set(Some(Instant::now()));
        console::remark("vgg:", text);
    }
}

/// A piece of work that is under way. It ends when it is dropped.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a Progress,
    what: String,
    total: u64,
    bar: Option<ProgressBar>,
}

impl Stage<'_> {
    /// So much is done.
    pub fn at(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if self.progress.due() && self.total > 0 {
            let percent = (done as f64 / self.total as f64 * 100.0).min(100.0);
            self.progress.line(&format!("{}: {percent:.0} %", self.what));
        }
    }
}

impl Stage<'_> {
    /// Lets `write` write to standard error without the bar in its way.
    pub fn aside(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
