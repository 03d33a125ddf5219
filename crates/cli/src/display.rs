//! Draws progress on stderr while a build runs.

use std::io::Write as _;
use std::time::{Duration, Instant};

use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use progress::{
    Event, Picture, Plain, Quiet, RawJson, Renderer, Sink, Size, SolveStatus, Summary, Theme, Tty,
    TtyOptions, VertexWarning,
};
use tokio::sync::mpsc;

use crate::console;
use crate::engine::Builder;
use crate::environment::Environment;
use crate::settings::ProgressMode;

/// Messages that wait to be drawn. When it is full, the stream from the engine waits too.
const BACKLOG: usize = 256;
const DRAW_EVERY: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(150);

/// Where a display draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
}

/// Draws what is sent to it. Nothing is drawn before [`Display::start`], so that what goes wrong early is told alone.
pub(crate) struct Display {
    renderer: Box<dyn Renderer>,
    messages: mpsc::Receiver<SolveStatus>,
    every: Duration,
    tick: Duration,
    target: Target,
}

/// A display at work on a thread of its own.
pub(crate) struct Drawing(tokio::task::JoinHandle<Drawn>);

/// What is left to say when a build is over.
pub(crate) struct Drawn {
    pub summary: Summary,
    pub warnings: Vec<VertexWarning>,
}

impl Display {
    /// A display of a build with a builder, and where its messages go.
    pub(crate) fn new(
        mode: ProgressMode,
        builder: &Builder,
        env: &Environment,
    ) -> Result<(Self, mpsc::Sender<SolveStatus>)> {
        Self::drawn_by(renderer(mode, env, Some(builder))?, env, Target::Stderr)
    }

    /// One that says nothing of builders.
    pub(crate) fn plainly(
        mode: ProgressMode,
        env: &Environment,
        target: Target,
    ) -> Result<(Self, mpsc::Sender<SolveStatus>)> {
        Self::drawn_by(renderer(mode, env, None)?, env, target)
    }

    fn drawn_by(
        renderer: Box<dyn Renderer>,
        env: &Environment,
        target: Target,
    ) -> Result<(Self, mpsc::Sender<SolveStatus>)> {
        let rate = env.get("TTY_DISPLAY_RATE").and_then(|r| r.parse().ok()).map(Duration::from_millis);
        let (every, tick) = (rate.unwrap_or(DRAW_EVERY), rate.unwrap_or(TICK).max(Duration::from_millis(1)));
        let (sender, messages) = mpsc::channel(BACKLOG);
        Ok((Display { renderer, messages, every, tick, target }, sender))
    }

    pub(crate) fn start(self) -> Drawing {
        let handle = tokio::runtime::Handle::current();
        Drawing(tokio::task::spawn_blocking(move || handle.block_on(self.draw())))
    }
    /// Draws as messages come, but not more often than `every`; and each `tick` without a message, since time passes.
    async fn draw(mut self) -> Drawn {
        let mut picture = Picture::default();
        let mut warnings = Vec::new();
        let mut out = Vec::new();
        let mut drawn: Option<Instant> = None;
        loop {
            match tokio::time::timeout(self.tick, self.messages.recv()).await {
                Ok(None) => break,
                Ok(Some(message)) => {
                    self.renderer.update(&message, Timestamp::now(), &mut out);
                    picture.apply(&message, Timestamp::now());
                    warnings.extend(message.warnings);
                    if drawn.is_none_or(|d| d.elapsed() >= self.every) {
                        drawn = Some(Instant::now());
                        self.renderer.draw(Timestamp::now(), size(), &mut out);
                    }
                }
                Err(_) => self.renderer.draw(Timestamp::now(), size(), &mut out),
            }
            flush(&mut out, self.target);
        }
        self.renderer.finish(Timestamp::now(), size(), &mut out);
        flush(&mut out, self.target);
        Drawn { summary: Summary::of(&picture), warnings }
    }
}

impl Drawing {
    /// Waits for the last picture. All senders must be gone.
    pub(crate) async fn finish(self) -> Result<Drawn> {
        self.0.await.map_err(|e| Error::internal(e.to_string())).context("failed to draw progress")
    }
}

/// A sink for what the client itself does.
pub(crate) struct LocalSink(pub mpsc::Sender<SolveStatus>);

impl Sink for LocalSink {
    fn emit(&self, event: Event) {
        let mut status = SolveStatus::default();
        status.push(event);
        // A display that cannot follow misses a line of its own client, no more.
        let _ = self.0.try_send(status);
    }
}

fn renderer(mode: ProgressMode, env: &Environment, builder: Option<&Builder>) -> Result<Box<dyn Renderer>> {
    let heading = |b: &Builder| format!("building with {:?} instance using {} driver", b.name, b.driver);
    Ok(match mode {
        ProgressMode::Quiet | ProgressMode::Silent => Box::new(Quiet),
        ProgressMode::RawJson => Box::new(RawJson),
        ProgressMode::Tty if !env.stderr_is_terminal => {
            return Err(Error::user("failed to get console: stderr is not a terminal")
                .hint("use `--progress=plain`, or `auto`"));
        }
        ProgressMode::Tty => Box::new(tty(env, builder)),
        ProgressMode::Auto if env.stderr_is_terminal && env.get("TERM") != Some("dumb") => {
            Box::new(tty(env, builder))
        }
        ProgressMode::Auto | ProgressMode::Plain => Box::new(Plain::new(builder.map(heading))),
    })
}

fn tty(env: &Environment, builder: Option<&Builder>) -> Tty {
    let theme = match (env.filled("NO_COLOR"), env.get("BUILDKIT_COLORS")) {
        (Some(_), _) => Theme::plain(),
        (None, None) => Theme::default(),
        (None, Some(colors)) => {
            let (theme, complaints) = Theme::parse(colors);
            complaints.iter().for_each(|c| console::note(format_args!("WARNING: {c}\n")));
            theme
        }
    };
    let description = builder.map_or_else(String::new, |b| format!("{}:{}", b.driver, b.name));
    let mut options = TtyOptions { description, theme, ..TtyOptions::default() };
    if let Some(lines) = env.get("BUILDKIT_TTY_LOG_LINES").and_then(|l| l.parse().ok()).filter(|l| *l > 0) {
        options.log_lines = lines;
    }
    Tty::new(options)
}

/// A reader that went away is no reason to stop a build.
fn flush(out: &mut Vec<u8>, target: Target) {
    if !out.is_empty() {
        let _ = match target {
            Target::Stderr => std::io::stderr().lock().write_all(out),
            Target::Stdout => std::io::stdout().lock().write_all(out),
        };
        out.clear();
    }
}

fn size() -> Size {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(w) if w.ws_col > 0 && w.ws_row > 0 => {
            Size { width: usize::from(w.ws_col), height: usize::from(w.ws_row) }
        }
        _ => Size::default(),
    }
}
