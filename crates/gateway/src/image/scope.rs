//! The bridge as a frontend inside a build sees it: the inputs are its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use frontend::Bridge;
use llb::Definition;

pub struct Scope {
    pub bridge: Arc<dyn Bridge>,
    pub inputs: BTreeMap<String, Definition>,
}

impl frontend::Scope for Scope {
    fn bridge(&self) -> &dyn Bridge {
        &*self.bridge
    }

    fn own_inputs(&self) -> BTreeMap<String, Definition> {
        self.inputs.clone()
    }
}
