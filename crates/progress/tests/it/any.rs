//! What comes from an engine may be anything: renderers take it, and the screen stays within its terminal.

use bytes::Bytes;
use jiff::Timestamp;
use progress::{
    Plain, ProgressGroup, RawJson, Renderer, Size, SolveStatus, Summary, Theme, Tty, TtyOptions, Vertex,
    VertexLog, VertexStatus, VertexWarning,
};
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

fn digest() -> impl Strategy<Value = oci::Digest> {
    (0u8..6).prop_map(|n| oci::Digest::of([n]))
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0i64..50).prop_map(at))
}

fn group() -> impl Strategy<Value = Option<ProgressGroup>> {
    let group = (0u8..2, any::<bool>());
    proptest::option::weighted(
        0.3,
        group.prop_map(|(n, weak)| ProgressGroup { id: format!("g{n}"), name: format!("group {n}"), weak }),
    )
}

fn vertex() -> impl Strategy<Value = Vertex> {
    let error = prop_oneof![Just(String::new()), Just("context canceled".to_owned()), ".{0,20}"];
    (digest(), ".{0,90}", any::<bool>(), time(), time(), error, group()).prop_map(
        |(digest, name, cached, started, completed, error, progress_group)| Vertex {
            digest,
            inputs: Vec::new(),
            name,
            cached,
            started,
            completed,
            error,
            progress_group,
        },
    )
}

fn status() -> impl Strategy<Value = VertexStatus> {
    (digest(), "[a-c]", any::<i64>(), any::<i64>(), 0i64..50, time(), time()).prop_map(
        |(vertex, id, current, total, timestamp, started, completed)| VertexStatus {
            id,
            vertex,
            name: String::new(),
            current,
            total,
            timestamp: at(timestamp),
            started,
            completed,
        },
    )
}

fn log() -> impl Strategy<Value = VertexLog> {
    let data = prop_oneof![any::<Vec<u8>>(), "([a-z ]{0,80}\n?){0,9}".prop_map(String::into_bytes)];
    (digest(), 0i64..50, 1u32..3, data).prop_map(|(vertex, timestamp, stream, data)| VertexLog {
        vertex,
        timestamp: at(timestamp),
        stream,
        data: Bytes::from(data),
    })
}

fn warning() -> impl Strategy<Value = VertexWarning> {
    (digest(), ".{0,90}").prop_map(|(vertex, short)| VertexWarning {
        vertex,
        level: 1,
        short,
        detail: Vec::new(),
        url: String::new(),
        source: None,
    })
}

fn message() -> impl Strategy<Value = SolveStatus> {
    use proptest::collection::vec;
    (vec(vertex(), 0..4), vec(status(), 0..4), vec(log(), 0..4), vec(warning(), 0..2))
        .prop_map(|(vertexes, statuses, logs, warnings)| SolveStatus { vertexes, statuses, logs, warnings })
}

fn size() -> impl Strategy<Value = Size> {
    (0usize..120, 0usize..50).prop_map(|(width, height)| Size { width, height })
}

/// The lines of the last frame in `out`, without escape sequences.
fn last_frame(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(out);
    let frame = &text[text.rfind("\x1b[?2026h").expect("a frame")..];
    let mut plain = String::new();
    let mut rest = frame;
    while let Some((before, escape)) = rest.split_once('\x1b') {
        plain.push_str(before);
        let end = escape.find(|c: char| c.is_ascii_alphabetic()).expect("an end of the sequence");
        rest = &escape[end + 1..];
    }
    plain.push_str(rest);
    plain.lines().map(|l| l.trim_start_matches('\r').to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn all_renderers_take_it(messages in proptest::collection::vec((message(), size()), 1..8)) {
        let mut plain = Plain::new(None);
        let mut tty = Tty::new(TtyOptions { theme: Theme::plain(), ..TtyOptions::default() });
        let (mut out, mut screen) = (Vec::new(), Vec::new());
        for (i, (message, size)) in messages.iter().enumerate() {
            let now = at(60 + 7 * i as i64);
            plain.update(message, now, &mut out);
            plain.draw(now, *size, &mut out);
            RawJson.update(message, now, &mut out);
            tty.update(message, now, &mut screen);
            tty.draw(now, *size, &mut screen);
            let lines = last_frame(&screen);
            prop_assert!(lines.len() <= size.height.max(2), "{} lines on {size:?}", lines.len());
            for line in lines {
                let width = unicode_width::UnicodeWidthStr::width(line.as_str());
                prop_assert!(width < size.width.max(1), "{width} columns on {size:?}: {line:?}");
            }
        }
        plain.finish(at(200), Size::default(), &mut out);
        tty.finish(at(200), Size::default(), &mut screen);
        let _ = Summary::of(plain.picture()).to_string();
    }
}
