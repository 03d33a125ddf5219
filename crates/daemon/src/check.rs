//! `kiln daemon --check`: looks for damage in a store that no engine uses, and repairs what it can.

use std::fmt::Write as _;
use std::path::Path;

use errdefs::Result;

use crate::stores::Stores;

/// Checks the store and tells what was found. Says whether all was well.
pub async fn check(root: &Path) -> Result<bool> {
    let stores = Stores::open(root, true, |_| Ok(())).await?;
    let found = stores.refs.check().await?;
    let mut text = String::new();
    if let Some(to) = &stores.set_aside {
        let _ =
            writeln!(text, "damaged: the database, which is `{}` now; the store begins anew", to.display());
    }
    for fault in &found.faults {
        let _ = writeln!(text, "damaged: {fault}");
    }
    for dropped in &found.dropped {
        let _ = writeln!(text, "dropped: {dropped}");
    }
    let well = text.is_empty();
    let _ = writeln!(text, "Checked {} blobs and {} layers.", found.blobs, found.layers);
    if !well {
        let _ = writeln!(
            text,
            "What is damaged was moved to `{}`, which you may remove. Builds make it anew.",
            root.join("damaged").display()
        );
    }
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    // What it dropped must stay so. The records of results that are gone are swept in the background.
    stores.records.flush().await?;
    Stores::close(&stores.refs, root).await;
    Ok(well)
}
