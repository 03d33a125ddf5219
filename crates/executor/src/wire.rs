//! What the engine, a supervisor and a container's first process say to each other: one JSON value in a packet of a
//! `SOCK_SEQPACKET` socket, with descriptors beside it. Whatever has no small bound travels in a memfd.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use errdefs::{Class, Code, Error};
use meter::Usage;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hosts::NetFiles;
use crate::{Exit, Spec};

/// Longest packet; a longer message is an error of ours.
const PACKET: usize = 64 << 10;
/// Most descriptors that go with one packet.
const FDS: usize = 8;

/// Asks the helper for a container. With it go: the socket of the run, a memfd with a [`Job`], and unless the process
/// has a terminal its stdin, stdout and stderr.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start;

/// All that a supervisor must know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub spec: Spec,
    pub net_files: NetFiles,
    /// An empty directory of the host. The container's own mount namespace has a scratch file system there.
    pub stage: std::path::PathBuf,
    /// Parent of the cgroup, when the spec names none.
    pub cgroup_parent: String,
}

/// From the engine to a supervisor. That it closes its socket means: kill.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Signal(i32),
    /// Asks for one more process in the container. With it go: the socket of that process, a memfd with a
    /// [`Process`](crate::Process), and unless it has a terminal its stdin, stdout and stderr.
    Enter,
}

/// From a supervisor to the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program runs. The master side of the terminal goes with it, when there is one.
    Started {
        pid: i32,
    },
    /// What the container used, where that was measured. Its end comes next.
    Used(Usage),
    /// Nothing of the container is left but perhaps its cgroup.
    Exited(Exit),
    Failed(Failure),
}

/// From a container's first process to its supervisor. It closes its socket by executing the program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// The master side of the terminal goes with it.
    Terminal,
    /// The container is complete, and waits for what is to be done about it now.
    Built,
    /// The container is complete, but the program cannot be executed. Its stderr says why, its exit code too.
    NoExec,
    Failed(Failure),
}

/// An [`Error`] on its way between processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    class: Whose,
    code: i32,
    message: String,
    hints: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Whose {
    User,
    Environment,
    Internal,
    Canceled,
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        let class = match e.class() {
            Class::User => Whose::User,
            Class::Environment => Whose::Environment,
            Class::Internal => Whose::Internal,
            Class::Canceled => Whose::Canceled,
        };
        // Paths in a message have no bound of their own, packets have.
        let message = e.message().chars().take(PACKET / 16).collect();
        Failure { class, code: e.code() as i32, message, hints: e.hints().iter().take(4).cloned().collect() }
    }
}

impl From<Failure> for Error {
    fn from(f: Failure) -> Self {
        const CODES: [Code; 16] = [
            Code::Canceled,
            Code::Unknown,
            Code::InvalidArgument,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
            Code::Unauthenticated,
        ];
        let class = match f.class {
            Whose::User => Class::User,
            Whose::Environment => Class::Environment,
            Whose::Internal => Class::Internal,
            Whose::Canceled => Class::Canceled,
        };
        let code = CODES.into_iter().find(|c| *c as i32 == f.code).unwrap_or(Code::Unknown);
        f.hints.into_iter().fold(Error::new(class, code, f.message), Error::hint)
    }
}

/// Two ends of a packet socket, closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one packet"));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// The next message; `None` when the other side is gone. Waits unless the socket is set not to.
pub(crate) fn recv<T: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(Errno::INTR) => continue,
            // The other side died with packets of ours unread.
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<OwnedFd> = fds.flatten().collect();
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a packet was cut short"));
    }
    Ok(Some((serde_json::from_slice(&bytes[..got.bytes])?, fds)))
}

/// `value` in a memfd, to be read from its start.
pub(crate) fn to_memfd<T: Serialize>(value: &T) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("kiln-job", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    file.rewind()?;
    Ok(file.into())
}

pub(crate) fn from_memfd<T: DeserializeOwned>(memfd: OwnedFd) -> io::Result<T> {
    let bytes = io::read_to_string(File::from(memfd))?;
    Ok(serde_json::from_str(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_carry_descriptors() {
        let (a, b) = pair().expect("pair");
        let memfd = to_memfd(&vec!["x".repeat(1 << 20)]).expect("memfd");
        send(&a, &Request::Signal(9), &[memfd.as_fd()]).expect("send");
        let (request, mut fds) = recv(&b, RecvFlags::empty()).expect("recv").expect("a message");
        let Request::Signal(n) = request else { panic!("another request") };
        let back: Vec<String> = from_memfd(fds.pop().expect("one descriptor")).expect("JSON");
        assert_eq!((n, back[0].len()), (9, 1 << 20));
        drop(a);
        assert!(recv::<Request>(&b, RecvFlags::empty()).expect("recv").is_none());
    }

    #[test]
    fn failures_keep_class_code_and_hints() {
        let e = Error::not_found("no `x`").hint("make one");
        let back = Error::from(Failure::from(&e));
        assert_eq!((back.class(), back.code(), back.message()), (e.class(), e.code(), e.message()));
        assert_eq!(back.hints(), e.hints());
    }
}
