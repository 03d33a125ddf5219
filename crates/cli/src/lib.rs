//! Arguments to settings to request; draws progress.
//!
//! Never: link the engine.
