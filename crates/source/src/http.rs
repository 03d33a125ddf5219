//! Files from the web (`http://`, `https://`), and those that a client uploads (`http://buildkit-session/`).

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use errdefs::{Class, Code, Error, Result, ResultExt};
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use oci::Digest;
use refs::{ImmutableRef, NewRef};
use registry::transport::{self, Tls};
use serde::Serialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use snapshot::{Attrs, Owner, Time, View};
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::sources::Parts;
use crate::{Key, Source};

/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// What is known of URLs that were fetched, by URL and by how the file was to look.
#[derive(Default)]
pub struct HttpIndex(Mutex<HashMap<(String, String), Fetched>>);

/// What is asked of a URL.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    pub url: String,
    pub checksum: Option<Digest>,
    pub filename: String,
    /// Permission bits; 0600 where nothing is said.
    pub perm: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A file that came.
#[derive(Clone)]
struct Fetched {
    etag: String,
    digest: Digest,
    filename: String,
    /// As the server wrote it.
    last_modified: String,
    file: ImmutableRef,
}

pub struct HttpSource {
    parts: Arc<Parts>,
    index: Arc<HttpIndex>,
    options: HttpOptions,
    fetched: OnceCell<Fetched>,
}

impl HttpSource {
    pub fn new(parts: Arc<Parts>, index: Arc<HttpIndex>, options: HttpOptions) -> Self {
        HttpSource { parts, index, options, fetched: OnceCell::new() }
    }

    async fn fetched(&self, cx: &Context) -> Result<&Fetched> {
        self.fetched.get_or_try_init(|| self.fetch(cx)).await
    }

    async fn fetch(&self, cx: &Context) -> Result<Fetched> {
        let uri: Uri = self
            .options
            .url
            .parse()
            .map_err(|e| Error::user(format!("invalid URL `{}`: {e}", self.options.url)))?;
        if uri.host() == Some(session::UPLOAD_HOST) {
            let session = cx.session().await?;
            let stream = session.upload(session::UPLOAD_HOST, uri.path()).await?;
            return self.store(&uri, &HeaderMap::new(), stream).await;
        }
        let known = self.known();
        let etag = known.as_ref().map(|k| k.etag.clone()).unwrap_or_default();
        let response = self.get(uri.clone(), &etag).await?;
        if let Some(known) = known
            && response.status() == StatusCode::NOT_MODIFIED
        {
            return Ok(known);
        }
        if !response.status().is_success() {
            let message =
                format!("invalid response status {} for {}", response.status(), transport::show(&uri));
            let code =
                if response.status() == StatusCode::NOT_FOUND { Code::NotFound } else { Code::Unknown };
            return Err(Error::new(Class::User, code, message));
        }
        let (head, body) = response.into_parts();
        let stream = body.into_data_stream().map(|chunk| {
            chunk.map_err(|e| {
                Error::environment(format!("the transfer broke off: {e}")).with_code(Code::Unavailable)
            })
        });
        let fetched = self.store(&uri, &head.headers, stream).await?;
        if !fetched.etag.is_empty() {
            let mut index = self.index.0.lock().unwrap_or_else(PoisonError::into_inner);
            index.insert(self.place(), fetched.clone());
        }
        Ok(fetched)
    }

    fn place(&self) -> (String, String) {
        let o = &self.options;
        (o.url.clone(), format!("{}\0{:?}\0{:?}\0{:?}", o.filename, o.perm, o.uid, o.gid))
    }

    fn known(&self) -> Option<Fetched> {
        self.index.0.lock().unwrap_or_else(PoisonError::into_inner).get(&self.place()).cloned()
    }

