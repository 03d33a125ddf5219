//! The client's side channel, both ends: files, credentials, secrets, outputs.
//!
//! A client opens one stream to the engine and turns it around: inside it the client is the gRPC server. The engine
//! keeps its end in [`Sessions`] and calls through a [`Session`]; the client says in [`Attachables`] what it offers.
//!
//! ```text
//! client                                              engine
//! Attachables::serve(tunnel)  <- Control.Session ->   Sessions::serve(tunnel, Hello)
//!   FileSync   <- files::send  ====== packets =====>  Session::sync_dir -> files::SyncReceiver
//!   FileSend   -> outputs::Target  <== bytes ======   Session::send_file, send_image, send_dir
//!   Auth, Secrets, Upload, Content  <== calls ======  Session::credentials, secret, upload, content
//!   PolicyVerifier -> Judge  <== calls ==========     Session::check_policy
//! ```
//!
//! A client on the same machine hands its folders and the files of its outputs over instead, see `handover`, and the
//! engine reads and writes them itself.
//!
//! Never: decide what a build does.

pub mod files;
pub mod grpcerr;
mod handover;
mod health;
mod hello;
pub mod judge;
mod metadata;
mod offer;
mod outputs;
mod registry;
mod serve;
mod session;
mod tunnel;

pub use handover::Peer;
pub use hello::Hello;
pub use offer::{
    Attachables, AuthSource, Credential, ExporterSource, Judge, MAX_SECRET, PickedExporter, SecretStore,
    StoreElsewhere, Token, TokenRequest, UPLOAD_HOST, UploadSource,
};
pub use outputs::{DirMode, ImagePlace, Lack, Output};
pub use registry::Sessions;
pub use serve::{AlwaysServing, serve_routes};

pub use session::{
    AgentSocket, BlockingFileSender, FileSender, RemoteContent, Session, SocketOwner, SyncRequest,
};
pub use tunnel::tunnel;
