//! What takes up disk, outward, and what may go, inward.