    async fn get(&self, mut uri: Uri, etag: &str) -> Result<Response<Incoming>> {
        let client = self.parts.registry.transport();
        for _ in 0..=REDIRECTS {
            let mut request = Request::builder().method(Method::GET).uri(uri.clone());
            if !etag.is_empty() {
                request = request.header(IF_NONE_MATCH, etag);
            }
            let request = request.body(transport::empty());
            let request =
                request.map_err(|e| Error::user(format!("invalid URL `{}`: {e}", transport::show(&uri))))?;
            let sent = client.send(request, &Tls::default()).await;
            let response = sent.map_err(|fault| fault.of_request(&Method::GET, &uri))?;
            let next = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(next) = next.filter(|_| response.status() != StatusCode::NOT_MODIFIED) else {
                return Ok(response);
            };
            uri = follow(&uri, next.to_str().unwrap_or_default())?;
        }
        Err(Error::user(format!("{} redirects too often", self.options.url)))
    }

    /// Makes a tree with the one file.
    async fn store(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        mut stream: impl Stream<Item = Result<bytes::Bytes>> + Unpin,
    ) -> Result<Fetched> {
        let header =
            |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok()).unwrap_or_default();
        let last_modified = header(LAST_MODIFIED).to_owned();
        let filename = filename(&self.options.filename, header(CONTENT_DISPOSITION), uri);
        let attrs = Attrs {
            mode: self.options.perm.unwrap_or(0o600) & 0o777,
            owner: Owner { uid: self.options.uid.unwrap_or(0), gid: self.options.gid.unwrap_or(0) },
            mtime: Time { secs: http_time(&last_modified).unwrap_or(0), nanos: 0 },
            ..Attrs::default()
        };
        let store = self.parts.refs.snapshots();
        let mut writer = store.objects().create(&attrs, 0)?;
        let mut sums = Sums::new(self.options.checksum.as_ref());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.with_context(|| format!("failed to fetch {}", transport::show(uri)))?;
            sums.update(&chunk);
            writer.write_all(&chunk).context("failed to store a fetched file")?;
        }
        let digest = sums.finish(self.options.checksum.as_ref(), &self.options.url)?;
        let object = writer.finish()?;
        let mut builder = store.new_tree()?.builder(View::empty());
        builder.put_object(filename.as_bytes(), &object)?;
        let new = NewRef::regular(format!("http url {}", transport::show(uri)));
        let file = self.parts.refs.from_tree(None, builder.finish()?, new).await?;
        Ok(Fetched { etag: header(ETAG).to_owned(), digest, filename, last_modified, file })
    }

    fn key_text(&self, filename: &str, digest: &Digest, last_modified: &str) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ingredients<'a> {
            filename: &'a str,
            perm: u32,
            #[serde(rename = "UID")]
            uid: u32,
            #[serde(rename = "GID")]
            gid: u32,
            checksum: &'a Digest,
            #[serde(skip_serializing_if = "str::is_empty")]
            last_mod_time: &'a str,
        }
        let o = &self.options;
        let json = oci::json::to_vec(&Ingredients {
            filename,
            perm: o.perm.unwrap_or(0),
            uid: o.uid.unwrap_or(0),
            gid: o.gid.unwrap_or(0),
            checksum: digest,
            last_mod_time: last_modified,
        });
        Digest::of(json).to_string()
    }
}

#[async_trait]
impl Source for HttpSource {
    /// With a checksum nothing need be fetched to know the key.
    async fn key(&self, cx: &Context, _: usize) -> Result<Key> {
        if let Some(checksum) = &self.options.checksum {
            let uri = self.options.url.parse().unwrap_or_default();
            let filename = filename(&self.options.filename, "", &uri);
            return Ok(Key { text: self.key_text(&filename, checksum, ""), transient: false, done: true });
        }
        let fetched = self.fetched(cx).await?;
        let text = self.key_text(&fetched.filename, &fetched.digest, &fetched.last_modified);
        Ok(Key { text, transient: false, done: true })
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        Ok(Some(self.fetched(cx).await?.file.clone()))
    }
}

