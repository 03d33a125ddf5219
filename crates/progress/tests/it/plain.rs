use progress::{Plain, Size, Summary};

use crate::stream::{CACHED, FAILING, FIRST, play, read};

fn plain(recording: &str) -> String {
    let mut renderer = Plain::new(Some("building with \"default\" instance using kiln driver".into()));
    let text = play(&mut renderer, &read(recording), Size::default());
    format!("{}\n{}\n", String::from_utf8(text).expect("UTF-8"), Summary::of(renderer.picture()))
}

#[test]
fn first_build() {
    insta::assert_snapshot!(plain(FIRST));
}

#[test]
fn cached_build() {
    insta::assert_snapshot!(plain(CACHED));
}

#[test]
fn failing_build() {
    insta::assert_snapshot!(plain(FAILING));
}
