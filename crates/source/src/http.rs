//! Files from the web (`http://`, `https://`), and those that a client uploads (`http://buildkit-session/`).

mod fetch;
mod name;

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Code, Error, Result};
use frontend::{ChecksumRequest, HttpMeta, SourceMeta, SourceOptions};
use futures_util::{Stream, TryStreamExt};
use http::Uri;
use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, LAST_MODIFIED};
use http_body_util::BodyExt;
use oci::Digest;
use redb::Database;
use refs::{ImmutableRef, NewRef};
use registry::transport;
use serde::{Deserialize, Serialize};
use signature::Signer;
use snapshot::{Attrs, Owner, Time};
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::file::NewFile;
use crate::memory::Memory;
use crate::sources::Shared;
use crate::sums;
use crate::{Key, Source};
use fetch::text;

/// What is asked of a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpOptions {
    pub url: String,
    pub checksum: Option<Digest>,
    pub filename: String,
    /// Permission bits; 0 stands for 0600.
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    /// The secret to send as `Authorization`; empty for those named after the host, if there are.
    pub auth_secret: String,
    /// By name.
    pub headers: Vec<Header>,
    /// An armored OpenPGP signature of the file, and by whom it has to be.
    pub signed: Option<(Signer, String)>,
}

/// A header that the op sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Header {
    pub name: &'static str,
    pub value: String,
}

/// What is known of URLs that were fetched, by URL and by how the file was to look.
pub type PageMemory = Memory<Page>;

/// A page of which a server has said which version it is.
#[derive(Serialize, Deserialize)]
pub struct Page {
    etag: String,
    digest: Digest,
    filename: String,
    modified: Option<i64>,
    /// The id of the state with the file.
    id: String,
}

/// The pages of former builds.
pub struct Pages(PageMemory);

impl Pages {
    pub fn new(db: Arc<Database>) -> Self {
        Pages(Memory::new(db, "source.http.v1"))
    }
}

/// A file that came.
#[derive(Clone)]
pub struct Fetched {
    /// Its sha256.
    digest: Digest,
    filename: String,
    /// Seconds since 1970, where the server says it.
    modified: Option<i64>,
    file: ImmutableRef,
}

impl Fetched {
    async fn open(&self) -> Result<File> {
        self.file.view().await?.open(self.filename.as_bytes())
    }

    async fn checksum(&self, request: &ChecksumRequest) -> Result<Digest> {
        let (mut file, request) = (self.open().await?, request.clone());
        let summed = tokio::task::spawn_blocking(move || {
            sums::checksum(&mut file, request.algorithm, &request.suffix)
        });
        summed.await.map_err(|e| Error::internal(format!("a sum ended: {e}")))?
    }
}

pub struct HttpSource {
    shared: Arc<Shared>,
    options: HttpOptions,
    fetched: OnceCell<Fetched>,
    verified: OnceCell<()>,
}

impl HttpSource {
    pub fn new(shared: Arc<Shared>, options: HttpOptions) -> Self {
        HttpSource { shared, options, fetched: OnceCell::new(), verified: OnceCell::new() }
    }

    /// Refuses a file that is not signed as it has to be.
    async fn verify(&self, cx: &Context) -> Result<()> {
        let Some((signer, signature)) = &self.options.signed else { return Ok(()) };
        let check = || async {
            let file = self.fetched(cx).await?.open().await?;
            let folder = self.shared.refs.new_tree()?;
            signer.verify(&folder.path(), signature, file).await
        };
        self.verified.get_or_try_init(check).await.copied()
    }

    async fn fetched(&self, cx: &Context) -> Result<&Fetched> {
        self.fetched
            .get_or_try_init(|| async {
                let (place, fetch) = (self.place(), self.fetch(cx));
                let fetched = tokio::select! {
                    fetched = cx.meanings.pages().get(&place, fetch) => fetched,
                    () = cx.cancel.cancelled() => Err(Error::canceled()),
                };
                self.checked(fetched?)
            })
            .await
    }

    async fn fetch(&self, cx: &Context) -> Result<Fetched> {
        let uri = self.uri()?;
        if uri.host() == Some(session::UPLOAD_HOST) {
            let session = cx.session().await?;
            let stream = session.upload(session::UPLOAD_HOST, uri.path()).await?;
            return self.store(&uri, &HeaderMap::new(), stream).await;
        }
        let place = self.place();
        let known = self.known(&place)?;
        let headers = fetch::headers(cx, &self.options, uri.host().unwrap_or_default()).await?;
        let transport = self.shared.logins.anonymous();
        let transport = transport.transport();
        if let Some((etag, known)) = known
            && fetch::is_still(transport, &uri, &headers, &etag).await
        {
            return self.checked(known);
        }
        let response = fetch::get(transport, &uri, &headers).await?;
        let (head, body) = response.into_parts();
        let stream = body.into_data_stream().map_err(|e| {
            Error::environment(format!("the transfer broke off: {e}")).with_code(Code::Unavailable)
        });
        let fetched = self.store(&uri, &head.headers, stream).await?;
        let etag = text(&head.headers, ETAG);
        if !etag.is_empty() {
            fetched.file.persist();
            let page = Page {
                etag: etag.to_owned(),
                digest: fetched.digest.clone(),
                filename: fetched.filename.clone(),
                modified: fetched.modified,
                id: fetched.file.id().to_owned(),
            };
            self.shared.pages.0.put(&place, &page)?;
        }
        Ok(fetched)
    }

