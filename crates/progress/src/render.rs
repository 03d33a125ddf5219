use jiff::Timestamp;

use crate::event::SolveStatus;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Default for Size {
    /// What is assumed when nobody can tell.
    fn default() -> Self {
        Size { width: 80, height: 24 }
    }
}

/// Turns the stream of a build into text. Call [`update`](Renderer::update) for every message,
/// [`draw`](Renderer::draw) after it or when time has passed (not more often than ten times a second), and
/// [`finish`](Renderer::finish) once at the end. `now` is the local time; text is appended to `out`.
pub trait Renderer: Send {
    fn update(&mut self, status: &SolveStatus, now: Timestamp, out: &mut Vec<u8>);

    fn draw(&mut self, now: Timestamp, size: Size, out: &mut Vec<u8>);

    fn finish(&mut self, now: Timestamp, size: Size, out: &mut Vec<u8>);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Quiet;

impl Renderer for Quiet {
    fn update(&mut self, _: &SolveStatus, _: Timestamp, _: &mut Vec<u8>) {}

    fn draw(&mut self, _: Timestamp, _: Size, _: &mut Vec<u8>) {}

    fn finish(&mut self, _: Timestamp, _: Size, _: &mut Vec<u8>) {}
}
