//! One build's hold on the graph.

use errdefs::Result;

use crate::keys::KeyId;
use crate::op::Domain;
use crate::vertex::Edge;

/// One build. Vertices that it has asked for stay active, with their values, until it is dropped. Dropping it
/// withdraws what it still waits for and tells its sink that what had started is canceled.
pub struct Job<D: Domain> {
    pub(crate) _d: std::marker::PhantomData<D>,
}

impl<D: Domain> Job<D> {
    pub fn id(&self) -> &str {
        ""
    }

    /// Computes an edge. Dropping the future withdraws the wish; what no other build wants is cancelled then.
    ///
    /// # Errors
    /// That of the vertex which failed, with [`errdefs::Detail::Vertex`] and shared by all that need it. Asking again
    /// tries again.
    pub async fn build(&self, _edge: Edge<D>) -> Result<D::Value> {
        Err(errdefs::Error::internal("not written"))
    }

    /// The keys of an edge that this job has built.
    pub async fn keys(&self, _edge: &Edge<D>) -> Result<Vec<KeyId>> {
        Err(errdefs::Error::internal("not written"))
    }

    /// Ends the job as dropping it does, and waits until all work that was cancelled has come to its end, so that no
    /// process or mount of a step is left.
    pub async fn close(self) {}
}