    fn uri(&self) -> Result<Uri> {
        let url = &self.options.url;
        let bad = |e: &dyn std::fmt::Display| Error::user(format!("invalid URL `{url}`: {e}"));
        let parsed = url::Url::parse(url).map_err(|e| bad(&e))?;
        parsed.as_str().parse().map_err(|e: http::uri::InvalidUri| bad(&e))
    }

    /// All on which the file depends, and the login with which it may be seen. A checksum that only a fetch can check is
    /// part of it: what was fetched without it is not known to have it.
    fn place(&self) -> String {
        let HttpOptions { url, filename, perm, uid, gid, auth_secret, headers, checksum, .. } = &self.options;
        let place = format!("{url}\0{filename}\0{perm}\0{uid}\0{gid}\0{auth_secret}\0{headers:?}");
        match checksum {
            Some(checksum) if checksum.algorithm() != "sha256" => format!("{place}\0{checksum}"),
            _ => place,
        }
    }

    /// What an earlier build has fetched, with its ETag.
    fn known(&self, place: &str) -> Result<Option<(String, Fetched)>> {
        let Some(page) = self.shared.pages.0.get(place)? else { return Ok(None) };
        let Page { etag, digest, filename, modified, id } = page;
        let file = self.shared.refs.get(&id);
        Ok(file.map(|file| (etag, Fetched { digest, filename, modified, file })))
    }

    /// What was fetched without a checksum, against the one that there is now.
    fn checked(&self, known: Fetched) -> Result<Fetched> {
        match &self.options.checksum {
            Some(wanted) if wanted.algorithm() == "sha256" && *wanted != known.digest => {
                Err(sums::mismatch(known.digest.as_str(), wanted, &self.options.url))
            }
            _ => Ok(known),
        }
    }

    /// Makes a state with the one file.
    async fn store(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        stream: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<Fetched> {
        let modified = name::seconds(text(headers, LAST_MODIFIED));
        let filename = name::filename(&self.options.filename, text(headers, CONTENT_DISPOSITION), uri);
        let HttpOptions { perm, uid, gid, checksum, .. } = &self.options;
        let attrs = Attrs {
            mode: if *perm == 0 { 0o600 } else { perm & 0o777 },
            owner: Owner { uid: *uid, gid: *gid },
            mtime: Time { secs: modified.unwrap_or(0), nanos: 0 },
            ..Attrs::default()
        };
        let packed = text(headers, CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
        let size = text(headers, CONTENT_LENGTH).parse().ok().filter(|_| !packed).unwrap_or(0);
        let new = NewRef::regular(format!("http url {}", transport::show(uri)));
        let from = transport::show(uri).to_string();
        let checksum = checksum.clone();
        let file = NewFile { name: filename.clone(), attrs, size, packed, checksum, from };
        let (digest, file) = file.store(&self.shared, stream, new).await?;
        Ok(Fetched { digest, filename, modified, file })
    }

    /// The key, in BuildKit's form. The URL is no part of it: the bytes decide.
    fn key_text(&self, filename: &str, digest: &Digest, modified: Option<i64>) -> String {
        #[derive(Serialize)]
        struct Ingredients<'a> {
            #[serde(rename = "Filename")]
            filename: &'a str,
            #[serde(rename = "Perm")]
            perm: u32,
            #[serde(rename = "UID")]
            uid: u32,
            #[serde(rename = "GID")]
            gid: u32,
            #[serde(rename = "Checksum")]
            checksum: &'a Digest,
            #[serde(rename = "LastModTime", skip_serializing_if = "String::is_empty")]
            modified: String,
            #[serde(rename = "AuthHeaderSecret", skip_serializing_if = "str::is_empty")]
            auth_secret: &'a str,
            #[serde(rename = "Header", skip_serializing_if = "<[Header]>::is_empty")]
            headers: &'a [Header],
        }
        let HttpOptions { perm, uid, gid, auth_secret, headers, .. } = &self.options;
        let json = oci::json::to_vec(&Ingredients {
            filename,
            perm: *perm,
            uid: *uid,
            gid: *gid,
            checksum: digest,
            modified: modified.map(name::date).unwrap_or_default(),
            auth_secret,
            headers,
        });
        Digest::of(json).to_string()
    }
}

#[async_trait]
impl Source for HttpSource {
    /// With a checksum and without a signature nothing need be fetched to know the key.
    async fn key(&self, cx: &Context, _: usize) -> Result<Key> {
        self.verify(cx).await?;
        let text = match &self.options.checksum {
            Some(checksum) => {
                let filename = name::filename(&self.options.filename, "", &self.uri()?);
                self.key_text(&filename, checksum, None)
            }
            None => {
                let fetched = self.fetched(cx).await?;
                self.key_text(&fetched.filename, &fetched.digest, fetched.modified)
            }
        };
        Ok(Key { text, transient: false, done: true })
    }

    async fn meta(&self, cx: &Context, options: &SourceOptions) -> Result<SourceMeta> {
        self.verify(cx).await?;
        let fetched = self.fetched(cx).await?;
        let checksum = match &options.checksum {
            Some(request) => Some((fetched.checksum(request).await?.to_string(), request.clone())),
            None => None,
        };
        let Fetched { digest, filename, modified, .. } = fetched.clone();
        Ok(SourceMeta::Http(HttpMeta { digest, filename, modified, checksum }))
    }

    fn pin(&self) -> Option<String> {
        let fetched = self.fetched.get().map(|fetched| &fetched.digest);
        self.options.checksum.as_ref().or(fetched).map(Digest::to_string)
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        Ok(Some(self.fetched(cx).await?.file.clone()))
    }
}
