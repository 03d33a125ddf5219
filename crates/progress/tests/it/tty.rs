use std::num::NonZeroU16;

use progress::{Renderer as _, Size, SolveStatus, Theme, Tty, TtyOptions};

use crate::stream::{CACHED, FAILING, FIRST, play, read};

fn renderer() -> Tty {
    Tty::new(TtyOptions {
        description: "kiln:default".into(),
        theme: Theme::plain(),
        ..TtyOptions::default()
    })
}

/// What a terminal of that size shows, after `out` was written to it.
fn screen(out: &[u8], size: Size) -> String {
    let small = |n: usize| NonZeroU16::new(u16::try_from(n).expect("small")).expect("not zero");
    let mut terminal = vt100::Parser::new(small(size.height), small(size.width), 1000);
    let text = String::from_utf8_lossy(out).replace('\n', "\r\n");
    terminal.process(text.as_bytes());
    terminal.screen().contents()
}

fn at_end(recording: &str, size: Size) -> String {
    screen(&play(&mut renderer(), &read(recording), size), size)
}

/// The screen in the middle of a build, after so many messages.
fn after(messages: &[SolveStatus], size: Size) -> String {
    let mut tty = renderer();
    let mut out = Vec::new();
    let start = messages.iter().flat_map(|m| &m.vertexes).find_map(|v| v.started).expect("something starts");
    for message in messages {
        tty.update(message, start, &mut out);
        tty.draw(start, size, &mut out);
    }
    tty.draw(start + jiff::SignedDuration::from_millis(700), size, &mut out);
    screen(&out, size)
}

#[test]
fn first_build() {
    insta::assert_snapshot!(at_end(FIRST, Size { width: 80, height: 40 }));
}

#[test]
fn cached_build() {
    insta::assert_snapshot!(at_end(CACHED, Size { width: 80, height: 40 }));
}

#[test]
fn failing_build() {
    insta::assert_snapshot!(at_end(FAILING, Size { width: 80, height: 60 }));
}

#[test]
fn running_steps_have_windows() {
    let messages = read(FAILING);
    let talking = messages.iter().position(|m| !m.logs.is_empty()).expect("somebody talks");
    insta::assert_snapshot!(after(&messages[..=talking + 1], Size { width: 80, height: 40 }));
}

#[test]
fn a_low_terminal_keeps_what_runs() {
    let messages = read(FAILING);
    let talking = messages.iter().position(|m| !m.logs.is_empty()).expect("somebody talks");
    insta::assert_snapshot!(after(&messages[..=talking + 1], Size { width: 60, height: 7 }));
}

#[test]
fn colors_mark_the_ends() {
    let mut tty = Tty::new(TtyOptions::default());
    let out = play(&mut tty, &read(FAILING), Size { width: 60, height: 60 });
    let out = String::from_utf8_lossy(&out);
    let last = &out[out.rfind("[+]").expect("a head")..];
    assert!(last.contains("\x1b[34m => [internal] load build definition"), "{last:?}");
    assert!(last.contains("\x1b[31m => ERROR [bad"), "{last:?}");
    assert!(last.contains("\x1b[33m => CANCELED [slow"), "{last:?}");
}

#[test]
fn a_terminal_that_shrinks_is_cleaned() {
    let messages = read(FIRST);
    let (wide, narrow) = (Size { width: 80, height: 40 }, Size { width: 40, height: 40 });
    let mut tty = renderer();
    let mut out = Vec::new();
    let start = messages.iter().flat_map(|m| &m.vertexes).find_map(|v| v.started).expect("something starts");
    for message in &messages {
        tty.update(message, start, &mut out);
    }
    tty.draw(start, wide, &mut out);
    let lines = out.iter().filter(|b| **b == b'\n').count();
    out.clear();
    tty.draw(start, narrow, &mut out);
    let up = format!("\x1b[{}A", 2 * lines);
    assert!(String::from_utf8_lossy(&out).contains(&up), "{lines} lines stood there");
}
