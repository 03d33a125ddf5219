use std::time::{Duration, Instant};

use client::{Address, Client, Tls};
use errdefs::{Code, Error, Result};

use crate::buildctl::args::Global;

/// How often an engine that is waited for is asked.
const AGAIN: Duration = Duration::from_millis(200);

/// Connects to the engine that is meant.
pub(super) async fn connect(global: &Global) -> Result<Client> {
    let address: Address = global.addr.parse()?;
    let tls = tls(global)?;
    let patience = match global.timeout {
        0 => Duration::MAX,
        seconds => Duration::from_secs(seconds),
    };
    let began = Instant::now();
    loop {
        let tried = tokio::time::timeout(patience, Client::connect_with(&address, &tls)).await;
        match tried {
            Ok(Err(e)) if global.wait && e.code() == Code::Unavailable && began.elapsed() < patience => {
                tokio::time::sleep(AGAIN).await;
            }
            Ok(done) => return done,
            Err(_) => {
                return Err(Error::environment(format!("the engine at `{address}` does not answer"))
                    .with_code(Code::Unavailable));
            }
        }
    }
}

fn tls(global: &Global) -> Result<Tls> {
    let given = Tls {
        ca: global.tls_ca.clone(),
        cert: global.tls_cert.clone(),
        key: global.tls_key.clone(),
        server_name: global.tls_server_name.clone(),
    };
    match &global.tls_dir {
        None => Ok(given),
        Some(_) if given.is_wanted() => {
            Err(Error::user("cannot specify tlsdir and tlscacert/tlscert/tlskey at the same time"))
        }
        Some(dir) => Ok(Tls { server_name: given.server_name, ..Tls::in_folder(dir)? }),
    }
}
