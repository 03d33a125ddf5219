//! Errors as they travel: [`errdefs::Error`] to [`tonic::Status`] and back.
//!
//! BuildKit puts typed details as JSON into `google.protobuf.Any` values of a `google.rpc.Status`, outermost first.
//! What it has no type for travels in one more value of our own, which its clients pass over.

use errdefs::{Class, Code, Detail, Error};
use prost::Message;
use proto::rpc;
use tonic::Status;

mod detail;

/// The error as it is sent to any client of BuildKit.
pub fn to_status(error: &Error) -> Status {
    seal(&to_rpc(error))
}

/// The error of a build as it is sent to any client. BuildKit's own errors have no code, and its clients print a code
/// in front of the message, so only those codes go out that say how the call ended. Kiln's client hears the others.
pub fn to_build_status(error: &Error) -> Status {
    seal(&to_build_rpc(error))
}

/// The same as a message.
pub fn to_build_rpc(error: &Error) -> rpc::Status {
    let mut wire = to_rpc(error);
    let tells = matches!(
        error.code(),
        Code::Canceled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unavailable
            | Code::Internal
    );
    if !tells {
        wire.code = Code::Unknown as i32;
    }
    wire
}

/// The same as a message, for where an error is part of one.
pub fn to_rpc(error: &Error) -> rpc::Status {
    rpc::Status {
        code: error.code() as i32,
        message: error.message().to_owned(),
        details: detail::encode(error),
    }
}

fn seal(wire: &rpc::Status) -> Status {
    Status::with_details(tonic::Code::from_i32(wire.code), wire.message.clone(), wire.encode_to_vec().into())
}

/// The error that a peer sent, or that the connection to it met.
pub fn from_status(status: Status) -> Error {
    if let Ok(wire) = rpc::Status::decode(status.details())
        && !wire.details.is_empty()
    {
        return from_rpc(&wire);
    }
    let code = code_of(status.code() as i32);
    Error::new(class_of(code), code, message_of(&status))
}

/// The error inside a message.
pub fn from_rpc(wire: &rpc::Status) -> Error {
    let decoded = detail::decode(&wire.details);
    let code = code_of(decoded.code.unwrap_or(wire.code));
    let class = decoded.class.unwrap_or_else(|| class_with(code, &decoded.details));
    let mut error = Error::new(class, code, wire.message.clone());
    for detail in decoded.details.into_iter().rev() {
        error = error.with_detail(detail);
    }
    decoded.hints.into_iter().fold(error, Error::hint)
}

/// tonic tells no more than "transport error"; the reason is underneath.
fn message_of(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    message
}

fn code_of(code: i32) -> Code {
    match code {
        1 => Code::Canceled,
        3 => Code::InvalidArgument,
        4 => Code::DeadlineExceeded,
        5 => Code::NotFound,
        6 => Code::AlreadyExists,
        7 => Code::PermissionDenied,
        8 => Code::ResourceExhausted,
        9 => Code::FailedPrecondition,
        10 => Code::Aborted,
        11 => Code::OutOfRange,
        12 => Code::Unimplemented,
        13 => Code::Internal,
        14 => Code::Unavailable,
        15 => Code::DataLoss,
        16 => Code::Unauthenticated,
        _ => Code::Unknown,
    }
}

fn class_of(code: Code) -> Class {
    match code {
        Code::Canceled => Class::Canceled,
        Code::Internal | Code::DataLoss => Class::Internal,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Class::User,
        _ => Class::Environment,
    }
}

/// A failing step or a place in a source is for the user, whatever code it came under.
fn class_with(code: Code, details: &[Detail]) -> Class {
    let users = details.iter().any(|d| matches!(d, Detail::Source(_) | Detail::Exit { .. }));
    match class_of(code) {
        Class::Environment if users => Class::User,
        class => class,
    }
}