fn follow(from: &Uri, to: &str) -> Result<Uri> {
    let bad = || Error::user(format!("{} redirects to an invalid place", transport::show(from)));
    let target: Uri = to.parse().map_err(|_| bad())?;
    let mut parts = target.into_parts();
    if parts.authority.is_none() {
        parts.scheme = from.scheme().cloned();
        parts.authority = from.authority().cloned();
    }
    Uri::from_parts(parts).map_err(|_| bad())
}

/// What was asked for, else what the server says, else the end of the path.
fn filename(asked: &str, disposition: &str, uri: &Uri) -> String {
    let plain = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or_default();
        (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
    };
    let said = disposition.split(';').find_map(|p| p.trim().strip_prefix("filename="));
    plain(asked)
        .or_else(|| said.and_then(|s| plain(s.trim_matches('"'))))
        .or_else(|| plain(uri.path()))
        .unwrap_or_else(|| "download".into())
}

/// Seconds since 1970 of an HTTP date.
fn http_time(text: &str) -> Option<i64> {
    let time: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(time.as_second())
}

/// The sha256 of what came, and the checksum where another kind was asked for.
struct Sums {
    sha256: Sha256,
    other: Other,
}

enum Other {
    None,
    Sha384(Box<Sha384>),
    Sha512(Box<Sha512>),
}

impl Sums {
    fn new(wanted: Option<&Digest>) -> Self {
        let other = match wanted.map(Digest::algorithm) {
            Some("sha384") => Other::Sha384(Box::default()),
            Some("sha512") => Other::Sha512(Box::default()),
            _ => Other::None,
        };
        Sums { sha256: Sha256::new(), other }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match &mut self.other {
            Other::None => {}
            Other::Sha384(h) => h.update(bytes),
            Other::Sha512(h) => h.update(bytes),
        }
    }

    /// The sha256, if what was wanted is what came.
    fn finish(self, wanted: Option<&Digest>, url: &str) -> Result<Digest> {
        let sha256 = Digest::from_sha256(self.sha256.finalize().into());
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let found = match self.other {
            Other::None => sha256.to_string(),
            Other::Sha384(h) => format!("sha384:{}", hex(&h.finalize())),
            Other::Sha512(h) => format!("sha512:{}", hex(&h.finalize())),
        };
        match wanted {
            Some(wanted) if wanted.as_str() != found => Err(Error::user(format!(
                "digest mismatch {found} for {url}: expected {wanted}"
            ))
            .hint(
                "the file is not what the checksum was made of: look at the URL, then update the checksum",
            )),
            _ => Ok(sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_what_is_said_of_them() {
        let uri: Uri = "http://x/dir/app.tar.gz?v=1".parse().expect("valid");
        let root: Uri = "http://x/".parse().expect("valid");
        for (asked, disposition, uri, expected) in [
            ("mine", "", &uri, "mine"),
            ("", "attachment; filename=\"said.txt\"", &uri, "said.txt"),
            ("", "attachment; filename=../../etc/passwd", &uri, "passwd"),
            ("", "", &uri, "app.tar.gz"),
            ("", "", &root, "download"),
        ] {
            assert_eq!(filename(asked, disposition, uri), expected);
        }
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(http_time("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(http_time("yesterday"), None);
    }

    #[test]
    fn redirects_may_be_relative() {
        let from: Uri = "https://a/b".parse().expect("valid");
        assert_eq!(follow(&from, "/c?d").map(|u| u.to_string()).ok(), Some("https://a/c?d".into()));
        assert_eq!(follow(&from, "http://e/f").map(|u| u.to_string()).ok(), Some("http://e/f".into()));
    }

    #[test]
    fn a_wrong_checksum_is_told() {
        let wanted = Digest::of("other");
        let mut sums = Sums::new(Some(&wanted));
        sums.update(b"this");
        let e = sums.finish(Some(&wanted), "http://x").expect_err("differs");
        assert!(e.to_string().starts_with(&format!("digest mismatch {}", Digest::of("this"))), "{e}");
    }
}
