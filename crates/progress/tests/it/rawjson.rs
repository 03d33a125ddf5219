use progress::{RawJson, Size};

use crate::stream::{CACHED, FAILING, FIRST, play, read};

#[test]
fn lines_are_those_of_the_recording() {
    for recording in [FIRST, CACHED, FAILING] {
        let out = String::from_utf8(play(&mut RawJson, &read(recording), Size::default())).expect("UTF-8");
        for (ours, theirs) in out.lines().zip(recording.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(out.lines().count(), recording.lines().count());
    }
}
