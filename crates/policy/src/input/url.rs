//! URLs cut into parts as Go's `net/url` has them: nothing is made uniform.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ::url::form_urlencoded;

pub(super) struct Parts<'u> {
    pub scheme: &'u str,
    /// With the port, without the user.
    pub host: &'u str,
    pub path: &'u str,
    pub query: &'u str,
    pub fragment: &'u str,
    /// Up to query and fragment.
    pub remote: &'u str,
}

pub(super) fn parts(text: &str) -> Parts<'_> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = remote.split_once("://").unwrap_or(("", remote));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Parts { scheme, host, path, query, fragment, remote }
}

impl Parts<'_> {
    pub fn decoded_path(&self) -> String {
        decode(self.path)
    }

    pub fn queries(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(self.query.as_bytes()) {
            all.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        all
    }
}

/// Text with `%20` and the like read.
pub(super) fn decode(text: &str) -> String {
    // A form has a plus for a space, which other parts have not.
    let form = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let decoded = form_urlencoded::parse(form.as_bytes()).next().map(|(key, _)| key);
    decoded.map_or_else(String::new, Cow::into_owned)
}
