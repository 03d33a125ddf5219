//! Builds that are over, as blobs in BuildKit's words.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};

use engine::Engine;
use engine::history::{Wire, WireError};
use errdefs::{Error, Result};
use futures_util::StreamExt as _;
use progress::{SolveStatus, Vertex};
use prost::Message as _;
use proto::Any;
use proto::control::StatusResponse;
use serde_json::json;
use session::grpcerr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::convert;
use crate::service::Messages;

/// Messages of a log that are read ahead.
const AHEAD: usize = 4;
/// The longest message of a log: as long as any that a client takes.
const LONGEST: u32 = 16 << 20;

/// A detail of errors that says which program they come from.
const STACK: &str = "github.com/moby/buildkit/stack.Stack+json";

/// Writes logs and errors as BuildKit does. What it holds goes along with errors, for who reports one.
#[derive(Debug, Clone, Default)]
pub struct BuildKitWire {
    pub version: String,
    pub revision: String,
    /// How the engine was started.
    pub cmdline: Vec<String>,
}

impl BuildKitWire {
    fn stack(&self) -> Any {
        let frame = json!({"Name": module_path!(), "File": file!(), "Line": line!()});
        let stack = json!({
            "frames": [frame],
            "cmdline": self.cmdline,
            "pid": std::process::id(),
            "version": self.version,
            "revision": self.revision,
        });
        Any { type_url: STACK.to_owned(), value: stack.to_string().into_bytes() }
    }
}

impl Wire for BuildKitWire {
    fn status(&self, status: SolveStatus, log: &mut Vec<u8>) {
        let message = convert::status_response(status);
        // Messages are cut long before they reach this limit.
        let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
        log.extend(length.to_le_bytes());
        log.extend(message.encode_to_vec());
    }

    fn error(&self, error: &Error) -> WireError {
        let mut wire = grpcerr::to_build_rpc(error);
        wire.details.push(self.stack());
        WireError { code: wire.code, message: wire.message.clone(), bytes: wire.encode_to_vec() }
    }

    fn vertices(&self, log: File) -> Result<Vec<Vertex>> {
        let mut vertices = Vec::new();
        read(log, |message| {
            // One without a digest is nobody's.
            vertices.extend(message.vertexes.into_iter().filter_map(convert::vertex_from_wire));
            Ok(true)
        })?;
        Ok(vertices)
    }
}

/// What a build told that is over; `None` where it is not known.
pub(crate) async fn replay(engine: &Engine, id: &str) -> Result<Option<Messages<StatusResponse>>> {
    let Some(record) = engine.history().get(id).await? else { return Ok(None) };
    let Some(log) = record.end.and_then(|end| end.log) else {
        return Ok(Some(futures_util::stream::empty().boxed()));
    };
    let (send, messages) = mpsc::channel(AHEAD);
    let content = engine.refs().content().clone();
    tokio::task::spawn_blocking(move || {
        let pass = |message| Ok(send.blocking_send(Ok(message)).is_ok());
        let read = content.open_blob(&log.digest).and_then(|file| read(file, pass));
        if let Err(e) = read {
            let _nobody_listens = send.blocking_send(Err(grpcerr::to_status(&e)));
        }
    });
    Ok(Some(ReceiverStream::new(messages).boxed()))
}

/// Calls `each` with the messages of a log until it says `false`.
fn read(log: File, mut each: impl FnMut(StatusResponse) -> Result<bool>) -> Result<()> {
    let damaged = || Error::environment("the log of the build is damaged");
    let mut log = BufReader::new(log);
    loop {
        let mut length = [0; 4];
        match log.read_exact(&mut length) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(damaged());
        }
        let mut message = vec![0; length as usize];
        log.read_exact(&mut message)?;
        if !each(StatusResponse::decode(&*message).map_err(|_| damaged())?)? {
            return Ok(());
        }
    }
}
