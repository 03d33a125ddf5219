//! `kiln dockerfile lsp`: the language server on stdin and stdout.

use std::path::Path;
use std::process::ExitCode;

use dockerfile_lsp::Server;
use errdefs::{Error, Result, ResultExt as _};
use lsp_server::{Connection, Message};
use url::Url;

use crate::commands::VERSION;

/// Serves until the editor ends the session or goes away.
pub(super) fn lsp() -> Result<ExitCode> {
    let (connection, threads) = Connection::stdio();
    let mut server = Server::new(VERSION, Box::new(ignore_file));
    let ended_well = serve(&connection, &mut server)?;
    // Both threads are at their end: the reader saw `exit` or the end of stdin, and nobody sends to the writer.
    drop(connection);
    threads.join().context("failed to talk to the editor")?;
    Ok(if ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the session ended as it should. Messages go before news: what was typed over need not be told.
fn serve(connection: &Connection, server: &mut Server) -> Result<bool> {
    let gone = || Error::environment("the editor is gone");
    let send = |message: Message| connection.sender.send(message).map_err(|_| gone());
    loop {
        if connection.receiver.is_empty()
            && let Some(news) = server.news()
        {
            send(news)?;
            continue;
        }
        // No more messages without an `exit` before.
        let Ok(message) = connection.receiver.recv() else { return Ok(false) };
        if let Some(answer) = server.handle(message) {
            send(answer)?;
        }
        if let Some(well) = server.ended() {
            return Ok(well);
        }
    }
}

/// The ignore file beside a Dockerfile: its own one, or that of the folder.
fn ignore_file(uri: &str) -> Vec<u8> {
    let Some(path) = Url::parse(uri).ok().and_then(|url| url.to_file_path().ok()) else { return Vec::new() };
    let mut own = path.clone().into_os_string();
    own.push(".dockerignore");
    let read = |path: &Path| std::fs::read(path).ok();
    read(Path::new(&own)).or_else(|| read(&path.with_file_name(".dockerignore"))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files_are_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a b.Dockerfile");
        let uri = Url::from_file_path(&file).expect("an address").to_string();
        assert_eq!(ignore_file(&uri), b"");
        std::fs::write(dir.path().join(".dockerignore"), "x").expect("written");
        assert_eq!(ignore_file(&uri), b"x");
        std::fs::write(dir.path().join("a b.Dockerfile.dockerignore"), "y").expect("written");
        assert_eq!(ignore_file(&uri), b"y");
        assert_eq!(ignore_file("untitled:Dockerfile-1"), b"");
    }
}
