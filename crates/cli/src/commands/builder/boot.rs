//! Starting the engines of a builder, with progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use errdefs::{Code, Error, Result};
use progress::{Sink, Step};

use crate::display::{Display, LocalSink, Target};
use crate::engine::driver::{Driver, Status};
use crate::engine::{Builder, Member};
use crate::environment::Environment;
use crate::settings::ProgressMode;

/// An engine that does not answer, since somebody starts it just now, is asked again for this time.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Starts all engines that do not run, side by side. A node that makes no sense is passed over.
///
/// # Errors
/// The first of an engine, once all have ended or are there.
pub(super) async fn boot(builder: &Builder, env: &Environment) -> Result<()> {
    let mut idle = Vec::new();
    for member in &builder.nodes {
        if let Ok(driver) = member.driver()
            && driver.look().await?.0 != Status::Running
        {
            idle.push(member);
        }
    }
    if idle.is_empty() {
        return Ok(());
    }
    let mode = ProgressMode::choose("auto", false, env)?;
    let (display, sender) = Display::plainly(mode, env, Target::Stderr)?;
    let drawing = display.start();
    let sink: Arc<dyn Sink> = Arc::new(LocalSink(sender));
    let several = idle.len() > 1;
    let mut failed = None;
    for booted in all(&idle, several, &sink).await {
        if let Err(e) = booted {
            failed.get_or_insert(e);
        }
    }
    drop(sink);
    drawing.finish().await?;
    failed.map_or(Ok(()), Err)
}

/// The name of the node is told where there are several.
async fn all(members: &[&Member], several: bool, sink: &Arc<dyn Sink>) -> Vec<Result<(), Error>> {
    let boots = members.iter().map(|member| async {
        let driver = member.driver()?;
        let node = if several { format!("{} ", member.node.name) } else { String::new() };
        let name = format!("[{node}internal] {}", driver.booting());
        let step = Step::start(Arc::clone(sink), &format!("boot {}", member.node.name), &name);
        step.finish(start(driver).await)
    });
    futures_util::future::join_all(boots).await
}

async fn start(driver: &dyn Driver) -> Result<()> {
    let began = Instant::now();
    loop {
        match driver.boot().await {
            Err(e) if e.code() == Code::Unavailable && began.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            started => return started.map(drop),
        }
    }
}
