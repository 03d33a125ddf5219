//! LLB ops as solver ops: keys and execution.
//!
//! Never: speak the wire protocol.
