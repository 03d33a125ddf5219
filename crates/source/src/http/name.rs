//! What a fetched file is called, and when it was made.

use http::Uri;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use crate::file::safe_name;

/// What was asked for, else what the server says, else the end of the path.
pub fn filename(asked: &str, disposition: &str, uri: &Uri) -> String {
    if !asked.is_empty() {
        return safe_name(asked);
    }
    if let Some(said) = said(disposition).filter(|s| !s.is_empty() && !s.ends_with('/')) {
        return safe_name(&said);
    }
    let path = uri.path().trim_end_matches('/');
    safe_name(&percent_decoded(path.rsplit('/').next().unwrap_or_default()))
}

/// The `filename` of `Content-Disposition` (RFC 6266).
fn said(disposition: &str) -> Option<String> {
    let (_, params) = disposition.split_once(';')?;
    let mut rest = params;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after.split_once(';').map_or("", |(_, rest)| rest))
            }
            None => after.split_once(';').unwrap_or((after, "")),
        };
        if name.trim().eq_ignore_ascii_case("filename") {
            return Some(value.trim().to_owned());
        }
        rest = after;
    }
    None
}

/// Undoes `%xx`; what is no text then is left as it was.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex =
            bytes.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Seconds since 1970 of an HTTP date, in any of the three forms that a recipient has to take (RFC 9110, 5.6.7).
pub fn seconds(date: &str) -> Option<i64> {
    if let Ok(time) = rfc2822::DateTimeParser::new().parse_timestamp(date) {
        return Some(time.as_second());
    }
    // The old forms are in GMT, also where they do not say so.
    let bare = date.trim().trim_end_matches(" GMT").trim_end_matches(" UTC");
    let old = ["%A, %d-%b-%y %H:%M:%S", "%a %b %e %H:%M:%S %Y"];
    let time = old.iter().find_map(|form| DateTime::strptime(form, bare).ok())?;
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

/// An HTTP date (RFC 9110, 5.6.7).
pub fn date(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_what_is_said_of_them() {
        let check = |asked: &str, disposition: &str, uri: &str, expected: &str| {
            assert_eq!(filename(asked, disposition, &uri.parse().expect("valid")), expected);
        };
        let uri = "http://x/dir/app.tar.gz?v=1";
        check("mine", "", uri, "mine");
        check("a/b", "", uri, "b");
        check("", "attachment; filename=\"said.txt\"", uri, "said.txt");
        check("", "attachment; size=3; FileName=said.txt", uri, "said.txt");
        check("", "attachment; filename=\"a; b\"; x=y", uri, "a; b");
        check("", "attachment; filename=../../etc/passwd", uri, "passwd");
        check("", "attachment; filename=\"..\"", uri, "download");
        check("", "inline", uri, "app.tar.gz");
        check("", "", "http://x/a%20b", "a b");
        check("", "", "http://x/dir/", "dir");
        check("", "", "http://x/", "download");
        check("", "", "http://x/%0a", "download");
    }

    #[test]
    fn http_dates() {
        let text = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(seconds(text), Some(1_445_412_480));
        assert_eq!(date(1_445_412_480), text);
        assert_eq!(seconds("Wednesday, 21-Oct-15 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(seconds("Wednesday, 21-Oct-15 07:28:00 UTC"), Some(1_445_412_480));
        assert_eq!(seconds("Fri Nov  6 08:49:37 2015"), Some(1_446_799_777));
        assert_eq!(seconds("yesterday"), None);
    }
}
