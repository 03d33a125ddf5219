use super::*;

#[test]
fn functions_are_sorted_and_all_there() {
    assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(names().count(), 106);
    assert!(find("upper").is_some() && find("upperr").is_none());
}
