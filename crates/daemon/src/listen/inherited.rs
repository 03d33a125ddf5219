//! Sockets handed over by systemd (sd_listen_fds): LISTEN_FDS of them from number 3 on, by name in LISTEN_FDNAMES.

use std::os::fd::{FromRawFd, OwnedFd};

use errdefs::{Error, Result, ResultExt};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use tokio::net::{TcpListener, UnixListener};

use crate::listen::{Listener, Options, Socket};

/// The first number.
const FIRST: i32 = 3;

/// All sockets, or the one of this number or name.
pub fn inherited(which: &str, options: &Options) -> Result<Vec<Listener>> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mine = variable("LISTEN_PID") == std::process::id().to_string();
    let count: i32 = variable("LISTEN_FDS").parse().ok().filter(|n| mine && *n > 0).ok_or_else(|| {
        Error::environment("no sockets were handed over (LISTEN_FDS)")
            .hint("make sure that the service was started by its socket unit")
    })?;
    let names = variable("LISTEN_FDNAMES");
    let chosen = choose(which, count, &names)?;
    chosen.into_iter().map(|fd| take(fd, options)).collect()
}

fn choose(which: &str, count: i32, names: &str) -> Result<Vec<i32>> {
    let all = FIRST..FIRST + count;
    if which.is_empty() || which == "*" {
        return Ok(all.collect());
    }
    let found = match which.parse::<i32>() {
        Ok(number) => all.clone().find(|fd| *fd == number),
        Err(_) => all.zip(names.split(':')).find(|(_, name)| *name == which).map(|(fd, _)| fd),
    };
    found.map(|fd| vec![fd]).ok_or_else(|| Error::user(format!("no socket `{which}` was handed over")))
}

fn take(fd: i32, options: &Options) -> Result<Listener> {
    // SAFETY: by the protocol these descriptors are open and nobody else in this process owns them.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let failed = "failed to use a socket that was handed over";
    let domain = socket_domain(&fd).map_err(std::io::Error::from).context(failed)?;
    if domain == AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(fd);
        socket.set_nonblocking(true).context(failed)?;
        let socket = Socket::Unix(UnixListener::from_std(socket).context(failed)?);
        return Ok(Listener { socket, clients: options.clients.clone(), made: None, address: None });
    }
    let socket = std::net::TcpListener::from(fd);
    socket.set_nonblocking(true).context(failed)?;
    Ok(Listener::tcp(TcpListener::from_std(socket).context(failed)?, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_chosen() {
        let check = |which: &str, expect: &[i32]| {
            assert_eq!(choose(which, 3, "a:b:c").ok().as_deref().unwrap_or_default(), expect, "{which}");
        };
        check("", &[3, 4, 5]);
        check("*", &[3, 4, 5]);
        check("4", &[4]);
        check("c", &[5]);
        check("9", &[]);
        check("d", &[]);
    }
}
